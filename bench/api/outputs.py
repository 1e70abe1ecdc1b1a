"""Compare the outputs of two callables, up to rounding."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.api.session import Work
from bench.worker.checks import differences
from bench.worker.model import pytree, random_state
from bench.worker.model.step import TrainingStep

SEED = 0
# Two correct ways to compute the same differ by rounding, which a network enlarges: outputs of
# networks that were compared with float64 differed by some ten to a few hundred spacings
# (docs/trust.md).  The spacing to the power 2/3 is 200 spacings in float32, 5 in bfloat16.
ROUNDING_POWER = 2 / 3
# A ReLU that switches moves a whole column of a gradient: 37 spacings against 1.8 (the same page),
# and the tolerances of `bench run` have the same ratio.
GRADIENTS_DIFFER = 8

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """The tensors of one output, how its containers are built, and in training the gradients."""

    form: str
    tensors: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...] = ()  # of the parameters


@dataclass(frozen=True, slots=True)
class Output:
    """The difference between an output and that of the base.

    same:     equal, or different by what rounding explains.
    relative: norm of the difference / norm of the base; None where they cannot be subtracted.
    why:      in words.
    """

    same: bool
    relative: float | None
    why: str

    def __str__(self) -> str:
        return self.why

    def _repr_html_(self) -> str:
        return self.why


def of_call(work: Work, wait: Callable[[], None], device_types: Iterable[str]) -> Given:
    """Call once, with the same random numbers each time; keep what comes out on the CPU.

    device_types: whose random numbers are restored later.
    """
    step, module = work.step, work.module
    gradients: list[Tensor] = []
    random_state.seed(SEED, device_types)
    step.prepare(1)
    wait()  # a callable that works in a stream of its own would read numbers that are not there yet
    if isinstance(step, TrainingStep) and module is not None:

        def collect(_inputs: Any, _loss: Tensor | None) -> None:
            found = (one.grad for one in module.parameters())
            gradients.extend(one / step.scale for one in found if one is not None)

        step(observe=collect)
    else:
        step()
    wait()
    return Given(_form(step.output), _kept(pytree.tensors(step.output)), _kept(gradients))


def _kept(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(one.detach().to("cpu", copy=True) for one in tensors)


def _form(output: Any) -> str:
    """Return the containers and their keys as text, with only the kind of each value."""
    match output:
        case Tensor():
            return "tensor"
        case dict():
            return f"{{{', '.join(f'{key!r}: {_form(one)}' for key, one in output.items())}}}"
        case tuple() | list():
            return f"({', '.join(map(_form, output))})"
    return type(output).__name__


def compared(base: Given, other: Given) -> Output:
    """Compare the output of another callable with that of the base."""
    if base.form != other.form:
        return Output(False, None, f"the output is {other.form}, that of the base {base.form}")
    for place, (one, theirs) in enumerate(zip(base.tensors, other.tensors, strict=True), start=1):
        if one.shape != theirs.shape:
            shapes = f"{tuple(theirs.shape)}, that of the base {tuple(one.shape)}"
            return Output(False, None, f"the shape of output tensor {place} is {shapes}")
    if not base.tensors:
        return Output(True, None, "no tensor to compare in the outputs")
    found = _numbers("outputs", base.tensors, other.tensors, 1)
    if found.same and (base.gradients or other.gradients):
        return _gradients(base.gradients, other.gradients, found)
    return found


def _gradients(base: Tensors, other: Tensors, output: Output) -> Output:
    """Compare the gradients of the same parameters; another model's cannot be compared."""
    if differences.shapes(base) != differences.shapes(other):
        return Output(True, output.relative, f"{output}; the parameters are others")
    found = _numbers("gradients", base, other, GRADIENTS_DIFFER)
    if found.same:
        return Output(True, output.relative, f"{output}; {found}")
    return found


def _numbers(what: str, base: Tensors, other: Tensors, factor: float) -> Output:
    """Compare numbers.  factor: how much larger rounding errors are here than in outputs."""
    pairs = list(zip(base, other, strict=True))
    kinds = sorted(f"{_name(b)} instead of {_name(a)}" for a, b in pairs if a.dtype != b.dtype)
    note = f" ({', '.join(dict.fromkeys(kinds))})" if kinds else ""
    if not kinds and all(_equal(a, b) for a, b in pairs):
        return Output(True, 0.0, f"{what} are equal, bit for bit")
    a, b = _wide(base), _wide(other)
    if said := differences.first_nan(b, a) or differences.first_nan(a, b):
        return Output(False, None, f"{what} differ: {said} NaN in one of the two alone")
    if bool(differences.kinds_differ(b, a).any()):
        return Output(False, None, f"{what} differ: they are infinite at different places")
    size, apart = differences.norm(a), differences.norm_of_difference(a, b)
    relative = apart / size if size else (0.0 if apart == 0 else float("inf"))
    allowed = factor * max(_eps(one) for one in (*base, *other)) ** ROUNDING_POWER
    if relative <= allowed:
        return Output(True, relative, f"{what} agree but for rounding ({relative:.1e}){note}")
    return Output(
        False,
        relative,
        f"{what} differ by {relative:.1e} of their norm; rounding explains {allowed:.1e}{note}",
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    """Return whether all numbers are equal; NaN equals NaN, infinity not the largest number."""
    if not (one.is_floating_point() or one.is_complex()):
        return torch.equal(one, other)
    unknown = torch.isnan(one)
    return torch.equal(unknown, torch.isnan(other)) and torch.equal(
        one.masked_fill(unknown, 0), other.masked_fill(unknown, 0)
    )


def _wide(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return float64 tensors; each complex number becomes two numbers."""
    dense = [one.to_dense() if one.layout is not torch.strided else one for one in tensors]
    real = [torch.view_as_real(one.resolve_conj()) if one.is_complex() else one for one in dense]
    return tuple(one.to(torch.float64) for one in real)


def _eps(one: Tensor) -> float:
    """Return the spacing of its numbers next to 1; whole numbers have none."""
    return torch.finfo(one.dtype).eps if one.is_floating_point() or one.is_complex() else 0.0


def _name(one: Tensor) -> str:
    return str(one.dtype).removeprefix("torch.")
