"""Checks that a case computes what float64 eager code computes from the same input (rule 26).

The values of one call form groups: output, labels (whole numbers and truth values of the output),
loss, gradients, buffers.  The error of a group is ‖x - ref‖ / ‖ref‖ over all its numbers together.
It is not taken elementwise or by parameter, because the gradient of a convolution's bias before
BatchNorm is zero except for rounding.  The error of labels is the share of them that differs.

The effect of rounding is known from float32 eager code.  A network that amplifies rounding there
(ReLU and max pooling that switch, deep normalised stacks) amplifies it in coarser arithmetic too,
in proportion to the spacing of numbers.  A group that differs by more is suspected.  It is wrong if
the witnesses do not explain it either (`bench.worker.checks.stability`): a choice between near
ties, as an argmax or a threshold makes it, may have another result.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.worker.checks import differences, exact, matching, stability
from bench.worker.checks.exact import Reference
from bench.worker.checks.rounding import EPS, FLOOR_EPS, TINY
from bench.worker.checks.values import LABELS, Values, same_given

# An output of zeros has an error of 1, a doubled output as well, an unrelated one has 1.4.
NEVER_ROUNDING = 0.9
# Networks whose scaled float32 error may come to this are chaotic: an error of MUCH cannot be told
# from a mistake there.
CHAOTIC, MUCH = 0.25, 0.5
# float32 eager code that differs from float64 by this much makes other choices, or is wrong: the
# witnesses tell which.
DOUBTED = 0.01

FORWARD, BACKWARD = ("output", LABELS, "loss", "buffers"), ("gradients",)


@dataclass(frozen=True, slots=True)
class NumericsResult:
    """The errors of a case, and the conclusion from them."""

    errors: Mapping[str, float] = field(default_factory=dict)  # relative, by group
    allowed: Mapping[str, float] = field(default_factory=dict)
    wrong: str | None = None  # why the result is wrong; None = it is not
    doubt: str | None = None  # why the comparison decides nothing; None = it does
    suspected: frozenset[str] = frozenset()  # groups that proportional rounding does not explain

    def columns(self) -> dict[str, float]:
        """Return errors by column and phase; `exact_values:…` are the groups, for the journal."""
        found: dict[str, float] = {}
        for phase, groups in (("forward", FORWARD), ("backward", BACKWARD)):
            of_phase = [self.errors[group] for group in groups if group in self.errors]
            if of_phase:
                found[f"relative_error:{phase}"] = max(of_phase)
        if self.errors:
            found["relative_error"] = max(self.errors.values())
        found |= {f"truth:{group}": error for group, error in self.errors.items()}
        return found | {f"truth_allowed:{group}": bound for group, bound in self.allowed.items()}


def compare(
    values: Values, reference: Reference, used: str, witnesses: Sequence[Values] | None = None
) -> NumericsResult:
    """Compare the values of a case with its reference.

    used:      the arithmetic, a key of EPS.
    witnesses: values of the same network with other rounding (`bench.worker.checks.witness`);
               None = they were not computed.

    Raises NoReferenceError where the two were not computed from the same weights and inputs.
    """
    same_given(values.given, reference.values.given, used)
    found = _Comparison(reference, used, witnesses)
    for group in dict.fromkeys((*reference.values.groups, *values.groups)):
        found.compare_group(group, values.groups.get(group, ()))
    if not (found.errors or found.wrong or found.doubts):
        found.doubts.append("the output has no element, so that there is nothing to compare")
    return NumericsResult(
        found.errors,
        found.allowed,
        "; ".join(found.wrong) or None,
        "; ".join(found.doubts) or None,
        frozenset(found.suspected),
    )


@dataclass(slots=True)
class _Comparison:
    """The comparison while it is made, group by group."""

    reference: Reference
    used: str
    witnesses: Sequence[Values] | None
    errors: dict[str, float] = field(default_factory=dict)
    allowed: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    suspected: set[str] = field(default_factory=set)

    def compare_group(self, group: str, got: tuple[Tensor, ...]) -> None:
        wanted = self.reference.values.groups.get(group, ())
        same = differences.shapes(got) == differences.shapes(wanted)
        if not same or self._rounding_decides_rows(group, wanted):
            self._compare_rows(group, got, wanted)
        elif group == LABELS:
            differ = differences.labels_differ(got, wanted)
            self._compare_choices(group, differ, differences.describe_labels)
        elif any(bool(torch.isnan(one).any()) for one in wanted):
            self.doubts.append(f"{group} of the float64 reference is not a number (NaN)")
        elif place := differences.first_nan(got, wanted):
            self.suspected.add(group)
            self.wrong.append(f"{group}: {place} NaN, and finite in float64 eager code")
        else:
            differ = differences.kinds_differ(got, wanted)
            if bool(differ.any()):
                self._compare_choices(
                    group, differ, lambda *_: differences.describe_infinities(group, got, wanted)
                )
            self._compare_numbers(group, got, wanted)

    def _witness_tensors(self, group: str, like: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        """Return the witnesses' tensors that have the same shapes, and numbers where the reference
        has some.
        """
        groups = [one.groups.get(group, ()) for one in self.witnesses or ()]
        return [
            tensors
            for tensors in groups
            if differences.shapes(tensors) == differences.shapes(like)
            and not differences.first_nan(tensors, like)
        ]

    def _rounding_decides_rows(self, group: str, wanted: tuple[Tensor, ...]) -> bool:
        """Return whether rounding decides which rows there are, also where both have as many."""
        others = (one.groups.get(group) for one in self.witnesses or ())
        return any(
            one is not None and differences.shapes(one) != differences.shapes(wanted)
            for one in others
        )

    def _compare_rows(
        self, group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]
    ) -> None:
        """Compare results of different numbers of rows: rounding at a threshold may explain the
        difference.
        """
        mine, exact_ones = differences.shapes(got), differences.shapes(wanted)
        words = f"{group}: shapes {mine}, of float64 eager {exact_ones}"
        self.suspected.add(group)
        size = max(differences.norm(wanted), 1e-300)
        near = 4 * max(self._rounding_bound(group, wanted) / size, FLOOR_EPS * EPS[self.used])
        others = [one.groups.get(group, ()) for one in self.witnesses or ()]
        explanation = None
        if self.witnesses is not None and group != "gradients":
            explanation = matching.rows(got, wanted, others, near=0.0 if group == LABELS else near)
        if explanation is None:
            self.wrong.append(words)
        elif explanation.explained and not explanation.unstable:
            self.errors[group] = explanation.share
            self.allowed[group] = max(explanation.allowed, explanation.share)
        elif explanation.explained or explanation.few:
            self.doubts.append(f"{words}: the number of rows depends on rounding")
        else:
            self.wrong.append(
                f"{words}: {explanation.unmatched} rows have no equal on the other side "
                f"(rounding in {self.used} explains {explanation.allowed * explanation.rows:.0f})"
            )

    def _compare_choices(self, group: str, differ: Tensor, words: Any) -> None:
        share = float(differ.double().mean()) if differ.numel() else 0.0
        if group == LABELS and differ.numel():
            self.errors[group], self.allowed[group] = share, 0.0
        if not bool(differ.any()):
            return
        self.suspected.add(group)
        wanted = self.reference.values.groups[group]
        others = self._witness_tensors(group, wanted)
        of = differences.labels_differ if group == LABELS else differences.kinds_differ
        explanation = stability.of_choices(differ, [of(one, wanted) for one in others])
        if group == LABELS:
            self.allowed[group] = explanation.most / differ.numel()
        said = f"{words(differ)} (rounding in {self.used} explains {explanation.most:.0f})"
        if explanation.explained and not (explanation.unstable and share >= MUCH):
            return
        if explanation.explained or (others and explanation.few):
            self.doubts.append(f"{said}: rounding may do that here, as may a mistake")
        elif self.witnesses == [] and share < MUCH:
            why = "the network could not be computed with other rounding"
            self.doubts.append(f"{words(differ)}: {why}")
        else:
            self.wrong.append(said)

    def _rounding_bound(self, group: str, wanted: tuple[Tensor, ...]) -> float:
        tiny = TINY[self.used] * math.sqrt(sum(one.numel() for one in wanted))
        return max(exact.rounding(self.reference, group, differences.norm(wanted), self.used), tiny)

    def _compare_numbers(
        self, group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]
    ) -> None:
        used = self.used
        size, difference = differences.norm(wanted), differences.norm_of_difference(got, wanted)
        tiny = TINY[used] * math.sqrt(sum(one.numel() for one in wanted))
        bound = self._rounding_bound(group, wanted)
        if size == 0:
            self._compare_with_zeros(group, got, wanted, bound)
            return
        single = self.reference.rounding.get(group, 0.0)
        expected = single * EPS[used] / EPS["float32"]
        if single >= DOUBTED * size:  # float32 eager code may be the wrong one
            self.suspected.add(group)
            others = [differences.norm(one) for one in self._witness_differences(group, wanted)]
            if others:
                expected = max(others)
                bound = min(bound, max(math.sqrt(stability.TOLERANCE_FACTOR) * expected, tiny))
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
            self._report_excess(group, self._explain(group, got, wanted, bound), size)

    def _compare_with_zeros(
        self, group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...], bound: float
    ) -> None:
        """Compare with a reference that is exactly zero: only its own rounding gives a scale."""
        difference = differences.norm_of_difference(got, wanted)
        if difference > bound and not self._explain(group, got, wanted, bound).explained:
            self.suspected.add(group)
            self.wrong.append(f"{group} should be zero, and has a norm of {difference:.2g}")
        elif any(one.numel() for one in wanted):
            self.errors[group] = self.allowed[group] = 0.0

    def _witness_differences(
        self, group: str, wanted: tuple[Tensor, ...]
    ) -> list[tuple[Tensor, ...]]:
        """Return the differences of the witnesses from the reference, each tensor flat."""
        return [
            differences.flat_difference(one, wanted) for one in self._witness_tensors(group, wanted)
        ]

    def _explain(
        self, group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...], bound: float
    ) -> stability.Explanation:
        others = [torch.cat(one) for one in self._witness_differences(group, wanted)]
        exact_values = torch.cat([differences.finite(one).flatten() for one in wanted])
        return stability.of_numbers(
            torch.cat(differences.flat_difference(got, wanted)), others, exact_values, bound=bound
        )

    def _report_excess(self, group: str, explanation: stability.Explanation, size: float) -> None:
        if explanation.explained:
            self.allowed[group] = explanation.most / size
            if explanation.unstable and self.errors[group] >= MUCH:
                self.doubts.append(
                    f"{group} in {self.used} differ from float64 eager by "
                    f"{self.errors[group]:.0%}: most of it depends on rounding here"
                )
            return
        if self.witnesses == []:
            self.doubts.append(
                f"{group} in {self.used} differ from float64 eager by {self.errors[group]:.2g}: "
                "the network could not be computed with other rounding"
            )
            return
        said = f"{self.allowed[group]:.2g}"
        if explanation.most > self.allowed[group] * size:
            said += f", and {explanation.most / size:.2g} at other places"
        self.wrong.append(
            f"{group} differ from float64 eager by {self.errors[group]:.2g} (relative norm; "
            f"rounding in {self.used} explains {said})"
        )
