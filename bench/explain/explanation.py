"""The explanation of one case: sentences, the counted figures, and every part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core import units
from bench.core.records import Case
from bench.core.text import are, number_of
from bench.explain import align
from bench.explain import causes as causing
from bench.explain import differences as differing
from bench.explain.causes import Cause, Count
from bench.explain.differences import Difference, Whole
from bench.results.profile_parts import StepParts

MOST_SENTENCES = 8
MOST_CHANGES = 3  # in one sentence
TELLING_SHARE = 0.05  # of the largest phase: one with less is not named
# They move data, and compute nothing.
CONVERSIONS = ("aten::copy_", "aten::to_mkldnn", "aten::to_dense", "aten::quantize_per_tensor")
_FIGURES = {
    "operators": "operators",
    "flops": "FLOPs",
    "graph_breaks": "graph breaks",
    "layout_flips": "changes of the memory format",
    "allocations": "allocations",
    "allocated_bytes": "allocated memory",
    "peak_bytes": "peak memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The causes why B takes another time than A.  Seconds per step, without the profiler."""

    case: Case  # of A
    whole: Whole
    counts: tuple[Count, ...]
    causes: tuple[Cause, ...]
    parts: tuple[Difference, ...]
    remainder_s: float
    rounds: int
    contended: bool

    @property
    def sentences(self) -> list[str]:
        """Return at most MOST_SENTENCES sentences, the most important first."""
        found = [_sentence(one, self.whole) for one in self.causes[:MOST_SENTENCES]]
        return found or [self._nothing()]

    def _nothing(self) -> str:
        """Say why there is no cause: nothing differs, or nothing that has a place."""
        counted = "nothing counted differs"
        differ = any(None not in (one.a, one.b) for one in self.counts)
        if differ:
            counted = "counted figures of the whole step differ, but none of a module"
        times = "no part beyond its noise"
        if self.rounds < differing.LEAST_ROUNDS:
            times = f"{self._rounds} to tell a difference of the times from noise"
        elif self.whole.beyond:
            times = "the step differs beyond its noise, but no part of it does"
        found = "cause" if differ or self.whole.beyond else "difference"
        return f"no {found} was found: {counted}, and {times}"

    @property
    def _rounds(self) -> str:
        return f"{number_of(self.rounds, 'round')} {are(self.rounds)} too few"

    @property
    def headline(self) -> str:
        """The difference of the steps, in one line, and whether it is beyond their noise."""
        whole = self.whole
        interval = ""
        if whole.low_s is not None and whole.high_s is not None:
            interval = f" (95 %: {units.signed(whole.low_s)} to {units.signed(whole.high_s)})"
        takes = (
            f"B takes {units.signed(whole.difference_s)}{interval} a step: "
            f"{units.seconds(whole.a_s)} → {units.seconds(whole.b_s)}"
        )
        if not interval:
            rounds = number_of(self.rounds, "round")
            return f"{takes}; {rounds} cannot tell this from noise"
        if whole.beyond:
            return takes
        if self.causes:
            return f"parts differ, but the whole step not beyond the noise of the two: {takes}"
        return f"no difference beyond the noise of the two: {takes}"

    @property
    def counted(self) -> str:
        """The counted figures that differ, in one line; empty if none does."""
        return "; ".join(map(_count, self.counts))

    @property
    def conversions(self) -> str:
        """The copies and conversions that only one side makes, by layer; empty without any."""
        found: dict[str, list[int]] = {}
        for part in self.parts:
            if part.counted and part.operator in CONVERSIONS:
                calls = found.setdefault(part.layer, [0, 0])
                calls[0] += part.calls_a
                calls[1] += part.calls_b
        return ", ".join(f"`{layer}` {a} → {b}" for layer, (a, b) in found.items() if a != b)

    @property
    def layers(self) -> list[tuple[str, float, float]]:
        """Seconds of each layer on both sides, the largest difference first."""
        found: dict[str, tuple[float, float]] = {}
        for part in self.parts:
            name = part.layer.partition("#")[0]
            a_s, b_s = found.get(name, (0.0, 0.0))
            found[name] = a_s + part.a_s, b_s + part.b_s
        every = [(name, a_s, b_s) for name, (a_s, b_s) in found.items()]
        return sorted(every, key=lambda one: -abs(one[2] - one[1]))

    @property
    def rest(self) -> str:
        """The causes without a sentence, and the remainder."""
        small = "a difference within the noise in each part"
        if self.rounds < differing.LEAST_ROUNDS:
            small = f"{self._rounds} to know the noise"
        said = f"{units.signed(self.remainder_s)} in no cause: {small}"
        if more := self.causes[MOST_SENTENCES:]:
            more_s = units.signed(math.fsum(one.difference_s for one in more))
            said = f"{more_s} in {number_of(len(more), 'more cause')}; {said}"
        return said

    @property
    def doubt(self) -> str:
        """The reason to doubt the times; empty without one."""
        said = "other work disturbed the profile: the times of the parts are doubtful"
        return said if self.contended else ""


