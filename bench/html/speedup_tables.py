"""Tables of speedups for the page: settings by batch sizes, a table for each mode and device."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.compare import speedup, speedup_grid
from bench.compare.groups import PLAIN, Group, Setting, groups, label
from bench.core import units
from bench.core.axes import AS_PLAIN_PROCESS
from bench.core.records import Row, whole_phase
from bench.core.text import are, number_of, printable, shortened
from bench.insights.costs import call_s
from bench.results.corrected import uncorrected
from bench.results.csv_files import MEASUREMENTS
from bench.results.results import Results

MOST_CHARS = 60  # characters of a name
MOST_CELLS = 600  # cells of all tables together
MOST_TABLE_CELLS = MOST_CELLS // 2  # so that inference and training both have a table
MOST_COLUMNS = 16
_MARKS = {"faster": "▲", "slower": "▼", "unclear": "≈", "none": "?"}
_CSS: Mapping[speedup_grid.GridWord, str] = {
    "faster": "faster",
    "slower": "slower",
    "no difference shown": "unclear",
    "no interval": "none",
}
_WORDS = {
    "faster": "faster",
    "slower": "slower",
    "unclear": "no difference shown",
    "none": "too few replicates",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell.  css: faster, slower, unclear or none; empty if nothing was compared."""

    shown: str
    interval: str = ""
    css: str = ""
    title: str = ""

    @property
    def mark(self) -> str:
        return _MARKS.get(self.css, "")

    @property
    def word(self) -> str:
        """The verdict as a text, for screen readers."""
        return _WORDS.get(self.css, "")


