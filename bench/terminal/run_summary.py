"""Print the end of `bench run`: the speedup of the settings, a table, the files."""

import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from bench.compare.speedup import SHARED, is_of_shared
from bench.compare.speedup_grid import Cell as GridCell
from bench.compare.speedup_grid import Grid, GridWord, speedup_table
from bench.core import units
from bench.core.axes import AXES
from bench.core.records import FLAGS, Entry, Failure, Measurement, Row, StaticMetrics, whole_phase
from bench.core.row_names import accelerators, case_names, half_width
from bench.core.text import command, number_of
from bench.insights import collect
from bench.insights.costs import call_s
from bench.insights.insight import Insight
from bench.results import corrected, time_spent
from bench.results.results import Results
from bench.stats import between_runs
from bench.stats.intervals import LEAST_REPLICATES
from bench.verdict import tables
from bench.verdict.tables import style_of
from bench.verdict.text_table import WIDTH, Cell, Column, TextTable, wrapped

MOST_ROWS = 60
TOLD = ("doubt", "launch", "device", "best")
PROCESS = "process"
MOST_PROCESSES = 2
MOST_SENTENCES = 6
MOST_REASONS = 3
MOST_PLOTS = 8  # that are named
FLAG_LETTERS = dict(zip(FLAGS, "cudgnfpltiv2", strict=True))
SPEEDUP_AXES = tuple(axis.name for axis in AXES if axis.compared)


def show(
    run: Results,
    entries: Sequence[Entry],
    plots: Sequence[Path],
    console: Console,
) -> None:
    """Print the result in at most 100 columns."""
    width = min(WIDTH, console.width)
    console.print()
    for one in _told(run):
        _say(console, [*wrapped(one.text, width, "- "), *filter(None, [one.command])])
    console.print()
    grids = speedup_table(run)
    for grid in grids:
        console.print(speedups(grid, _implausible(run.rows)))
    if grids:
        _say(console, wrapped(_colours(grids, run.rows), width))
        console.print()
    console.print(cases(run.rows))
    for line in (
        *_accelerators(run.rows),
        *_legend(run.rows),
        *_wide(run.rows, grids),
        *_between(run.rows),
        "",
        *_odd(run.rows, entries),
        *_unverified(run.rows, entries),
        *_left_out(entries),
        *_losses(entries),
        *_largest(run),
        *_process_starts(run.rows),
        *_outcomes(entries),
        *filter(None, [time_spent.line(run.description)]),
    ):
        _say(console, wrapped(line, width) or [""])
    _say(console, _files(run.path, run.rows, plots))


def _told(run: Results) -> list[Insight]:
    """Return the findings to print: the first few, then the one that has a command to copy."""
    found = collect.of_run(run)
    process = sorted((one for one in found if one.kind == PROCESS), key=lambda one: not one.command)
    return [one for one in found if one.kind in TOLD][:MOST_SENTENCES] + process[:MOST_PROCESSES]


