"""Times of two settings or devices as a ratio, as the comparison reckons it."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from bench.compare import speedup
from bench.compare.groups import PLAIN, Group, Setting, Span
from bench.core.records import Row
from bench.plots.style import BLUE, GREY, VERMILION, Look
from bench.stats.ratios import Estimate

FASTER = Look(BLUE, ">", "-")
SLOWER = Look(VERMILION, "<", "-")
UNCLEAR = Look(GREY, "o", "-")


@dataclass(frozen=True, slots=True)
class Ratio:
    """time(plain) / time(setting) at one mode, device and batch.

    estimate: what the span's 95 % interval is made of.
    rows: the two that were compared.
    """

    mode: str
    device: str
    batch: int
    setting: Setting
    span: Span
    estimate: Estimate
    method: str
    rows: tuple[Row, Row]

    @property
    def look(self) -> Look:
        """By the interval: where it holds 1, or is unknown, nothing is claimed."""
        if self.span.low is None or self.span.high is None:
            return UNCLEAR
        if self.span.low > 1:
            return FASTER
        return SLOWER if self.span.high < 1 else UNCLEAR

    def faster_at(self, level: float) -> bool:
        """Whether its interval of another level lies above 1."""
        interval = self.estimate.interval(level)
        return interval is not None and interval[0] > 1


def faster_than(value: Row, other: Row, medians: speedup.Medians, level: float) -> bool:
    """Whether a row is faster than another, by its interval of that level."""
    found = _estimate(other, value, medians)
    interval = found[0].interval(level) if found else None
    return interval is not None and interval[0] > 1


def ratio(base: Row, value: Row, medians: speedup.Medians) -> tuple[Span, str] | None:
    """time(base) / time(value) and how its interval came about; None where a time is unknown."""
    found = _estimate(base, value, medians)
    return None if found is None else (_span(found[0]), found[1])


def _span(found: Estimate) -> Span:
    low, high = found.interval() or (None, None)
    return Span(found.ratio, low, high)


def _estimate(base: Row, value: Row, medians: speedup.Medians) -> tuple[Estimate, str] | None:
    one, other = dataclasses.asdict(base), dataclasses.asdict(value)
    names = speedup.quantities(one, other)
    if names is None:
        return None
    return speedup.estimate(one, other, names, medians, medians, same_run=True)


def against_plain(group: Group, medians: speedup.Medians) -> Iterator[Ratio]:
    """Every setting against the plain one of the same mode, device and batch."""
    bases = {
        (row.mode, row.device, row.batch): row for row in group.rows if group.setting(row) == PLAIN
    }
    for row in group.rows:
        base = bases.get((row.mode, row.device, row.batch))
        if base is None or base is row or group.setting(row) == PLAIN:
            continue
        found = _estimate(base, row, medians)
        if found is not None:
            yield Ratio(
                mode=str(row.mode),
                device=str(row.device),
                batch=int(row.batch or 0),
                setting=group.setting(row),
                span=_span(found[0]),
                estimate=found[0],
                method=found[1],
                rows=(base, row),
            )
