"""The speedup of one row over another, and of each setting over the plain one."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.compare import speedup
from bench.compare.groups import PLAIN, Direction, Group, Setting, Span
from bench.core.records import Row
from bench.results.results import Medians
from bench.stats.ratios import Estimate


@dataclass(frozen=True, slots=True)
class SettingSpeedup:
    """time(plain) / time(setting) at one mode, device and batch.

    estimate: the source of the span; it gives intervals of other levels as well.
    rows:     the row of the plain setting, then that of this setting.
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
    def direction(self) -> Direction:
        return self.span.direction

    def faster_at(self, level: float) -> bool:
        """Return whether the interval of this level lies above 1."""
        interval = self.estimate.interval(level)
        return interval is not None and interval[0] > 1


def faster_than(value: Row, other: Row, medians: Medians, level: float) -> bool:
    """Return whether the interval of this level for time(other) / time(value) lies above 1."""
    found = _estimate(other, value, medians)
    interval = found[0].interval(level) if found else None
    return interval is not None and interval[0] > 1


def ratio(base: Row, value: Row, medians: Medians) -> tuple[Span, str] | None:
    """Return time(base) / time(value) and the method of its interval; None if a time is unknown."""
    found = _estimate(base, value, medians)
    return None if found is None else (_span(found[0]), found[1])


def _span(found: Estimate) -> Span:
    low, high, _ = speedup.judged(found, 1)
    return Span(found.ratio, low, high)


def _estimate(base: Row, value: Row, medians: Medians) -> tuple[Estimate, str] | None:
    names = speedup.quantities(base, value)
    if names is None:
        return None
    return speedup.estimate(base, value, names, medians, medians, same_run=True)


def against_plain(group: Group, medians: Medians) -> Iterator[SettingSpeedup]:
    """Yield the speedup of every setting over plain at the same mode, device and batch."""
    bases = {
        (row.mode, row.device, row.batch): row for row in group.rows if group.setting(row) == PLAIN
    }
    for row in group.rows:
        base = bases.get((row.mode, row.device, row.batch))
        if base is None or base is row or group.setting(row) == PLAIN:
            continue
        if (made := _ratio(base, row, group.setting(row), str(row.device), medians)) is not None:
            yield made


def against_first_device(group: Group, medians: Medians) -> Iterator[SettingSpeedup]:
    """Yield the speedup of the plain setting on each device over that on the first, the CPU."""
    first = group.devices[0] if group.devices else ""
    plain = [row for row in group.rows if group.setting(row) == PLAIN]
    bases = {(row.mode, row.batch): row for row in plain if row.device == first}
    for row in plain:
        base = bases.get((row.mode, row.batch))
        if base is None or row.device == first:
            continue
        setting = (("device", str(row.device)),)
        if (made := _ratio(base, row, setting, first, medians)) is not None:
            yield made


def _ratio(
    base: Row, row: Row, setting: Setting, device: str, medians: Medians
) -> SettingSpeedup | None:
    found = _estimate(base, row, medians)
    if found is None:
        return None
    return SettingSpeedup(
        mode=str(row.mode),
        device=device,
        batch=int(row.batch or 0),
        setting=setting,
        span=_span(found[0]),
        estimate=found[0],
        method=found[1],
        rows=(base, row),
    )