def _say(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        tables.say(console, line)


def speedups(grid: Grid, implausible: Collection[str] = ()) -> TextTable:
    """Return the settings × batch sizes of one mode, each cell coloured by its verdict.

    implausible: case ids whose speedups are not to be believed, and have no colour.
    """
    device = "" if grid.device == "cpu" else f" on {grid.device}"
    table = TextTable(
        f"{grid.name} {grid.mode}{device}: speedup over plain (95 % interval)",
        (
            Column("setting", wraps=True),
            *(Column(f"N={batch}", right=True) for batch in grid.batches),
        ),
    )
    for line in grid.lines:
        cells = (_speedup(cell, implausible) for cell in line.cells)
        table.add(line.setting, *cells)
    return table


def _implausible(rows: Iterable[Row]) -> set[str]:
    return {str(row.case_id) for row in rows if "implausible" in row.flag_names}


def _is_of(cell: GridCell, case_ids: Collection[str]) -> bool:
    return cell.base_case_id in case_ids or cell.value_case_id in case_ids


def _speedup(cell: GridCell | None, implausible: Collection[str]) -> Cell:
    if cell is None:
        return Cell("–", "dim")
    if _is_of(cell, implausible):
        return Cell(f"{units.speedup(cell.ratio)} implausible", "dim")
    return Cell(cell.text, style_of(cell.verdict))


def _colours(grids: Sequence[Grid], rows: Sequence[Row]) -> str:
    """Say what a speedup is of, how many are faster and slower, and for what that holds."""
    implausible = _implausible(rows)
    words = Counter(
        "implausible" if _is_of(cell, implausible) else cell.verdict
        for grid in grids
        for line in grid.lines
        for cell in line.cells
        if cell
    )
    colours = {"faster": " (green)", "slower": " (red)"}
    parts = [
        f"{words[word]} {word}{colours.get(word, '')}"
        for word in (*get_args(GridWord), "implausible")
    ]
    shown = [part for part in parts if not part.startswith("0 ")]
    count = words.total()
    together = f" (tested together, all {count})" if count > 1 else ""
    shared = f". {SHARED[0].upper()}{SHARED[1:]}" if _any_of_shared(grids, rows) else ""
    return (
        "time of plain / time of the setting, of calls back to back (images/s) where these were "
        f"measured, else of single calls: {', '.join(shown)}{together}{shared}"
    )


def _any_of_shared(grids: Sequence[Grid], rows: Sequence[Row]) -> bool:
    times = {
        str(row.case_id): call_s(row) for row in rows if row.phase == whole_phase(str(row.mode))
    }
    return any(
        is_of_shared(cell.ratio, times.get(cell.base_case_id), times.get(cell.value_case_id))
        for grid in grids
        for line in grid.lines
        for cell in line.cells
        if cell
    )


def cases(rows: Sequence[Row]) -> TextTable:
    """Return a table of the whole calls; the phases are in the CSV."""
    whole = [row for row in rows if row.phase in (None, whole_phase(row.mode or ""))]
    names = case_names(whole)
    table = TextTable(
        "One call: latency with half its 95 % interval; throughput; memory",
        (
            Column("case", wraps=True),
            Column("latency", right=True),
            Column("±", right=True),
            Column("images/s", right=True),
            Column("peak", right=True),
            Column("doubts"),
        ),
        above=names.above,
    )
    for row in whole[:MOST_ROWS]:
        table.add(names.of(row), *_cells(row))
    if len(whole) > MOST_ROWS:
        table.caption = f"{number_of(len(whole) - MOST_ROWS, 'more case')} in measurements.csv"
    return table


def _cells(row: Row) -> list[str]:
    letters = "".join(FLAG_LETTERS[flag] for flag in row.flag_names)
    if row.status != "ok":
        return ["", "", "", "", str(row.status)]
    return [
        units.seconds(row.latency_median_s),
        uncertainty(row),
        units.count(row.images_per_s),
        units.bytes_(row.peak_bytes),
        letters,
    ]


def uncertainty(row: Row) -> str:
    """`3.1 %`, half of the interval, or `too wide`; `2 replicates` where these are too few."""
    width = half_width(row)
    if width is None or (row.replicates or 0) < LEAST_REPLICATES:
        return units.number_of_replicates(row.replicates) if row.replicates else ""
    return units.half_width(width)


def _accelerators(rows: Iterable[Row]) -> list[str]:
    """Return a line that says which accelerator each number stands for."""
    names = accelerators(rows)
    return ["; ".join(f"{device}: {name}" for device, name in names.items())] if names else []


def _legend(rows: Iterable[Row]) -> list[str]:
    """Explain the letters that occur in the last column."""
    used = {flag for row in rows for flag in row.flag_names}
    return [f"{FLAG_LETTERS[flag]}  {flag}: {FLAGS[flag]}" for flag in FLAGS if flag in used]


def _wide(rows: Iterable[Row], grids: Iterable[Grid]) -> list[str]:
    """Explain intervals that say nothing, if there are any."""
    ratios = (cell.text for grid in grids for line in grid.lines for cell in line.cells if cell)
    told = any(units.TOO_WIDE in text for text in (*ratios, *map(uncertainty, rows)))
    return [units.WHY_TOO_WIDE] if told else []


def _between(rows: Sequence[Row]) -> list[str]:
    """Say which between-run SD the intervals include, and where it comes from."""
    told = between_runs.describe_rows(rows)
    if not told:
        return []
    lines = [f"intervals of times include what runs of one code differ by: {told}"]
    return lines + list(filter(None, [corrected.told(rows)]))


def _odd(rows: Iterable[Row], entries: Iterable[Entry]) -> list[str]:
    """Return a line for each reason why cases failed or are doubted, with the first case."""
    # Equal reasons are joined without the file that each failure names.
    reasons = {one.told: one.reason for one in entries if isinstance(one, Failure)}
    same: dict[tuple[str | None, str], list[Row]] = {}
    for row in rows:
        if row.status != "ok" or (row.reason and row.phase == whole_phase(str(row.mode))):
            reason = reasons.get(row.reason or "", row.reason or "")
            reason = re.sub("[0-9]+", "0", reason) if row.status == "ok" else reason
            same.setdefault((row.status, reason), []).append(row)
    names = case_names(row for own in same.values() for row in own)
    lines = []
    for (status, _), (first, *others) in same.items():
        more = f" and {len(others)} more" if others else ""
        head = "" if status == "ok" else f"{status}: "
        lines.append(f"{head}{names.of(first)}{more}: {first.reason}")
    return lines


def _unverified(rows: Iterable[Row], entries: Iterable[Entry]) -> list[str]:
    """Return the reasons why results were not compared with float64, the most frequent first."""
    ok = {row.case_id for row in rows if row.status == "ok"}
    reasons = Counter(
        reason
        for one in entries
        if isinstance(one, StaticMetrics) and one.case.case_id in ok
        for name in ("relative_error", "all")
        if (reason := one.problems.get(name))
    )
    return [
        f"unverified: {number_of(count, 'case')}: {reason}"
        for reason, count in reasons.most_common(MOST_REASONS)
    ]


def _left_out(entries: Iterable[Entry]) -> list[str]:
    """Return notes on parameters that are not counted (lazy or packed), by subject."""
    why = dict.fromkeys(
        (one.case.subject, one.problems["parameters"])
        for one in entries
        if isinstance(one, StaticMetrics) and "parameters" in one.problems
    )
    return [f"{subject}: {reason}" for subject, reason in why][:MOST_REASONS]


def _losses(entries: Iterable[Entry]) -> list[str]:
    """Return notes on networks whose own loss could not be used."""
    said = {
        one.problems["loss"]
        for one in entries
        if isinstance(one, StaticMetrics) and "loss" in one.problems
    }
    return [f"loss: {one}" for one in sorted(said)]


def _largest(run: Results) -> list[str]:
    """Return the largest batches that `--batch max` found, and what did not fit."""
    whole = [row for row in run.rows if row.phase in (None, whole_phase(row.mode or ""))]
    names, lines = case_names(whole), []
    for row in (row for row in whole if row.largest_batch is not None):
        refused = run.description.largest_batches[str(row.case_id)].refused
        beyond = f"; {refused} does not" if refused else ""
        lines.append(f"{names.of(row)}: {row.largest_batch} is the largest batch that fits{beyond}")
    return lines


def _process_starts(rows: Iterable[Row]) -> list[str]:
    """Return, for each accelerator, what a new process costs before its first call."""
    by_device: dict[str, list[float]] = {}
    for row in rows:
        if row.process_start_s is not None:
            by_device.setdefault(str(row.device), []).append(row.process_start_s)
    return [
        f"a new process takes {units.seconds(statistics.median(own))} to open {device}, imports "
        "aside, before its first call (first_call_s)"
        for device, own in by_device.items()
    ]


def _outcomes(entries: Iterable[Entry]) -> list[str]:
    """Return lines on how many outcomes there are, and on those that were disturbed."""
    outcomes = [one for one in entries if not isinstance(one, StaticMetrics)]
    measured = [one for one in outcomes if isinstance(one, Measurement)]
    failed = sum(isinstance(one, Failure) for one in outcomes)
    return [
        f"{number_of(len(measured), 'outcome')} measured, {failed} failed",
        *_disturbed(measured),
    ]


def _disturbed(measured: Sequence[Measurement]) -> list[str]:
    """Return a line on the outcomes that other work on the machine disturbed."""
    contended = sum("contended" in one.flags for one in measured)
    repeats = sum(int(one.state.get("repeats", 0)) for one in measured)
    if not contended and not repeats:
        return []
    were = "was" if repeats == 1 else "were"
    again = f" after {repeats} {were} measured again" if repeats else ""
    of = number_of(len(measured), "outcome")
    return [f"other work on the machine disturbed {contended} of {of}{again}"]


def _files(path: Path, rows: Sequence[Row], plots: Sequence[Path]) -> list[str]:
    where: list[Any] = [f"{path}/measurements.csv, samples.csv, journal.jsonl"]
    if plots:
        names = sorted(one.name for one in plots if one.suffix == ".png")
        more = f" and {len(names) - MOST_PLOTS} more" if len(names) > MOST_PLOTS else ""
        where.append(f"{path}/plots/: {', '.join(names[:MOST_PLOTS])}{more}")
    words = ("bench", "compare", path, "--by")
    compare = [f"compare: {command(*words, axis)}" for axis in _varied(rows)]
    return ["", *where, *compare[:1]]


def _varied(rows: Sequence[Row]) -> list[str]:
    """Return the axes with several values in the run, the most useful first."""
    order = [*SPEEDUP_AXES, "batch", "mode"]
    ok = [row for row in rows if row.status == "ok"]
    return [name for name in order if len({getattr(row, name) for row in ok} - {None}) > 1]
