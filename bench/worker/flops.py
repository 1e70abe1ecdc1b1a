"""Operators and floating-point operations of one call, as torch dispatches them.

A multiply and an add are two, of complex numbers eight, or six in a convolution, of which torch
makes three real ones.  Only convolutions and matrix products are counted
(torch.utils.flop_counter), so no Fourier transform is.
"""

import contextlib
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, flop_registry, shape_wrapper

from bench.worker import torch_private
from bench.worker.stopwatch import TimedStep

# Fused kernels that multiply matrices and that torch's counter takes for nothing (torch 2.13):
# parts of their names.
BLIND = (
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
)
# Names that hold such a part and multiply nothing: the gates, after the products.
NOT_BLIND = ("_thnn_fused_lstm_cell", "_thnn_fused_gru_cell")
CUSTOM_FREE = ("aten", "prim", "prims", "profiler", "torchvision")  # namespaces seen through


class FlopError(RuntimeError):
    """The call runs operators whose work the counter does not know; the message names them."""


@dataclass(slots=True)
class Flops:
    """Of one call, and of its phases."""

    total: int
    by_phase: dict[str, int] = field(default_factory=dict)


class _Operators(torch_private.DispatchMode):
    """Counts what is dispatched, by name."""

    def __init__(self, *, composed: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self._composed = composed

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._composed and torch_private.is_operator(func):
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        self.counts[str(func.name())] += 1
        return func(*args, **(kwargs or {}))


def operators(step: TimedStep, *, composed: bool = True) -> Counter[str]:
    """How often each operator is dispatched in one call, e.g. `aten::addmm`.

    composed: as torch dispatches them; False = taken apart as torch's FLOP counter does (under
    inference_mode `aten::linear` comes whole, in training as `aten::addmm`).
    """
    step.prepare(1)  # restoring an input is not part of the call
    seen = _Operators(composed=composed)
    with seen:
        step()
    return seen.counts


def count(step: TimedStep) -> Flops:
    """Floating-point operations of one call and of its phases.  Raises FlopError.

    Fused recurrent and attention kernels are taken apart for the count: where some are seen,
    the call is repeated with the backends that have them switched off.
    """
    if not blind(operators(step, composed=False)):
        return _counted(step)
    with _taken_apart():
        left = blind(operators(step, composed=False))
        if left:
            raise FlopError(f"the work of {', '.join(left)} is not counted by torch")
        return _counted(step)


def by_operator(step: TimedStep) -> tuple[dict[str, int], list[str]]:
    """Floating-point operations of one call, by the operator that does them: `aten::addmm`.

    Also the operators that hide their work, which have no count: taken apart, they would be other
    operators than those of the trace.
    """
    hidden = blind(operators(step, composed=False))
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    step.prepare(1)
    with counter:
        step()
    counts = counter.get_flop_counts().get("Global", {})
    return {str(packet).replace(".", "::", 1): int(n) for packet, n in counts.items()}, hidden


def blind(seen: Counter[str]) -> list[str]:
    """Those of the operators that may multiply matrices unseen by torch's counter."""
    found = []
    for name in seen:
        space, _, operator = name.partition("::")
        hidden = any(part in operator for part in BLIND) and not any(
            part in operator for part in NOT_BLIND
        )
        if hidden or space not in CUSTOM_FREE:
            found.append(name.partition(".")[0])
    return sorted(set(found))


def _counted(step: TimedStep) -> Flops:
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    marks = [0]
    step.prepare(1)
    with counter:
        step(lambda: marks.append(counter.get_total_flops()))
    total = counter.get_total_flops()
    marks.append(total)
    parts = (end - begin for begin, end in itertools.pairwise(marks))
    return Flops(total=total, by_phase=dict(zip(step.phases, parts, strict=True)))


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
    once: int = 2 * over[0] * math.prod(over[2:]) * math.prod(weight)
    return once * sum(map(bool, wanted[:2]))


# Products that torch's counter leaves out, or counts wrongly.
_VECTORS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten.mv: _product,
    torch.ops.aten.dot: _product,
    torch.ops.aten.vdot: _product,
    torch.ops.aten.addmv: _added_product,
}

COMPLEX = 4  # a complex multiply and add are 4 real multiplies and 4 real adds, 8 instead of 2


def _of_complex_too(formula: Callable[..., int]) -> Callable[..., int]:
    """Operations on real numbers, which torch's counter takes complex ones for."""

    def count(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        seen = [one for one in tree_leaves((args, out_val)) if isinstance(one, torch.Tensor)]
        factor = COMPLEX if any(one.is_complex() for one in seen) else 1
        return factor * formula(*args, out_val=out_val, **kwargs)

    count._get_raw = True  # type: ignore[attr-defined]  # torch's counter then gives it tensors
    return count


_FORMULAS: dict[Any, Callable[..., int]] = {
    operator: _of_complex_too(formula)
    for operator, formula in {
        **flop_registry,
        **{operator: shape_wrapper(formula) for operator, formula in _VECTORS.items()},
    }.items()
}


@contextlib.contextmanager
def _taken_apart() -> Iterator[None]:
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
