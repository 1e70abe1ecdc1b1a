"""Whether a case computes what float64 eager code computes from the same input (rule 26).

The values of one call are gathered in groups: output, loss, gradients, buffers.  The error of a
group is ‖x - ref‖ / ‖ref‖ over all its numbers together: never elementwise and never by
parameter, for the gradient of a convolution's bias before BatchNorm is zero but for rounding.
What rounding may do is known from float32 eager code: a network that makes much of a little
there (ReLU and max pooling that switch, deep normalised stacks) does so in coarser arithmetic
as well, in proportion to its spacing of numbers.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.axes import AS_BUILT
from bench.records import Case
from bench.worker import tree
from bench.worker.step import Step, TrainingStep

# Spacing of numbers next to 1.  TensorFloat-32 has 10 bits of mantissa, as float16 has.
EPS = {
    "float32": torch.finfo(torch.float32).eps,
    "tf32": 2.0**-10,
    "float16": torch.finfo(torch.float16).eps,
    "bfloat16": torch.finfo(torch.bfloat16).eps,
}
# Smaller numbers are rounded to zero, or nearly so: float16's range ends at 6e-5, and an untrained
# network may well put out less.
TINY = {
    "float32": torch.finfo(torch.float32).smallest_normal,
    "tf32": torch.finfo(torch.float32).smallest_normal,
    "float16": torch.finfo(torch.float16).smallest_normal,
    "bfloat16": torch.finfo(torch.bfloat16).smallest_normal,
}
FLOOR_EPS = 8  # ReLU and MaxPool are exact in float32; theirs is no budget of zero
# Times the error of float32 eager code, scaled by EPS.  Seen on ConvNet and 27 other networks
# (docs/trust.md): outputs up to 1.8 times in float32 (channels_last), 0.5 in bfloat16; gradients,
# where a ReLU that switches moves a whole column, 37 times in float32, 4.4 in float16, 1.9 in
# bfloat16.
ROOM = {"float32": 32.0, "tf32": 16.0, "float16": 16.0, "bfloat16": 8.0}
GRADIENT_ROOM = {"float32": 256.0, "tf32": 32.0, "float16": 32.0, "bfloat16": 16.0}
# An output of zeros has an error of 1, a doubled one as well, an unrelated one of 1.4.
NEVER_ROUNDING = 0.9
# Networks of which float32, scaled, says that rounding alone may come to this are chaotic: there an
# error of MUCH is not told from a mistake.
CHAOTIC, MUCH = 0.25, 0.5
SAMPLED = 997  # weights of a tensor that are compared, to see that two builds are one and the same

FORWARD, BACKWARD = ("output", "loss", "buffers"), ("gradients",)


class TruthError(RuntimeError):
    """The case cannot be held against a reference; the message says why."""


@dataclass(frozen=True, slots=True)
class Values:
    """What one call computed, by group: float64 on the CPU."""

    groups: Mapping[str, tuple[Tensor, ...]]
    given: tuple[Tensor, ...] = ()  # some of the weights and inputs that it was computed from


@dataclass(frozen=True, slots=True)
class Reference:
    """float64 eager, and what float32 eager made of the same.

    rounding: norm of the difference of the two, by group.
    """

    values: Values
    rounding: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The errors of a case, and what they say."""

    errors: Mapping[str, float] = field(default_factory=dict)  # by group, relative
    allowed: Mapping[str, float] = field(default_factory=dict)
    wrong: str | None = None  # the result is another
    doubt: str | None = None  # the comparison tells nothing

    def facts(self) -> dict[str, float]:
        """By column and phase; `truth:…` are the groups, for the journal."""
        found: dict[str, float] = {}
        for phase, groups in (("forward", FORWARD), ("backward", BACKWARD)):
            of_phase = [self.errors[group] for group in groups if group in self.errors]
            if of_phase:
                found[f"relative_error:{phase}"] = max(of_phase)
        if self.errors:
            found["relative_error"] = max(self.errors.values())
        found |= {f"truth:{group}": error for group, error in self.errors.items()}
        return found | {f"truth_allowed:{group}": bound for group, bound in self.allowed.items()}


