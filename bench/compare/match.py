"""Which rows are about the same thing but for one axis.

Two rows match where subject, phase and all other axes agree, an axis that is empty on either
side (threads on a GPU, cudnn_benchmark on a CPU) counting as agreeing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.axes import AXES, BY_NAME
from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.core.records import Row

# What a ratio between two values of these would mean is the same for every user.
COMPARABLE = tuple(axis.name for axis in AXES if axis.name != "input")


class MatchError(UserError):
    """An axis by which these rows cannot be compared; the message says which can."""


@dataclass(frozen=True, slots=True)
class Match:
    """A base and a value, each the fastest of those that matched.

    base_of, value_of: how many rows there were to choose from.
    """

    base: Row
    value: Row
    base_of: int = 1
    value_of: int = 1


def values(rows: Iterable[Row], by: str) -> list[Any]:
    """The values of an axis that occur, the base of comparisons first.

    Raises MatchError where there are not two, or the axis is none.
    """
    if by not in COMPARABLE:
        known = ", ".join(COMPARABLE)
        near = did_you_mean(by, COMPARABLE)
        raise MatchError(
            f"--by {by}: no axis that has a base to compare with; there are {known}{near}"
        )
    axis = BY_NAME[by]
    present = {getattr(row, by) for row in rows if row.status == "ok"} - {None}
    if len(present) < 2:
        there = f"is {present.pop()} in every row" if present else "is empty in every row"
        raise MatchError(f"--by {by}: {by} {there}; a comparison needs two values of it")
    return sorted(present, key=_order(axis.values))


def _order(closed: Sequence[str]) -> Callable[[Any], tuple[int, int, str]]:
    """Closed axes as declared; numbers by size, then words; the CPU before accelerators."""

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
    """The matches of two sets of rows that differ in the axis `apart`.

    Rows with the same axes filled match all or none of the other side's that have the same
    axes filled: those are taken together, and the fastest of each side by `time_s` is chosen.
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
    """The first of the fastest; rows without a time come last."""
    return min(rows, key=lambda row: (time_s(row) is None, time_s(row) or 0.0))
