"""Operators and floating-point operations of one call, as torch dispatches them.

A multiply and an add are two, of complex numbers eight, or six in a convolution, of which torch
makes three real ones.  Only convolutions and matrix products are counted, so no Fourier transform
is: by the formulas of torch.utils.flop_counter and those below.  Its FlopCounterMode is not used:
it also follows the modules, through autograd, and fails where a parameter is handed to a module
under inference_mode.
"""

import contextlib
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import flop_registry, shape_wrapper

from bench.worker.device import torch_private
from bench.worker.model import pieces, pytree
from bench.worker.timing.stopwatch import TimedStep

OF_SPARSE = "of two sparse matrices"  # what such a product is counted as
# Fused kernels that multiply matrices and that torch's counter takes for nothing (torch 2.13):
# parts of their names.
UNCOUNTED = (
    "rnn",  # mkldnn_rnn_layer, _cudnn_rnn, miopen_rnn
    "lstm",  # lstm, _lstm_mps
    "gru",
    "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
    "mkldnn_linear",
    "_addmm_activation",
    "_grouped_mm",
    "_int_mm",
    "cdist",
    "_sparse_mm_reduce_impl",
    "_sparse_semi_structured",
    "_cslt_sparse_mm",
    "_sparse_sparse_matmul",
    "sparse_sampled_addmm",
    OF_SPARSE,
)
# Names that hold such a part and multiply nothing: the gates, after the products.
COUNTED_AFTER_ALL = ("_thnn_fused_lstm_cell", "_thnn_fused_gru_cell")
CUSTOM_FREE = ("aten", "prim", "prims", "profiler", "torchvision")  # namespaces seen through


class FlopError(RuntimeError):
    """The call runs operators whose work the counter does not know; the message names them."""


@dataclass(slots=True)
class Flops:
    """Of one call, and of its phases."""

    total: int
    by_phase: dict[str, int] = field(default_factory=dict)


class _Operators(torch_private.DispatchMode):
    """Counts what is dispatched, by name, and its floating-point operations."""

    supports_higher_order_operators = True

    def __init__(self, *, composed: bool, whole: bool = True) -> None:
        """whole: a recurrent layer that comes as one operator has the FLOPs of that."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.flops: Counter[str] = Counter()  # of those with a formula, by name without overload
        self._composed, self._whole = composed, whole

    @property
    def hidden(self) -> list[str]:
        """Operators without a formula that may multiply matrices."""
        known = {name for name in self.counts if name.partition(".")[0] in self.flops}
        return uncounted(Counter({name: n for name, n in self.counts.items() if name not in known}))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # A tensor with a class of its own (nested, quantised) takes the operator apart into those
        # of the tensors that it is made of, which come here one by one; so does a flow of control.
        if any(
            hasattr(kind, "__tensor_flatten__") for kind in types
        ) or not torch_private.is_operator(func):
            return NotImplemented
        given, named = args, kwargs or {}
        formula = _formula(func.overloadpacket)
        if not self._composed and formula is None:
            with self:
                result = func.decompose(*given, **named)
            if result is not NotImplemented:
                return result
        result = func(*given, **named)
        name = str(func.name())
        self.counts[name] += 1
        if formula is not None and (self._whole or formula is not _recurrent):
            done = formula(*given, **named, out_val=result)
            if done is None:
                self.counts[f"{name} {OF_SPARSE}"] += 1
            else:
                self.flops[name.partition(".")[0]] += done * _factor((given, named, result))
        return result


def operators(step: TimedStep) -> Counter[str]:
    """How often each operator is dispatched in one call, e.g. `aten::addmm`."""
    step.prepare(1)  # restoring an input is not part of the call
    seen = _Operators(composed=True)
    with seen:
        step()
    return seen.counts


def count(step: TimedStep) -> Flops:
    """Floating-point operations of one call and of its phases.  Raises FlopError.

    Fused recurrent and attention kernels are taken apart for the count: where some are seen,
    the call is repeated with the backends that have them switched off.

    Counted twice: a module that keeps something of each call, or that decides by random numbers
    what it computes, has no number of operations that all its calls share.
    """
    found, hidden = _counted(step)
    with _without_fused_kernels() if hidden else contextlib.nullcontext():
        if hidden:
            found, hidden = _counted(step)
        if hidden:
            raise FlopError(f"the work of {', '.join(hidden)} is not counted by torch")
        again, _ = _counted(step)
    if again.total != found.total:
        raise FlopError(
            f"the work changes from call to call: {found.total} operations in one, {again.total} "
            "in the next; the module keeps state between its calls, or draws random numbers"
        )
    return found


def by_operator(step: TimedStep) -> tuple[dict[str, int], list[str]]:
    """Floating-point operations of one call, by the operator that does them: `aten::addmm`.

    Also the operators that hide their work, which have no count: taken apart, they would be other
    operators than those of the trace.
    """
    seen = _Operators(composed=False, whole=False)
    step.prepare(1)
    with seen:
        step()
    return dict(seen.flops), seen.hidden


def uncounted(seen: Counter[str]) -> list[str]:
    """Those of the operators that may multiply matrices unseen by torch's counter."""
    found = []
    for name in seen:
        space, _, operator = name.partition("::")
        hidden = any(part in operator for part in UNCOUNTED) and not any(
            part in operator for part in COUNTED_AFTER_ALL
        )
        if hidden or space not in CUSTOM_FREE:
            found.append(name.partition(".")[0])
    return sorted(set(found))


