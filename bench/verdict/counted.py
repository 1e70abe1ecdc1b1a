"""The verdict on counts of instructions of two variants.  Pure.

Counts repeat almost exactly, so there is no test of significance: a change counts if it exceeds the
spread of processes whose only difference is the order of their hashes.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["REGRESSED", "IMPROVED", "SAME", "UNTRUSTED", "UNSUPPORTED", "FAILED"]

LEAST_CHANGE = 0.002  # of the instructions of a call
SPREADS = 4.0
# Of the counts of one length after another: more, and the calls are not alike.
CONSISTENT = 0.01
# Of the canary between two processes of one hash seed; more, and the processors or libraries
# differ.  Interrupts add a few instructions to the processor's counters; callgrind sees none.
SAME_CANARY = {"perf": 0.001, "callgrind": 0.0}
MOST_CAUSES = 6
LEAST_CAUSE = 0.02  # of the change


class CountError(ValueError):
    """Counts that say nothing about one call; the message says why."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One function's part of a change.  instructions: of a call, more in B than in A."""

    function: str
    instructions: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCount:
    """One case: instructions of a call on both sides, and the verdict.

    change: B / A - 1.  limit: the least change that counts.
    causes: functions that account for the change, the largest first.
    calls:  functions of Python by how many more calls B makes in a call of the case.
    """

    key: str
    verdict: Verdict
    a: float | None = None
    b: float | None = None
    change: float | None = None
    limit: float | None = None
    note: str = ""
    causes: tuple[Cause, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)


def per_call(counts: Mapping[int, float]) -> float:
    """Return the instructions of one call from those of several numbers of calls.

    Differences cancel what is done once for each count.  Raises CountError.
    """
    lengths = sorted(counts)
    steps = [
        (counts[more] - counts[fewer]) / (more - fewer)
        for fewer, more in itertools.pairwise(lengths)
    ]
    mean = (counts[lengths[-1]] - counts[lengths[0]]) / (lengths[-1] - lengths[0])
    if mean <= 0:
        raise CountError("more calls took fewer instructions; nothing can be said about one")
    if max(steps) - min(steps) > CONSISTENT * mean:
        shown = " and ".join(f"{one:,.0f}" for one in steps)
        raise CountError(f"its calls differ from each other: {shown} instructions a call")
    return mean


def same_canary(a: Sequence[float], b: Sequence[float], engine: str) -> bool:
    """Return whether both sides took as many instructions for known work.

    a, b: of the same hash seeds in the same order.
    """
    return all(
        abs(one - other) <= SAME_CANARY[engine] * min(one, other)
        for one, other in zip(a, b, strict=True)
    )


def decided(key: str, a: Sequence[float], b: Sequence[float]) -> CaseCount:
    """Decide from the instructions of a call in several processes of each side."""
    first, second = statistics.median(a), statistics.median(b)
    spread = max((max(one) - min(one)) / min(one) for one in (a, b))
    limit = max(LEAST_CHANGE, SPREADS * spread)
    change = second / first - 1
    verdict: Verdict = "SAME"
    if abs(change) > limit:
        verdict = "REGRESSED" if change > 0 else "IMPROVED"
    return CaseCount(key=key, verdict=verdict, a=first, b=second, change=change, limit=limit)


def causes(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[Cause, ...]:
    """Return the functions whose own instructions changed most; a and b: of one call."""
    changes = {name: b.get(name, 0.0) - a.get(name, 0.0) for name in a.keys() | b.keys()}
    total = abs(sum(changes.values()))
    large = [Cause(name, one) for name, one in changes.items() if abs(one) > LEAST_CAUSE * total]
    return tuple(
        sorted(large, key=lambda one: (-abs(one.instructions), one.function))[:MOST_CAUSES]
    )


def more_calls(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    """Return the functions of Python that B calls more or less often, the largest change first."""
    changes = {name: b.get(name, 0) - a.get(name, 0) for name in a.keys() | b.keys()}
    found = sorted(
        (item for item in changes.items() if item[1]), key=lambda one: (-abs(one[1]), one[0])
    )
    return dict(found[:MOST_CAUSES])


def exit_code(cases: Sequence[CaseCount], *, missing: bool, strict: bool) -> int:
    """Return 0: nothing got worse, 1: REGRESSED, 3: undecided (if strict), 4: failed or missing.

    As in the other gates, 4 stands before 1.

    missing: one side lacks a case.
    """
    found = {one.verdict for one in cases}
    if missing or "FAILED" in found:
        return 4
    if "REGRESSED" in found:
        return 1
    return 3 if strict and found & {"UNTRUSTED", "UNSUPPORTED"} else 0