def arithmetic(case: Case, tensors: Iterable[Tensor] = ()) -> str:
    """The coarsest arithmetic in force: a key of EPS.

    tensors: of the module and what goes into it and comes out, whose dtypes count as built.
    """
    used = ["tf32" if case.tf32 == "on" else "float32"]
    if case.dtype == AS_BUILT:
        names = {str(one.dtype).removeprefix("torch.") for one in tensors}
        used += sorted(names & EPS.keys())
    else:
        used.append(case.dtype)
    if case.amp != "off":
        used.append(case.amp)
    return max(used, key=EPS.__getitem__)


def gather(step: Step, module: nn.Module, given: Any) -> Values:
    """Call the step once and keep what it computed.

    step:   with buffers and random state as its first call finds them.
    module: not compiled, the one that holds the parameters; given: the tree of inputs.
    """
    sampled = _sampled(module, given)
    step.prepare(1)
    if not isinstance(step, TrainingStep):
        step()
        return Values({"output": _floats(step.output)}, sampled)
    gradients: list[Tensor] = []
    losses: list[Tensor] = []

    def look(inputs: Any, loss: Tensor | None) -> None:
        if loss is not None:
            losses.append(loss)
        for leaf in (*module.parameters(), *_leaves(inputs, module)):
            if leaf.requires_grad:
                gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
                gradients.append(_float64(gradient) / step.scale)

    step(look=look)
    groups = {
        "output": _floats(step.output),
        "loss": _floats(losses),
        "gradients": tuple(gradients),
        "buffers": _floats(list(module.buffers())),
    }
    return Values({name: tensors for name, tensors in groups.items() if tensors}, sampled)


def compare(values: Values, reference: Reference, used: str) -> Verdict:
    """Hold a case's values against the reference.  used: a key of EPS.

    Raises TruthError where the two were not computed from the same weights and inputs.
    """
    _same_given(values.given, reference.values.given, used)
    errors: dict[str, float] = {}
    allowed: dict[str, float] = {}
    wrong: list[str] = []
    doubts: list[str] = []
    for group, wanted in reference.values.groups.items():
        got = values.groups.get(group, ())
        shapes = [tuple(one.shape) for one in got], [tuple(one.shape) for one in wanted]
        if shapes[0] != shapes[1]:
            return Verdict(wrong=f"{group}: shapes {shapes[0]}, of float64 eager {shapes[1]}")
        if not all(bool(torch.isfinite(one).all()) for one in wanted):
            doubts.append(f"{group} of the float64 reference is not finite")
            continue
        if not all(bool(torch.isfinite(one).all()) for one in got):
            return Verdict(wrong=f"{group}: not finite, while float64 eager is")
        size, difference = norm(wanted), norm_of_difference(got, wanted)
        tiny = TINY[used] * math.sqrt(sum(one.numel() for one in wanted))
        bound = max(_rounding(reference, group, size, used), tiny)
        if size == 0:  # exactly zero in float64: only its own rounding is a measure
            if difference > bound:
                wrong.append(f"{group} should be zero, and has a norm of {difference:.2g}")
            continue
        expected = reference.rounding[group] * EPS[used] / EPS["float32"]
        chaotic = max(expected, tiny) >= CHAOTIC * size
        if not chaotic:
            bound = min(bound, NEVER_ROUNDING * size)
        errors[group], allowed[group] = difference / size, bound / size
        if chaotic and errors[group] >= MUCH:
            why = (
                "its numbers are too small for that" if tiny > expected else "rounding may do that"
            )
            doubts.append(
                f"{group} in {used} differ from float64 eager by {errors[group]:.0%}: {why} here, "
                "as may a mistake"
            )
        elif difference > bound:
            wrong.append(
                f"{group} differ from float64 eager by {errors[group]:.2g} (relative norm; "
                f"rounding in {used} explains {allowed[group]:.2g})"
            )
    return Verdict(errors, allowed, "; ".join(wrong) or None, "; ".join(doubts) or None)


def _rounding(made: Reference, group: str, size: float, used: str) -> float:
    """What this arithmetic may differ by: room for what float32 does, and never nothing."""
    room = (GRADIENT_ROOM if group == "gradients" else ROOM)[used]
    seen = room * made.rounding[group]
    if group == "loss" and (output := made.values.groups["output"]):
        # One number, which by luck may be exact: it moves as the outputs do that it is made of.
        root_mean_square = norm(output) / math.sqrt(sum(one.numel() for one in output))
        relative = made.rounding["output"] / norm(output) if norm(output) else 0.0
        seen = max(seen, room * relative * max(size, root_mean_square))
    return max(seen, FLOOR_EPS * EPS["float32"] * size) * EPS[used] / EPS["float32"]


