"""Find the rows that differ in one axis only.

Two rows match if their subject, phase and all other axes are equal.  An axis that is empty in one
of them (threads on a GPU, cudnn_benchmark on a CPU) counts as equal.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.axes import AXES, BY_NAME
from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.core.records import Row

# Two inputs are different work, so a ratio between them is not a speedup.
COMPARABLE = tuple(axis.name for axis in AXES if axis.name != "input")


class MatchError(UserError):
    """The rows cannot be compared by this axis; the message names the possible ones."""


@dataclass(frozen=True, slots=True)
class Match:
    """A base and a value, each the fastest of the rows that matched.

    base_of, value_of: the number of rows that matched.
    """

    base: Row
    value: Row
    base_of: int = 1
    value_of: int = 1


def values(rows: Iterable[Row], by: str) -> list[Any]:
    """Return the values of an axis that occur in the rows, the base of comparisons first.

    Raises MatchError if the axis is unknown or has fewer than two values.
    """
    if by not in COMPARABLE:
        known = ", ".join(COMPARABLE)
        near = did_you_mean(by, COMPARABLE)
        raise MatchError(
            f"--by {by}: this is not an axis that can be compared; expected one of {known}{near}"
        )
    axis = BY_NAME[by]
    present = {getattr(row, by) for row in rows if row.status == "ok"} - {None}
    if len(present) < 2:
        there = f"is {present.pop()} in every row" if present else "is empty in every row"
        raise MatchError(f"--by {by}: {by} {there}; a comparison needs two values of it")
    return sorted(present, key=_order(axis.values))


def _order(closed: Sequence[str]) -> Callable[[Any], tuple[int, int, str]]:
    """Return a sort key for the values of an axis.

    The declared values come first in their order.  Then come numbers by size, then other texts.
    The CPU comes before accelerators.
    """

    def key(value: Any) -> tuple[int, int, str]:
        text = str(value)
        if text in closed:
            return 0, closed.index(text), ""
        if text.isdecimal():
            return 1, int(text), ""
        return (1 if text == "cpu" else 2), 0, text

    return key


def pairs(
    base: Iterable[Row],
    value: Iterable[Row],
    *,
    apart: str,
    time_s: Callable[[Row], float | None],
) -> Iterator[Match]:
    """Yield the matches of two sets of rows that differ in the axis `apart`.

    Several rows can match, because an empty axis equals any value.  All rows of one set that have
    the same axes filled match the same rows of the other set.  Of these, the fastest row of each
    set by `time_s` is chosen.
    """
    axes = [axis.name for axis in AXES if axis.name != apart]
    bases, others = _by_filled(base, axes), _by_filled(value, axes)
    for filled_base, base_rows in bases.items():
        for filled_value, value_rows in others.items():
            common = [name for name in axes if name in filled_base and name in filled_value]
            left, right = _by_key(base_rows, common), _by_key(value_rows, common)
            for key in left:
                if key in right:
                    yield Match(
                        base=_fastest(left[key], time_s),
                        value=_fastest(right[key], time_s),
                        base_of=len(left[key]),
                        value_of=len(right[key]),
                    )


def _by_filled(rows: Iterable[Row], axes: Sequence[str]) -> dict[frozenset[str], list[Row]]:
    groups: dict[frozenset[str], list[Row]] = {}
    for row in rows:
        filled = frozenset(name for name in axes if getattr(row, name) is not None)
        groups.setdefault(filled, []).append(row)
    return groups


def _by_key(rows: Iterable[Row], common: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row.subject, row.phase, *(getattr(row, name) for name in common))
        groups.setdefault(key, []).append(row)
    return groups


def _fastest(rows: Sequence[Row], time_s: Callable[[Row], float | None]) -> Row:
    """Return the fastest row, the first one if several are; rows without a time come last."""
    return min(rows, key=lambda row: (time_s(row) is None, time_s(row) or 0.0))