def _counted(step: TimedStep) -> tuple[Flops, list[str]]:
    """Those of one call, and the operators that hide theirs.

    Operators are taken apart as far as torch can: under inference_mode `aten::linear` comes whole,
    in training as `aten::addmm`.
    """
    seen = _Operators(composed=False)
    marks = [0]
    step.prepare(1)  # restoring an input is not part of the call
    with seen:
        step(lambda: marks.append(seen.flops.total()))
    total = seen.flops.total()
    marks.append(total)
    parts = (end - begin for begin, end in itertools.pairwise(marks))
    found = Flops(total=total, by_phase=dict(zip(step.phases, parts, strict=True)))
    return found, seen.hidden


def _product(shape: Sequence[int], *_: object, **__: object) -> int:
    """Of a matrix or vector with a vector."""
    return 2 * math.prod(shape)


def _added_product(_to: object, shape: Sequence[int], *_: object, **__: object) -> int:
    return _product(shape)


def _convolution_backward(
    out: Sequence[int],
    image: Sequence[int],
    weight: Sequence[int],
    *more: Any,
    **_: object,
) -> int:
    """Each gradient multiplies as often as the forward call; torch 2.13 (conv_backward_flop) counts
    that of the weight as if there were one group: 32 times too much for 64 groups of one.
    """
    transposed, wanted = more[4], more[7]  # bias, stride, padding, dilation, …, groups, mask
    over = image if transposed else out
    per_gradient: int = 2 * over[0] * math.prod(over[2:]) * math.prod(weight)
    return per_gradient * sum(map(bool, wanted[:2]))


def _recurrent(*args: Any, **_: Any) -> int:
    """Of an LSTM, GRU or RNN: each token meets each weight matrix once.

    The input comes first; a list of all weights and biases stands last of the lists, for a packed
    sequence (`.data`) and another (`.input`) alike.
    """
    tokens = args[0].numel() // args[0].shape[-1]
    lists = [one for one in args if isinstance(one, list | tuple) and one]
    weights = sum(int(one.numel()) for one in lists[-1] if one.ndim == 2)
    return 2 * int(tokens) * weights


def _with_sparse(dense: Callable[..., int]) -> Callable[..., int | None]:
    """A product of two matrices, of which one may be sparse: each number that it holds is used
    once for each column (or row) of the other.  None: both are.
    """

    def formula(*args: Any, out_val: Any = None, **named: Any) -> int | None:
        *_, one, other = (arg for arg in args if isinstance(arg, Tensor))
        sparse = [arg for arg in (one, other) if arg.layout is not torch.strided]
        if not sparse:
            return dense(*args, **named, out_val=out_val)
        if len(sparse) == 2:
            return None
        matrix = other if sparse[0] is one else one
        lines = matrix.shape[-1] if sparse[0] is one and matrix.ndim > 1 else matrix.shape[0]
        return 2 * pieces.stored(sparse[0]) * int(lines if matrix.ndim > 1 else 1)

    return formula


# Products that torch's counter leaves out, or counts wrongly.
_OWN: Mapping[Any, Callable[..., int | None]] = {
    torch.ops.aten.convolution_backward: shape_wrapper(_convolution_backward),
    torch.ops.aten.mv: _with_sparse(shape_wrapper(_product)),
    torch.ops.aten.dot: shape_wrapper(_product),
    torch.ops.aten.vdot: shape_wrapper(_product),
    torch.ops.aten.addmv: _with_sparse(shape_wrapper(_added_product)),
    torch.ops.aten.mm: _with_sparse(flop_registry[torch.ops.aten.mm]),
    torch.ops.aten.addmm: _with_sparse(flop_registry[torch.ops.aten.addmm]),
    torch_private.sparse_addmm(): _with_sparse(flop_registry[torch.ops.aten.addmm]),
    torch.ops.aten.lstm: _recurrent,
    torch.ops.aten.gru: _recurrent,
    torch.ops.aten.rnn_tanh: _recurrent,
    torch.ops.aten.rnn_relu: _recurrent,
}

COMPLEX = 4  # a complex multiply and add are 4 real multiplies and 4 real adds, 8 instead of 2


def _factor(given: Any) -> int:
    """Of operations on real numbers, which formulas take complex ones for."""
    return COMPLEX if any(one.is_complex() for one in pytree.tensors(given)) else 1


def _formula(packet: Any) -> Callable[..., int | None] | None:
    """Of an operator: ours, torch's, or one that a subject has registered with torch."""
    return _OWN.get(packet) or flop_registry.get(packet)


@contextlib.contextmanager
def _without_fused_kernels() -> Iterator[None]:
    """Without the backends whose kernels hide their products."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with (
        warnings.catch_warnings(action="ignore"),  # mkldnn.flags speaks of TF32, which is not asked
        torch.backends.mkldnn.flags(enabled=False),
        torch.backends.cudnn.flags(enabled=False),
        sdpa_kernel(SDPBackend.MATH),
    ):
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
