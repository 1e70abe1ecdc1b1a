"""The result of a search, checked later: whether its speedup and its result still hold.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.core import units
from bench.core.text import number_of
from bench.tune import objectives
from bench.tune.confirm import Confirmed
from bench.tune.objectives import COUNTED, Objective
from bench.tune.static import Static


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A setting that was measured again against plain.

    name:      of the setting.  static: its float64 check, and its memory and energy.
    again:     its speedup over plain now; None where no pair succeeded, or none was needed.
    promised:  that of the search; None = unknown.
    changed:   what is not as it was in the search, in words.
    objective: of the search.  A counted one is compared by the static metrics alone.
    plain:     the static metrics of plain, if the objective is counted.
    """

    name: str
    static: Static
    again: Confirmed | None
    promised: Confirmed | None
    changed: tuple[str, ...] = ()
    objective: Objective = "latency"
    plain: Static | None = None

    @property
    def holds(self) -> bool:
        """Return whether the setting is right and better than plain by the objective."""
        return self.static.wrong is None and self._is_better

    @property
    def is_compared(self) -> bool:
        """Return whether the setting could be compared with plain by the objective."""
        return (self.figures if self.is_counted else self.again) is not None

    @property
    def is_counted(self) -> bool:
        return self.objective in COUNTED

    @property
    def figures(self) -> tuple[float, float] | None:
        """The counted figure of the setting and of plain: bytes, or joules per image."""
        own, plain = (
            None if one is None else objectives.counted(one, self.objective)
            for one in (self.static, self.plain)
        )
        return None if own is None or plain is None else (own, plain)

    @property
    def _is_better(self) -> bool:
        if self.figures is not None:
            own, plain = self.figures
            return own < plain
        return self.again is not None and self.again.faster


def of_stored(one: Mapping[str, Any] | None) -> Confirmed | None:
    """Read a speedup of tune.json."""
    return None if one is None else Confirmed(one["ratio"], one["low"], one["high"], one["pairs"])


def sentences(found: Verified) -> list[str]:
    """Return the answer, what the search had found, and what has changed since."""
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
    if found.is_counted:
        return _counted(found)
    if found.again is None:
        return f"{found.name} could not be measured against plain."
    measured = f"{found.again.text} against plain in {number_of(found.again.pairs, 'fresh pair')}"
    if found.again.faster:
        return f"{found.name} is faster here: {measured}."
    return f"{found.name} is not shown to be faster here: {measured}. Search again."


def _counted(found: Verified) -> str:
    what = found.objective
    if found.figures is None:
        return (
            f"{found.name} could not be compared with plain: the {what} of one of them is unknown."
        )
    own, plain = (_figure(one, what) for one in found.figures)
    measured = f"{own} against {plain} of plain"
    if found.holds:
        return f"{found.name} needs less {what} here: {measured}."
    return f"{found.name} does not need less {what} here: {measured}. Search again."


def _figure(value: float, objective: Objective) -> str:
    return units.bytes_(value) if objective == "memory" else f"{value:.3g} J an image"


def _against_search(again: Confirmed, promised: Confirmed) -> str:
    ends = (again.low, again.high, promised.low, promised.high)
    if None in ends:
        return f"The search had found {promised.text}; the two cannot be told apart."
    low, high, low_then, high_then = (float(one or 0) for one in ends)
    if low <= high_then and low_then <= high:
        return f"The search had found {promised.text}, which agrees."
    word = "more" if again.ratio > promised.ratio else "less"
    return f"It is {word} than the search had found: {promised.text}."