@dataclass(frozen=True, slots=True)
class Line:
    """A setting and its cells by batch size."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of speedups.

    columns:  the batch sizes as they are shown.
    left_out: how many more there are.
    is_cut:   whether there are more settings, which are slower than those shown.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Line, ...]
    left_out: int = 0
    is_cut: bool = False


NOT_MEASURED = Cell("–")
Compared = Mapping[str, Cell]  # by case_id


def of_runs(runs: Sequence[Results], where: str = MEASUREMENTS) -> tuple[list[Table], str]:
    """Return the tables and a note about them.  where: the file that has all figures.

    One run: each setting is compared with the plain one.  Several runs: the last is compared with
    the first.
    """
    if len(runs) == 1:
        run = uncorrected(runs[0])
        note = (
            "Speedup over plain, whose time is in the first row, with its 95 % interval. Times are "
            "of calls back to back where these were measured, else of single calls; the latency "
            "in the table of all rows is always of single calls. The colours are corrected for "
            "the number of cells."
        )
        tables, left_out = _limited(groups(run.rows), _against_plain(run), where)
        notes = (note, _of_shared(run), _of_wide(tables), _of_allocator(run), left_out)
        return tables, " ".join(filter(None, notes))
    first, last = runs[0], runs[-1]
    if len(runs) > 2:
        first, *_, last = sorted(runs, key=lambda run: run.description.started or "")
    cells = _against_run(first, last)
    note = (
        f"Speedup over the {'first' if len(runs) == 2 else 'oldest'} run, with its 95 % interval. "
        "The colours are corrected for the number of comparisons."
    )
    tables, left_out = _limited(groups(last.rows), cells, where)
    return tables, " ".join(filter(None, (note, _of_wide(tables), left_out)))


def _of_shared(run: Results) -> str:
    """Return a note if a speedup, which is of shared replicates, is not the ratio of its times."""
    times = {str(row.case_id): call_s(row) for row in run.rows if _is_whole(row)}
    cells = (
        one
        for grid in speedup_grid.speedup_table(run)
        for line in grid.lines
        for one in line.cells
        if one is not None
    )
    differs = any(
        speedup.is_of_shared(one.ratio, times.get(one.base_case_id), times.get(one.value_case_id))
        for one in cells
    )
    return f"{speedup.SHARED[0].upper()}{speedup.SHARED[1:]}." if differs else ""


def _of_wide(tables: Iterable[Table]) -> str:
    """Return a note if an interval says nothing."""
    told = any(
        cell.interval == units.TOO_WIDE
        for table in tables
        for line in table.rows
        for cell in line.cells
    )
    return f"{units.WHY_TOO_WIDE[0].upper()}{units.WHY_TOO_WIDE[1:]}." if told else ""


def _is_whole(row: Row) -> bool:
    return row.phase == whole_phase(str(row.mode))


def _of_allocator(run: Results) -> str:
    if not any(row.allocator == "retained" for row in run.rows):
        return ""
    if any(row.allocator == "system" for row in run.rows):
        told = f"the row “{AS_PLAIN_PROCESS}” has none of them."
    else:
        told = "allocator=system measures without them."
    return (
        "Plain and all other settings have the environment variables of allocator=retained, so "
        f"these are not part of a speedup; {told}"
    )


def _against_plain(run: Results) -> Mapping[str, Cell]:
    """Return the cells by case; they are those that the terminal shows."""
    rows = {str(row.case_id): row for row in run.rows if row.status == "ok"}
    bases = {str(row.case_id) for group in groups(run.rows) for row in _plain_rows(group)}
    return {
        one.value_case_id: _compared(one, rows[one.base_case_id], rows[one.value_case_id])
        for grid in speedup_grid.speedup_table(run)
        for line in grid.lines
        for one in line.cells
        if one is not None and one.value_case_id not in bases
    }


def _plain_rows(group: Group) -> Iterator[Row]:
    """Yield the rows of the plain setting; their line shows times and not speedups."""
    return (row for row in group.rows if group.setting(row) == PLAIN)


def _compared(one: speedup_grid.Cell, base: Row, value: Row) -> Cell:
    if "implausible" in {*base.flag_names, *value.flag_names}:
        return Cell(units.speedup(one.ratio), "implausible", "", _title(value))
    return _cell(one.ratio, one.low, one.high, _CSS[one.verdict], value)


def _against_run(a: Results, b: Results) -> Mapping[str, Cell]:
    rows = {(str(row.case_id), row.phase): row for row in b.rows}
    speedups = speedup.between(a, b)
    found = {}
    for one, word in zip(speedups, speedup.verdicts(speedups), strict=True):
        row = rows.get((one.value_case_id, one.phase))
        if one.of_whole and row is not None:
            css = "none" if one.low is None else word if word in _MARKS else "unclear"
            found[one.value_case_id] = _cell(one.ratio, one.low, one.high, css, row)
    return found


def _cell(ratio: float, low: float | None, high: float | None, css: str, row: Row) -> Cell:
    interval = ""
    if low is not None and high is not None:
        wide = units.is_too_wide(ratio, low, high)
        interval = units.TOO_WIDE if wide else f"{_number(low)}–{_number(high)}"
    return Cell(units.speedup(ratio), interval, css, _title(row))


def _number(ratio: float) -> str:
    return units.speedup(ratio).removesuffix("×")


def _title(row: Row) -> str:
    return ", ".join((units.seconds(call_s(row)), *row.flag_names))


def _limited(found: Sequence[Group], compared: Compared, where: str) -> tuple[list[Table], str]:
    """Return the tables of the groups, as many as MOST_CELLS allow, and a note of the rest."""
    every = [table for group in found for table in _tables(group, compared, several=len(found) > 1)]
    cells = itertools.accumulate(len(table.columns) * len(table.rows) for table in every)
    shown = [table for table, count in zip(every, cells, strict=True) if count <= MOST_CELLS]
    left = len(every) - len(shown)
    narrowed = any(table.left_out for table in shown)
    notes = [f"{number_of(left, 'more table')} {are(left)} left out."] if left else []
    notes += [f"A table has at most {MOST_COLUMNS} batch sizes."] if narrowed else []
    if any(table.is_cut for table in shown):
        notes.append(
            f"A table has at most {MOST_TABLE_CELLS} cells, those of plain and of the fastest "
            "settings."
        )
    notes += [f"All figures are in {where}."] if notes else []
    return shown, " ".join(notes)


def _tables(group: Group, compared: Compared, *, several: bool) -> Iterator[Table]:
    rows = [*group.rows, *group.failed]
    devices = sorted({str(row.device or "") for row in rows}, key=lambda one: (one != "cpu", one))
    modes = sorted({str(row.mode or "") for row in rows})
    for device in devices:
        for mode in modes:
            own = [
                row
                for row in rows
                if (str(row.device or ""), str(row.mode or "")) == (device, mode)
            ]
            if own:
                words = [_short(group.name), mode, f"on {device}" if len(devices) > 1 else ""]
                caption = " ".join(filter(None, words if several or mode else words[:1]))
                yield _table(printable(caption), group, own, compared)


def _table(caption: str, group: Group, rows: Sequence[Row], compared: Compared) -> Table:
    batches = sorted({row.batch for row in rows}, key=lambda one: -1 if one is None else one)
    left_out = max(0, len(batches) - MOST_COLUMNS)
    batches = batches[:MOST_COLUMNS]
    by_place = {(group.setting(row), row.batch): row for row in rows}
    lines = [
        (
            setting,
            [_shown(by_place.get((setting, batch)), setting, compared) for batch in batches],
        )
        for setting in dict.fromkeys(setting for setting, _ in by_place)
    ]
    lines.sort(key=lambda one: (one[0] != PLAIN, -_best(one[1])))
    kept = lines[: MOST_TABLE_CELLS // len(batches)]
    return Table(
        caption=caption,
        columns=tuple("N unknown" if one is None else f"N={one}" for one in batches),
        rows=tuple(Line(label(setting), tuple(cells)) for setting, cells in kept),
        left_out=left_out,
        is_cut=len(kept) < len(lines),
    )


def _best(cells: Sequence[Cell]) -> float:
    """Return the largest speedup of a line, by which lines are sorted; 0 if it has none."""
    known = [one.shown.removesuffix("×") for one in cells if one.css]
    return max((float(one) for one in known), default=0.0)


def _shown(row: Row | None, setting: Setting, compared: Compared) -> Cell:
    if row is None:
        return NOT_MEASURED
    if row.status != "ok":
        return Cell(_short(str(row.status)), title=_short(row.reason or ""))
    found = compared.get(str(row.case_id))
    if found is not None:
        return found
    title = "" if setting == PLAIN else "not compared"
    return Cell(units.seconds(call_s(row)), title=title)


def _short(text: str) -> str:
    return shortened(printable(text), MOST_CHARS)
