"""Whether a case computes what float64 eager code computes from the same input (rule 26).

The values of one call are gathered in groups: output, labels (whole numbers and truth values of the
output), loss, gradients, buffers.  The error of a group is ‖x - ref‖ / ‖ref‖ over all its numbers
together: never elementwise and never by parameter, for the gradient of a convolution's bias before
BatchNorm is zero but for rounding.  The error of labels is the share of them that differs.

What rounding may do is known from float32 eager code: a network that makes much of a little there
(ReLU and max pooling that switch, deep normalised stacks) does so in coarser arithmetic as well, in
proportion to its spacing of numbers.  A group that differs by more is suspected, and wrong if the
witnesses do not explain it either (`bench.worker.checks.stability`): a choice between near ties, as an
argmax or a threshold makes it, may fall otherwise.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.axes import AS_BUILT
from bench.core.records import Case
from bench.worker.checks import matching, stability
from bench.worker.model import pytree
from bench.worker.model.step import Step, TrainingStep

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
# float32 eager code that differs from float64 by this much does so because of choices, or is wrong:
# the witnesses tell the two apart.
DOUBTED = 0.01
SAMPLED = 997  # weights of a tensor that are compared, to see that two builds are one and the same

LABELS = "labels"
FORWARD, BACKWARD = ("output", LABELS, "loss", "buffers"), ("gradients",)


class TruthError(RuntimeError):
    """The case cannot be held against a reference; the message says why."""


@dataclass(frozen=True, slots=True)
class Values:
    """What one call computed, by group: float64 on the CPU, labels in int64.

    Of a complex tensor the real and the imaginary part are two numbers.
    """

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
    suspected: frozenset[str] = frozenset()  # groups that rounding in proportion does not explain

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
        return Values(_nonempty(_output(step.output)), sampled)
    gradients: list[Tensor] = []
    losses: list[Tensor] = []

    def look(inputs: Any, loss: Tensor | None) -> None:
        if loss is not None:
            losses.append(loss)
        for leaf in (*module.parameters(), *_leaves(inputs, module)):
            if leaf.requires_grad:
                gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
                gradients.extend(one / step.scale for one in _floats(gradient))

    step(look=look)
    groups = {
        **_output(step.output),
        "loss": _floats(losses),
        "gradients": tuple(gradients),
        "buffers": _floats(list(module.buffers())),
    }
    return Values(_nonempty(groups), sampled)


def _output(output: Any) -> dict[str, tuple[Tensor, ...]]:
    return {"output": _floats(output), LABELS: _labels(output)}


def _nonempty(groups: Mapping[str, tuple[Tensor, ...]]) -> dict[str, tuple[Tensor, ...]]:
    return {name: tensors for name, tensors in groups.items() if tensors}


def compare(
    values: Values, reference: Reference, used: str, witnesses: Sequence[Values] | None = None
) -> Verdict:
    """Hold a case's values against the reference.  used: a key of EPS.

    witnesses: what the same network computes where rounding alone is other
               (`bench.worker.checks.witness`); None = they have not been asked.

    Raises TruthError where the two were not computed from the same weights and inputs.
    """
    _same_given(values.given, reference.values.given, used)
    found = _Found(reference, used, witnesses)
    for group in dict.fromkeys((*reference.values.groups, *values.groups)):
        found.look(group, values.groups.get(group, ()))
    if not (found.errors or found.wrong or found.doubts):
        found.doubts.append("the output has no element, so that there is nothing to compare")
    return Verdict(
        found.errors,
        found.allowed,
        "; ".join(found.wrong) or None,
        "; ".join(found.doubts) or None,
        frozenset(found.suspected),
    )


@dataclass(slots=True)
class _Found:
    """A verdict in the making."""

    reference: Reference
    used: str
    witnesses: Sequence[Values] | None
    errors: dict[str, float] = field(default_factory=dict)
    allowed: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    suspected: set[str] = field(default_factory=set)

    def look(self, group: str, got: tuple[Tensor, ...]) -> None:
        wanted = self.reference.values.groups.get(group, ())
        if shapes(got) != shapes(wanted) or self._rows_hang_on_rounding(group, wanted):
            self._other_rows(group, got, wanted)
        elif group == LABELS:
            self._choices(group, labels_differ(got, wanted), _words_of_labels)
        elif any(bool(torch.isnan(one).any()) for one in wanted):
            self.doubts.append(f"{group} of the float64 reference is not a number (NaN)")
        elif place := _first_nan(got, wanted):
            self.suspected.add(group)
            self.wrong.append(f"{group}: {place} NaN, and finite in float64 eager code")
        else:
            differ = kinds_differ(got, wanted)
            if bool(differ.any()):
                self._choices(group, differ, lambda *_: _words_of_infinities(group, got, wanted))
            self._numbers(group, got, wanted)

    def _of_witnesses(self, group: str, like: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        """Those of the same shapes, and of numbers where the reference has some."""
        groups = [one.groups.get(group, ()) for one in self.witnesses or ()]
        return [
            tensors
            for tensors in groups
            if shapes(tensors) == shapes(like) and not _first_nan(tensors, like)
        ]

    def _rows_hang_on_rounding(self, group: str, wanted: tuple[Tensor, ...]) -> bool:
        """Then two results of as many rows may have other rows."""
        others = (one.groups.get(group) for one in self.witnesses or ())
        return any(one is not None and shapes(one) != shapes(wanted) for one in others)

    def _other_rows(self, group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
        """More or fewer rows, as a threshold keeps them, may be rounding; nothing else may."""
        words = f"{group}: shapes {shapes(got)}, of float64 eager {shapes(wanted)}"
        self.suspected.add(group)
        size = max(norm(wanted), 1e-300)
        near = 4 * max(self._bound(group, wanted) / size, FLOOR_EPS * EPS[self.used])
        others = [one.groups.get(group, ()) for one in self.witnesses or ()]
        told = None
        if self.witnesses is not None and group != "gradients":
            told = matching.rows(got, wanted, others, near=0.0 if group == LABELS else near)
        if told is None:
            self.wrong.append(words)
        elif told.explained and not told.unstable:
            self.errors[group] = told.share
            self.allowed[group] = max(told.allowed, told.share)
        elif told.explained or told.few:
            self.doubts.append(f"{words}: how many rows there are hangs on rounding")
        else:
            self.wrong.append(
                f"{words}: {told.unmatched} rows have no equal on the other side (rounding in "
                f"{self.used} explains {told.allowed * told.rows:.0f})"
            )

    def _choices(self, group: str, differ: Tensor, words: Any) -> None:
        share = float(differ.double().mean()) if differ.numel() else 0.0
        if group == LABELS and differ.numel():
            self.errors[group], self.allowed[group] = share, 0.0
        if not bool(differ.any()):
            return
        self.suspected.add(group)
        wanted = self.reference.values.groups[group]
        others = self._of_witnesses(group, wanted)
        of = labels_differ if group == LABELS else kinds_differ
        told = stability.of_choices(differ, [of(one, wanted) for one in others])
        if group == LABELS:
            self.allowed[group] = told.most / differ.numel()
        said = f"{words(differ)} (rounding in {self.used} explains {told.most:.0f})"
        if told.explained and not (told.unstable and share >= MUCH):
            return
        if told.explained or (others and told.few):
            self.doubts.append(f"{said}: rounding may do that here, as may a mistake")
        else:
            self.wrong.append(said)

    def _bound(self, group: str, wanted: tuple[Tensor, ...]) -> float:
        tiny = TINY[self.used] * math.sqrt(sum(one.numel() for one in wanted))
        return max(_rounding(self.reference, group, norm(wanted), self.used), tiny)

    def _numbers(self, group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
        used = self.used
        size, difference = norm(wanted), norm_of_difference(got, wanted)
        tiny = TINY[used] * math.sqrt(sum(one.numel() for one in wanted))
        bound = self._bound(group, wanted)
        if size == 0:  # exactly zero in float64: only its own rounding is a measure
            if difference > bound and not self._told(group, got, wanted, bound).explained:
                self.suspected.add(group)
                self.wrong.append(f"{group} should be zero, and has a norm of {difference:.2g}")
            elif any(one.numel() for one in wanted):
                self.errors[group] = self.allowed[group] = 0.0
            return
        single = self.reference.rounding.get(group, 0.0)
        expected = single * EPS[used] / EPS["float32"]
        if single >= DOUBTED * size:  # float32 eager code may be what is wrong
            self.suspected.add(group)
            others = [norm(one) for one in self._differences(group, wanted)]
            if others:
                expected = max(others)
                bound = min(bound, max(math.sqrt(stability.ROOM) * expected, tiny))
        chaotic = max(expected, tiny) >= CHAOTIC * size
        if not chaotic:
            bound = min(bound, NEVER_ROUNDING * size)
        self.errors[group], self.allowed[group] = difference / size, bound / size
        if chaotic and self.errors[group] >= MUCH:
            why = (
                "its numbers are too small for that" if tiny > expected else "rounding may do that"
            )
            self.doubts.append(
                f"{group} in {used} differ from float64 eager by {self.errors[group]:.0%}: {why} "
                "here, as may a mistake"
            )
        elif difference > bound:
            self.suspected.add(group)
            self._beyond(group, self._told(group, got, wanted, bound), size)

    def _differences(self, group: str, wanted: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        """Of the witnesses, each tensor flat."""
        return [_difference(one, wanted) for one in self._of_witnesses(group, wanted)]

    def _told(
        self, group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...], bound: float
    ) -> stability.Told:
        others = [torch.cat(one) for one in self._differences(group, wanted)]
        exact = torch.cat([_finite(one).flatten() for one in wanted])
        return stability.of_numbers(torch.cat(_difference(got, wanted)), others, exact, bound=bound)

    def _beyond(self, group: str, told: stability.Told, size: float) -> None:
        if told.explained:
            self.allowed[group] = told.most / size
            if told.unstable and self.errors[group] >= MUCH:
                self.doubts.append(
                    f"{group} in {self.used} differ from float64 eager by "
                    f"{self.errors[group]:.0%}: most of it hangs on rounding here"
                )
            return
        said = f"{self.allowed[group]:.2g}"
        if told.most > self.allowed[group] * size:
            said += f", and {told.most / size:.2g} at other places"
        self.wrong.append(
            f"{group} differ from float64 eager by {self.errors[group]:.2g} (relative norm; "
            f"rounding in {self.used} explains {said})"
        )


def shapes(tensors: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    """One after the other."""
    return [tuple(one.shape) for one in tensors]


def labels_differ(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> Tensor:
    """Where whole numbers are others: bool, flat."""
    return _flat([one != other for one, other in zip(got, wanted, strict=True)])


def kinds_differ(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> Tensor:
    """Where one is infinite, and the other finite or infinite the other way: bool, flat."""
    return _flat([_kind(one) != _kind(other) for one, other in zip(got, wanted, strict=True)])


def _kind(tensor: Tensor) -> Tensor:
    return torch.isposinf(tensor).char() - torch.isneginf(tensor).char()


def _flat(masks: list[Tensor]) -> Tensor:
    return (
        torch.cat([one.flatten() for one in masks]) if masks else torch.zeros(0, dtype=torch.bool)
    )


def _first_nan(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> str | None:
    """How many numbers of which tensor are NaN where the other has a number."""
    for place, (one, other) in enumerate(zip(got, wanted, strict=True), start=1):
        count = int((torch.isnan(one) & ~torch.isnan(other)).sum())
        if count:
            shape = tuple(one.shape)
            return f"{count} of {one.numel()} numbers of its tensor {place} {shape} are"
    return None


def _words_of_labels(differ: Tensor) -> str:
    return (
        f"labels: {int(differ.sum())} of {differ.numel()} whole numbers of the output are others "
        "than in float64 eager code"
    )


def _words_of_infinities(group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> str:
    """Where they are first; those that the reference has too are no fault."""
    for place, (one, other) in enumerate(zip(got, wanted, strict=True), start=1):
        differ = _kind(one) != _kind(other)
        more = int((differ & torch.isinf(one)).sum())
        shape = tuple(one.shape)
        if more:
            return (
                f"{group}: {more} of {one.numel()} numbers of its tensor {place} {shape} are "
                "infinite, and not so in float64 eager code"
            )
        if bool(differ.any()):
            return (
                f"{group}: {int(differ.sum())} of {one.numel()} numbers of its tensor {place} "
                f"{shape} are finite, and infinite in float64 eager code"
            )
    return f"{group}: infinite at other places than in float64 eager code"


def _rounding(made: Reference, group: str, size: float, used: str) -> float:
    """What this arithmetic may differ by: room for what float32 does, and never nothing."""
    room = (GRADIENT_ROOM if group == "gradients" else ROOM)[used]
    seen = room * made.rounding.get(group, 0.0)
    output = made.values.groups.get("output", ())
    count = sum(one.numel() for one in output)
    if group == "loss" and count:
        # One number, which by luck may be exact: it moves as the outputs do that it is made of.
        root_mean_square = norm(output) / math.sqrt(count)
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
    for group in dict.fromkeys((*exact.groups, *single.groups)):
        wanted, got, other = (one.groups.get(group, ()) for one in (exact, single, again))
        if shapes(got) != shapes(wanted):
            raise TruthError(f"{group} has other shapes in float64 than in float32")
        if shapes(got) != shapes(other):
            raise TruthError(f"{group} has another shape with another seed")
        _same_under_another_seed(group, got, other)
        if group != LABELS:
            rounding[group] = norm_of_difference(got, wanted)
    return Reference(exact, rounding)


def _same_under_another_seed(
    group: str, got: tuple[Tensor, ...], other: tuple[Tensor, ...]
) -> None:
    """Raises TruthError."""
    if group == LABELS:
        moved = float(labels_differ(got, other).sum())
        by = f"{moved:.0f} whole numbers"
    elif bool(kinds_differ(got, other).any()):
        moved, by = math.inf, "where they are infinite"
    else:
        moved, size = norm_of_difference(got, other), norm(got)
        if moved <= FLOOR_EPS * EPS["float32"] * size:
            return
        by = f"{moved / size:.2g}" if size else f"{moved:.2g} where they were zero"
    if moved:
        raise TruthError(
            f"{group} of one and the same call differ by {by} under another seed: the module "
            "draws random numbers (dropout?)"
        )


def norm(tensors: tuple[Tensor, ...]) -> float:
    """Over all finite numbers together."""
    return math.hypot(*(float(_finite(one).norm()) for one in tensors))


def norm_of_difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    """‖one - other‖, the tensors in pairs, where both are finite."""
    return norm(tuple(a - b for a, b in zip(one, other, strict=True)))


def _difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(_finite(a - b).flatten() for a, b in zip(one, other, strict=True))


def _finite(tensor: Tensor) -> Tensor:
    return torch.where(torch.isfinite(tensor), tensor, 0.0)


def _floats(tree_: Any) -> tuple[Tensor, ...]:
    """Real and complex numbers, those of sparse tensors laid out in full."""
    return tuple(
        _float64(part)
        for one in pytree.tensors(tree_)
        for part in _comparable(one)
        if part.is_floating_point() or part.is_complex()
    )


def _labels(tree_: Any) -> tuple[Tensor, ...]:
    """Whole numbers and truth values."""
    return tuple(
        part.to("cpu", torch.int64, copy=True).contiguous()
        for one in pytree.tensors(tree_)
        for part in _comparable(one)
        if not (part.is_floating_point() or part.is_complex())
    )


MOST_DENSE = 2**24  # numbers of a sparse tensor that are laid out in full, to be compared


def _comparable(tensor: Tensor) -> list[Tensor]:
    """Plain tensors.  The same numbers may be kept at more or fewer indices."""
    one = tensor.detach()
    if not one.is_nested and one.layout is not torch.strided and one.numel() <= MOST_DENSE:
        return [one.to_dense()]
    return pytree.parts(one)


def _float64(tensor: Tensor) -> Tensor:
    with torch.no_grad():
        kept = tensor.detach()
        kept = torch.view_as_real(kept.resolve_conj()) if kept.is_complex() else kept
        wide = kept.to("cpu", torch.float64, copy=True)
        return wide.contiguous()


def _leaves(inputs: Any, module: nn.Module) -> list[Tensor]:
    """The leaves behind the inputs: an input that is written to is a copy of its leaf."""
    own = {id(one) for one in module.parameters()}
    leaves: dict[int, Tensor] = {}
    for tensor in pytree.tensors(inputs):
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
        _float64(part.flatten()[:: max(1, part.numel() // SAMPLED)])
        for one in (*module.parameters(), *module.buffers(), *pytree.tensors(given))
        for part in pytree.parts(one)
        if part.is_floating_point() or part.is_complex()
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
