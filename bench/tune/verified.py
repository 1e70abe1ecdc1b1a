"""The result of a search, checked later: whether its speedup and its result still hold.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.core import units
from bench.core.text import number_of
from bench.tune.confirm import Confirmed
from bench.tune.static import Static


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A setting that was measured again against plain.

    name:     of the setting.  static: its float64 check.
    again:    its speedup over plain now; None where no pair succeeded.
    promised: that of the search; None = unknown.
    changed:  what is not as it was in the search, in words.
    """

    name: str
    static: Static
    again: Confirmed | None
    promised: Confirmed | None
    changed: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Return whether the setting is right and faster than plain."""
        return self.static.wrong is None and self.again is not None and self.again.faster


def of_stored(one: Mapping[str, Any] | None) -> Confirmed | None:
    """Read a speedup of tune.json."""
    return None if one is None else Confirmed(one["ratio"], one["low"], one["high"], one["pairs"])


def sentences(found: Verified) -> list[str]:
    """The answer, what the search had found, and what has changed since."""
    said = [_answer(found)]
    if found.promised is not None and found.again is not None:
        said.append(_against_search(found.again, found.promised))
    if found.static.wrong is None and found.static.error is not None:
        said.append(f"Its error against float64 is {found.static.error:.1e}.")
    elif found.static.doubt is not None:
        said.append(f"Its result could not be checked: {found.static.doubt}.")
    return [*said, *(f"Since the search there is {one}." for one in found.changed)]


def _answer(found: Verified) -> str:
    if found.static.wrong is not None:
        return f"{found.name} is wrong here: {found.static.wrong}."
    if found.again is None:
        return f"{found.name} could not be measured against plain."
    measured = (
        f"{_ratio(found.again)} against plain in {number_of(found.again.pairs, 'fresh pair')}"
    )
    if found.again.faster:
        return f"{found.name} is faster here: {measured}."
    return f"{found.name} is not shown to be faster here: {measured}. Search again."


def _against_search(again: Confirmed, promised: Confirmed) -> str:
    ends = (again.low, again.high, promised.low, promised.high)
    if None in ends:
        return f"The search had found {_ratio(promised)}; the two cannot be told apart."
    low, high, low_then, high_then = (float(one or 0) for one in ends)
    if low <= high_then and low_then <= high:
        return f"The search had found {_ratio(promised)}, which agrees."
    word = "more" if again.ratio > promised.ratio else "less"
    return f"It is {word} than the search had found: {_ratio(promised)}."


def _ratio(one: Confirmed) -> str:
    return units.speedup_with_interval(one.ratio, one.low, one.high, one.pairs)