def explain(a: StepParts, b: StepParts) -> Explanation:
    """Explain the difference of two profiles of one case."""
    a = align.renamed(a, b)
    whole, parts = differing.whole(a, b), differing.differences(a, b)
    found = causing.find(a, b, parts, whole)
    return Explanation(
        case=a.case,
        whole=whole,
        counts=tuple(causing.counted(a, b)),
        causes=tuple(found),
        parts=tuple(parts),
        remainder_s=causing.remainder(parts, found),
        rounds=min(len(a.rounds), len(b.rounds)),
        contended=a.contended or b.contended,
    )


def _sentence(cause: Cause, whole: Whole) -> str:
    most_s = max((abs(value) for value in cause.phases.values()), default=0.0)
    phases = [name for name, value in cause.phases.items() if abs(value) > TELLING_SHARE * most_s]
    of = f"{phases[0]} of " if len(phases) == 1 and phases[0] != "optimizer" else ""
    where = f", {cause.where}," if cause.where else ""
    by = f"{units.signed(cause.difference_s)}{_share(cause, whole)}"
    return f"{of}`{cause.layer}`{where} {by}: {'; '.join(cause.changes[:MOST_CHANGES])}"


def _share(cause: Cause, whole: Whole) -> str:
    """Return the share of the whole difference, where there is one and the share says something."""
    if not whole.beyond:
        return ""
    share = cause.difference_s / whole.difference_s
    if not 0.005 <= share <= 1.5:
        return ""
    return f" ({share:.0%} of the {'slowdown' if whole.difference_s > 0 else 'speedup'})".replace(
        "%", " %"
    )


def _count(one: Count) -> str:
    a, b = (_figure(one.name, value) for value in (one.a, one.b))
    if a == b:  # they differ by less than three digits show
        unit = " B" if one.name.endswith("bytes") else ""
        a, b = (f"{value:,.0f}{unit}" for value in (one.a or 0.0, one.b or 0.0))
    return f"{_FIGURES[one.name]} {a} → {b}"


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    if name.endswith("bytes"):
        return units.bytes_(value)
    return units.count(value) if name == "flops" else f"{value:,.0f}"


COLUMNS: dict[str, str] = {
    "case_id": "of A",
    "layer": "name in B; in A, if B has no such layer, with (in A) if B has another of that name",
    "phase": "forward, backward or optimizer",
    "operator": "or (between operators), (device idle)",
    "within": "the outermost operator that calls it",
    "calls_a": "calls in one step; 0: A has no such part, or the part is no operator",
    "calls_b": "",
    "a_s": "seconds of a step, without the profiler; all rows of a case are the step",
    "b_s": "",
    "difference_s": "B - A",
    "low_s": "of the 95 % interval over the rounds",
    "high_s": "",
    "evidence": "counted, beyond noise, or empty",
    "cause": "number of the sentence, from 9 on without one; empty: remainder",
}


def rows(explanation: Explanation) -> list[list[object]]:
    """Return the rows of difference.csv, the largest difference first."""
    number = {
        id(part): place for place, cause in enumerate(explanation.causes, 1) for part in cause.parts
    }
    largest: Sequence[Difference] = sorted(
        explanation.parts, key=lambda one: -abs(one.difference_s)
    )
    return [
        [
            explanation.case.case_id, one.layer, one.phase, one.operator, one.within,
            one.calls_a, one.calls_b, one.a_s, one.b_s, one.difference_s, one.low_s, one.high_s,
            "counted" if one.counted else "beyond noise" if one.beyond else "",
            number.get(id(one)),
        ]
        for one in largest
    ]  # fmt: skip