def reference(exact: Values, single: Values, again: Values) -> Reference:
    """From float64 eager, float32 eager, and float32 eager once more under another seed.

    Raises TruthError where the seed alone decides the result (dropout and the like), or where
    not even the weights are the same.
    """
    _same_given(again.given, single.given, "float32")
    rounding: dict[str, float] = {}
    for group, wanted in exact.groups.items():
        got, other = single.groups.get(group, ()), again.groups.get(group, ())
        if not len(got) == len(other) == len(wanted) or any(
            one.shape != two.shape for one, two in zip(got, wanted, strict=True)
        ):
            raise TruthError(f"{group} has other shapes in float64 than in float32")
        rounding[group] = norm_of_difference(got, wanted)
        if any(one.shape != two.shape for one, two in zip(got, other, strict=True)):
            raise TruthError(f"{group} has another shape with another seed")
        moved = norm_of_difference(got, other)
        if moved > FLOOR_EPS * EPS["float32"] * norm(got):
            raise TruthError(
                f"{group} of one and the same call differ by {moved / norm(got):.2g} under "
                "another seed: the module draws random numbers (dropout?)"
            )
    return Reference(exact, rounding)


def norm(tensors: tuple[Tensor, ...]) -> float:
    """Over all numbers together."""
    return math.hypot(*(float(one.norm()) for one in tensors))


def norm_of_difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    """‖one - other‖, the tensors in pairs."""
    return norm(tuple(a - b for a, b in zip(one, other, strict=True)))


def _floats(tree_: Any) -> tuple[Tensor, ...]:
    return tuple(
        _float64(one) for one in tree.tensors(tree_) if one.is_floating_point() or one.is_complex()
    )


def _float64(tensor: Tensor) -> Tensor:
    with torch.no_grad():
        kept = tensor.detach()
        kept = kept if kept.layout is torch.strided else kept.to_dense()  # an Embedding's gradient
        kept = torch.view_as_real(kept.resolve_conj()) if kept.is_complex() else kept
        return kept.to("cpu", torch.float64, copy=True).contiguous()


def _leaves(inputs: Any, module: nn.Module) -> list[Tensor]:
    """The leaves behind the inputs: an input that is written to is a copy of its leaf."""
    own = {id(one) for one in module.parameters()}
    leaves: dict[int, Tensor] = {}
    for tensor in tree.tensors(inputs):
        if not tensor.requires_grad:
            continue
        if tensor.is_leaf:
            leaves[id(tensor)] = tensor
            continue
        nodes, seen = [tensor.grad_fn], set[Any]()
        while nodes:
            node = nodes.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            variable = getattr(node, "variable", None)  # of torch's AccumulateGrad
            if isinstance(variable, Tensor) and id(variable) not in own:
                leaves[id(variable)] = variable
            nodes += [one for one, _ in node.next_functions]
    return list(leaves.values())


def _sampled(module: nn.Module, given: Any) -> tuple[Tensor, ...]:
    """Some numbers of each weight and input: enough to tell two random draws from each other."""
    return tuple(
        _float64(one.detach().flatten()[:: max(1, one.numel() // SAMPLED)])
        for one in (*module.parameters(), *module.buffers(), *tree.tensors(given))
        if one.is_floating_point()
    )


def _same_given(one: tuple[Tensor, ...], other: tuple[Tensor, ...], used: str) -> None:
    same = len(one) == len(other) and all(
        a.shape == b.shape and _alike(a, b, used) for a, b in zip(one, other, strict=True)
    )
    if not same:
        raise TruthError(
            "two builds of the subject have other weights or inputs: it draws them from what the "
            "seeds of torch, numpy and Python do not set"
        )


def _alike(one: Tensor, other: Tensor, used: str) -> bool:
    """But for rounding; what is infinite in a mask is infinite in both."""
    finite = torch.isfinite(other)
    if not torch.equal(torch.nan_to_num(one[~finite]), torch.nan_to_num(other[~finite])):
        return False
    a, b = one[finite], other[finite]
    return norm((a - b,)) <= EPS[used] * norm((b,)) + TINY[used] * b.numel()
