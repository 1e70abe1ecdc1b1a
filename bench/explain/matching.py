"""Pair the profiles of cases: of the same case, or of one that differs in some settings."""

from collections.abc import Callable, Sequence

from bench.core.axes import BY_NAME
from bench.core.records import Case
from bench.results.profile_parts import StepParts

SAME = ("mode", "batch", "input")  # another work is no other setting
Pair = tuple[StepParts, StepParts]


def between(a: Sequence[StepParts], b: Sequence[StepParts]) -> list[Pair]:
    """Return the pairs of two profiles: equal cases, else the case with the fewest other settings.

    Each case is in one pair at most.
    """
    return _pairs(a, b, lambda one, other: not _differ(one, other) & set(SAME))


def sides(a: Sequence[StepParts], b: Sequence[StepParts]) -> list[Pair]:
    """Return the pairs of two variants that were profiled in turns: they may differ in any axis."""
    return _pairs(a, b, lambda *_: True)


def within(every: Sequence[StepParts], by: str) -> list[Pair]:
    """Return the pairs of one profile that differ in one axis: each value against the first."""
    found, seen = list[Pair](), list[StepParts]()
    for one in every:
        first = next((base for base in seen if _differ(base.case, one.case) == {by}), None)
        if first is None:
            seen.append(one)
        else:
            found.append((first, one))
    return found


def _pairs(
    a: Sequence[StepParts], b: Sequence[StepParts], allowed: Callable[[Case, Case], bool]
) -> list[Pair]:
    ways = sorted(
        (len(_differ(one.case, other.case)), i, j)
        for i, one in enumerate(a)
        for j, other in enumerate(b)
        if allowed(one.case, other.case)
    )
    found: dict[int, int] = {}
    for _, i, j in ways:
        if i not in found and j not in found.values():
            found[i] = j
    return [(a[i], b[found[i]]) for i in sorted(found)]


def _differ(a: Case, b: Case) -> set[str]:
    """Return the axes, and `subject`, in which two cases differ.

    An axis that means nothing on the device of one of them agrees with any value.
    """
    left, right = a.as_dict(), b.as_dict()
    both = {name: (left.get(name), right.get(name)) for name in ("subject", *BY_NAME)}
    return {name for name, values in both.items() if None not in values and len({*values}) > 1}
