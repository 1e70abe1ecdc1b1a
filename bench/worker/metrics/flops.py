"""Operators and floating-point operations of one call, as torch dispatches them.

A multiply and an add are two operations.  With complex numbers they are eight, or six in a
convolution, which torch replaces by three real ones.  Only convolutions and matrix products are
counted (no Fourier transforms), by the formulas of torch.utils.flop_counter and those below.  Its
FlopCounterMode is not used: it also follows the modules, through autograd, and fails where a
parameter is given to a module under inference_mode.
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

OF_SPARSE = "of two sparse matrices"  # the operator whose formula counts such a product
# Parts of the names of fused kernels that multiply matrices and for which torch's counter counts
# nothing (torch 2.13).
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
# Names that contain such a part but multiply nothing: the gates, after the products.
COUNTED_AFTER_ALL = ("_thnn_fused_lstm_cell", "_thnn_fused_gru_cell")
# namespaces whose operators are taken apart
CUSTOM_FREE = ("aten", "prim", "prims", "profiler", "torchvision")


class FlopError(RuntimeError):
    """The call runs operators whose work the counter does not know; the message names them."""


@dataclass(slots=True)
class Flops:
    """Floating-point operations of one call and of its phases."""

    total: int
    by_phase: dict[str, int] = field(default_factory=dict)


class _Operators(torch_private.DispatchMode):
    """Counts dispatched operators by name, and their floating-point operations."""

    supports_higher_order_operators = True

    def __init__(self, *, composed: bool, whole: bool = True) -> None:
        """whole: a recurrent layer that is one operator gets the FLOPs of the whole layer."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        # of operators with a formula, by name without overload
        self.flops: Counter[str] = Counter()
        self._composed, self._whole = composed, whole

    @property
    def hidden(self) -> list[str]:
        """Return operators without a formula that may multiply matrices."""
        known = {name for name in self.counts if name.partition(".")[0] in self.flops}
        return uncounted(Counter({name: n for name, n in self.counts.items() if name not in known}))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # A tensor with a class of its own (nested, quantised) splits the operator into those of its
        # component tensors, which arrive here one by one; so does control flow.
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
    """Return how often one call dispatches each operator, e.g. `aten::addmm`."""
    step.prepare(1)  # restoring an input is not part of the call
    seen = _Operators(composed=True)
    with seen:
        step()
    return seen.counts


def count(step: TimedStep) -> Flops:
    """Count the floating-point operations of one call and of its phases.  Raises FlopError.

    Fused recurrent and attention kernels are taken apart for the count: where the call has some, it
    is repeated without the backends that have them.

    The call is counted twice: a module that keeps state from call to call, or that decides by
    random numbers what it computes, has no number of operations that holds for all its calls.
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
    """Count the floating-point operations of one call by operator: `aten::addmm`.

    Operators that hide their work are included and have no count: taken apart, they would be other
    operators than those in the trace.
    """
    seen = _Operators(composed=False, whole=False)
    step.prepare(1)
    with seen:
        step()
    return dict(seen.flops), seen.hidden


def uncounted(seen: Counter[str]) -> list[str]:
    """Return the operators that may multiply matrices unseen by torch's counter."""
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
    """Return the counted operations of one call, and the operators that hide theirs.

    Operators are taken apart as far as torch can: under inference_mode `aten::linear` stays whole,
    in training it is `aten::addmm`.
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
    """Count a product of a matrix or vector with a vector."""
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
    """Count a convolution's backward: each gradient multiplies as often as the forward call.

    torch 2.13 (conv_backward_flop) counts the gradient of the weight as if there were one group,
    which is 32 times too much for 64 groups of one channel.
    """
    transposed, wanted = more[4], more[7]  # bias, stride, padding, dilation, …, groups, mask
    over = image if transposed else out
    per_gradient: int = 2 * over[0] * math.prod(over[2:]) * math.prod(weight)
    return per_gradient * sum(map(bool, wanted[:2]))


def _recurrent(*args: Any, **_: Any) -> int:
    """Count an LSTM, GRU or RNN: each token meets each weight matrix once.

    The input is the first argument.  The list of all weights and biases is the last of the lists,
    for a packed sequence (`.data`) and for another one (`.input`).
    """
    tokens = args[0].numel() // args[0].shape[-1]
    lists = [one for one in args if isinstance(one, list | tuple) and one]
    weights = sum(int(one.numel()) for one in lists[-1] if one.ndim == 2)
    return 2 * int(tokens) * weights


def _with_sparse(dense: Callable[..., int]) -> Callable[..., int | None]:
    """Count a product of two matrices of which one may be sparse.

    Each number of the sparse one is used once for each column (or row) of the other.  None: both
    are sparse.
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


# Products that torch's counter leaves out or counts wrongly.
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
    """Return the factor for complex numbers, which the formulas count as real ones."""
    return COMPLEX if any(one.is_complex() for one in pytree.tensors(given)) else 1


def _formula(packet: Any) -> Callable[..., int | None] | None:
    """Return the formula of an operator: ours, torch's, or one that a subject has registered with
    torch.
    """
    return _OWN.get(packet) or flop_registry.get(packet)


@contextlib.contextmanager
def _without_fused_kernels() -> Iterator[None]:
    """Switch off the backends whose fused kernels hide their products."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with (
        # mkldnn.flags sets TF32 as well, which is not wanted
        warnings.catch_warnings(action="ignore"),
        torch.backends.mkldnn.flags(enabled=False),
        torch.backends.cudnn.flags(enabled=False),
        sdpa_kernel(SDPBackend.MATH),
    ):
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
