"""The speedups of a run as small tables: settings × batch sizes, one for each mode and device.

Pure data, for the terminal and for the page.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.groups import PLAIN, Group, Setting, groups
from bench.compare.setting_speedup import SettingSpeedup, against_first_device, against_plain
from bench.compare.speedup import judged
from bench.core import units
from bench.core.row_names import setting_name
from bench.results.corrected import uncorrected
from bench.results.results import Medians, Results
from bench.stats import ratios
from bench.stats.intervals import LEVEL

GridWord = Literal["faster", "slower", "no difference shown", "no interval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One speedup: the time of the plain setting divided by the time of this one.

    low, high: its 95 % interval; None if there are too few replicates.
    verdict:   corrected for the number of cells of the run (Holm, 5 %).
    """

    ratio: float
    low: float | None
    high: float | None
    replicates: int
    verdict: GridWord
    base_case_id: str
    value_case_id: str

    @property
    def text(self) -> str:
        """`1.40× (1.24–1.58)`, or `1.40× (2 replicates)`."""
        return units.speedup_with_interval(self.ratio, self.low, self.high, self.replicates)


@dataclass(frozen=True, slots=True)
class Line:
    """One setting; a cell for each batch size of the grid, None if it was not measured."""

    setting: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The settings of one subject in one mode on one device.

    name: the subject; with its input if the run measured several.
    """

    name: str
    mode: str
    device: str
    batches: tuple[int, ...]
    lines: tuple[Line, ...]


def speedup_table(run: Results) -> tuple[Grid, ...]:
    """Return the speedups of whole subjects; empty if the run has one setting only."""
    run = uncorrected(run)
    found = [(group, ratio) for group in groups(run.rows) for ratio in _ratios(group, run.medians)]
    verdicts = _verdicts([ratio for _, ratio in found])
    gathered: dict[tuple[str, str, str], list[tuple[SettingSpeedup, GridWord]]] = {}
    for (group, ratio), verdict in zip(found, verdicts, strict=True):
        key = group.name, ratio.mode, ratio.device
        gathered.setdefault(key, []).append((ratio, verdict))
    order = {mode: place for place, mode in enumerate(("inference", "training"))}
    keys = sorted(gathered, key=lambda key: order.get(key[1], len(order)))
    return tuple(_grid(key, gathered[key]) for key in keys)


def _ratios(group: Group, medians: Medians) -> Iterator[SettingSpeedup]:
    yield from against_first_device(group, medians)
    yield from against_plain(group, medians)


def _verdicts(found: Sequence[SettingSpeedup]) -> list[GridWord]:
    ps = ratios.holm([judged(one.estimate, 1)[2] for one in found])
    return [_verdict(one.span.value, p) for one, p in zip(found, ps, strict=True)]


def _verdict(ratio: float, p: float | None) -> GridWord:
    if p is None:
        return "no interval"
    if p >= 1 - LEVEL:
        return "no difference shown"
    return "faster" if ratio > 1 else "slower"


def _grid(key: tuple[str, str, str], found: Sequence[tuple[SettingSpeedup, GridWord]]) -> Grid:
    name, mode, device = key
    batches = tuple(sorted({ratio.batch for ratio, _ in found}))
    by_setting: dict[Setting, dict[int, Cell]] = {}
    for ratio, verdict in found:
        by_setting.setdefault(ratio.setting, {})[ratio.batch] = _cell(ratio, verdict)
    return Grid(
        name=name,
        mode=mode,
        device=device,
        batches=batches,
        lines=tuple(_line(setting, by_setting[setting], batches) for setting in _order(by_setting)),
    )


def _order(settings: Mapping[Setting, object]) -> list[Setting]:
    """Return the settings in the order of the run, those with one change before combinations."""
    return sorted(settings, key=len)


def _line(setting: Setting, cells: Mapping[int, Cell], batches: Sequence[int]) -> Line:
    assert setting != PLAIN
    name = " ".join(setting_name(axis, value) for axis, value in setting)
    return Line(name, tuple(cells.get(batch) for batch in batches))


def _cell(ratio: SettingSpeedup, verdict: GridWord) -> Cell:
    base, value = ratio.rows
    return Cell(
        ratio=ratio.span.value,
        low=ratio.span.low,
        high=ratio.span.high,
        replicates=ratio.estimate.n,
        verdict=verdict,
        base_case_id=str(base.case_id),
        value_case_id=str(value.case_id),
    )
