"""Findings: the series whose level changed and did not come back; and which series were judged."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.history.series import Point, Series, changed_marks, splits
from bench.stats import steps
from bench.verdict.exact_metrics import COUNTED

Confirmation = Literal["", "confirmed", "taken back", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A change of a series.

    before, after: the last run before it and the first run after it.
    commits:       of the line between the two runs, the later one included; 0: the same commit.
    marks:         what else changed between the two runs: name → old and new version.
    counted:       counted figures that changed there: name → old and new.
    confirmation:  by a comparison of the two commits; empty if there was none.
    """

    series: Series
    step: steps.Step
    before: Point
    after: Point
    commits: int
    marks: Mapping[str, tuple[str, str]]
    counted: Mapping[str, tuple[float, float]]
    confirmation: Confirmation = ""
    told: str = ""  # by the comparison

    @property
    def is_slower(self) -> bool:
        return self.step.log > 0


@dataclass(frozen=True, slots=True)
class Examined:
    """A series and its levels.

    levels, changes: their indices count from the first judged point of the series.
    why_not: why the series was not judged; empty if it was.
    """

    series: Series
    levels: tuple[steps.Level, ...] = ()
    changes: tuple[steps.Step, ...] = ()
    p: float | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Census:
    """The numbers of series: all, judged, and not judged by reason."""

    series: int
    judged: int
    not_judged: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of a store.  findings: the slower ones first, the largest first."""

    findings: tuple[Finding, ...]
    examined: tuple[Examined, ...]
    census: Census


def examine(series: Iterable[Series], floor: float = steps.FLOOR) -> History:
    """Fit every series, and find the changes that are significant among all of them."""
    every = tuple(map(_examined, series))
    limit = steps.significant([one.p for one in every if one.p is not None])
    found = [
        _finding(one.series, step)
        for one in every
        if not one.why_not
        for step in _lasting(one)
        if step.p <= limit and step.passes(floor)
    ]
    ordered = sorted(found, key=lambda one: (not one.is_slower, -abs(one.step.log)))
    return History(tuple(ordered), every, _census(every))


def _lasting(one: Examined) -> list[steps.Step]:
    return steps.lasting(steps.Fitted(one.levels, one.changes, one.p or 1.0))


def _examined(series: Series) -> Examined:
    points = series.judged
    least = 2 * steps.LEAST
    if len(points) < least:
        undisturbed = " undisturbed" if series.disturbed else ""
        since = " since it was blessed" if series.blessing else ""
        return Examined(series, why_not=f"fewer than {least}{undisturbed} runs{since}")
    if not (allowed := splits(points)):
        return Examined(series, why_not="all its runs are of one commit")
    logs = [math.log(one.time.seconds) for one in points]
    fitted = steps.fit(logs, allowed)
    return Examined(
        series,
        fitted.levels,
        fitted.steps,
        None if fitted.drifts else fitted.p,
        f"its times drift: {fitted.drifts}" if fitted.drifts else "",
    )


def _finding(series: Series, step: steps.Step) -> Finding:
    before, after = series.judged[step.at - 1], series.judged[step.at]
    return Finding(
        series=series,
        step=step,
        before=before,
        after=after,
        commits=after.place - before.place,
        marks=changed_marks(before.run, after.run),
        counted=_counted(before, after),
    )


def _counted(before: Point, after: Point) -> dict[str, tuple[float, float]]:
    """Return the counted figures that differ, which explain a change of the time."""
    found = {}
    for one in COUNTED:
        old, new = (getattr(each.time.row, one.name) for each in (before, after))
        if old is not None and new is not None and abs(new - old) > one.tolerance * abs(old):
            found[one.name] = (float(old), float(new))
    return found


def _census(every: Sequence[Examined]) -> Census:
    reasons: dict[str, int] = {}
    for one in every:
        if one.why_not:
            reason = one.why_not.split(":")[0]
            reasons[reason] = reasons.get(reason, 0) + 1
    return Census(len(every), len(every) - sum(reasons.values()), reasons)


def told(census: Census) -> str:
    """`12 of 14 series judged; not judged: 2 (fewer than 10 runs)`."""
    reasons = ", ".join(f"{count} ({why})" for why, count in census.not_judged.items())
    rest = f"; not judged: {reasons}" if reasons else ""
    return f"{census.judged} of {census.series} series judged{rest}"
