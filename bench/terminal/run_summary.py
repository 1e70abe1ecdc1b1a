"""Print the end of `bench run`: the speedup of the settings, a table, the files."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

from bench.compare.groups import split
from bench.compare.match import MatchError
from bench.compare.speedup import Speedup, told_of, verdicts, within
from bench.core import units
from bench.core.records import FLAGS, Entry, Facts, Failure, Measurement, Row, whole_phase
from bench.core.row_names import half_width, named, of_several_inputs, settings
from bench.core.text import command
from bench.insights import collect
from bench.results import corrected
from bench.results.results import Results
from bench.stats import between_runs
from bench.verdict.tables import safe

WIDTH = 100
MOST_ROWS = 60
TOLD = ("doubt", "device", "best")
MOST_SENTENCES = 6
MOST_REASONS = 3
MOST_PLOTS = 8  # that are named
FLAG_LETTERS = dict(zip(FLAGS, "cugnfptiv2", strict=True))
SPEEDUP_AXES = ("device", "memory_format", "amp", "compile", "cudnn_benchmark", "tf32", "allocator")


def show(
    run: Results,
    entries: Sequence[Entry],
    plots: Sequence[Path],
    console: Console,
    elapsed_s: float,
) -> None:
    """Print the result in at most 100 columns.

    elapsed_s: time that this process spent on measuring.
    """
    width = min(WIDTH, console.width)
    console.print()
    told = [one for one in collect.of_run(run) if one.kind in TOLD]
    if told:
        sentences = Table.grid(padding=(0, 1))
        for one in told[:MOST_SENTENCES]:
            sentences.add_row("-", safe(one.text))
        console.print(sentences, width=width)
        console.print()
    if speedups := _speedups(run):
        console.print(_speedup_table(speedups, run.rows), width=width)
    console.print(_table(run.rows), width=width)
    for line in (
        *_legend(run.rows),
        *_between(run.rows),
        "",
        *_odd(run.rows, entries),
        *_unverified(run.rows, entries),
        *_left_out(entries),
        *_losses(entries),
        *_spent(entries, elapsed_s),
        *_files(run.path, run.rows, plots),
    ):
        console.print(safe(line), soft_wrap=True)


def _speedups(run: Results) -> list[Speedup]:
    """Return the speedup of each setting for whole subjects."""
    found: list[Speedup] = []
    for axis in SPEEDUP_AXES:
        try:
            found.extend(within(run, axis))
        except MatchError:
            continue  # the run has one value of it
    return [one for one in found if one.of_whole and split(one.subject)[1] is None]


def _speedup_table(speedups: Sequence[Speedup], rows: Sequence[Row]) -> Table:
    table = _plain_table("Speedup of each setting: time without it / time with it")
    table.add_column("setting", overflow="fold", min_width=27)
    table.add_column("of", overflow="fold")
    table.add_column("speedup", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=len("no difference found"))
    by_id = {row.case_id: row for row in rows}
    several = of_several_inputs(rows)
    words = verdicts(speedups)
    for one, verdict in zip(speedups, words, strict=True):
        base = by_id[one.base_case_id]
        where = settings(base, apart=one.axis).replace("plain", "")
        ends = [units.speedup(end).removesuffix("×") for end in (one.low, one.high)]
        interval = "" if one.low is None else " – ".join(ends)
        table.add_row(
            safe(f"{one.axis}={one.value}"),
            safe(f"{named(base, several)} {base.mode} N={base.batch} {where}"),
            units.speedup(one.ratio),
            interval,
            verdict,
        )
    if told := told_of(words):
        table.caption = safe(told)
    return table


def _table(rows: Sequence[Row]) -> Table:
    """Return a table of the whole calls; the phases are in the CSV."""
    table = _plain_table("One call over all replicates, its 95 % interval; throughput; memory")
    whole = [row for row in rows if row.phase in (None, whole_phase(row.mode or ""))]
    several = of_several_inputs(whole)
    longest = max((len(named(row, several)) for row in whole), default=0)
    table.add_column("subject", overflow="fold", min_width=min(longest, 24))
    table.add_column("mode", no_wrap=True)
    table.add_column("N", justify="right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    table.add_column("latency", justify="right", no_wrap=True)
    table.add_column("±", justify="right", no_wrap=True)
    table.add_column("images/s", justify="right", no_wrap=True)
    table.add_column("peak", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in whole[:MOST_ROWS]:
        table.add_row(safe(named(row, several)), *_cells(row))
    if len(whole) > MOST_ROWS:
        table.caption = f"{len(whole) - MOST_ROWS} more cases in measurements.csv"
    return table


def _plain_table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _cells(row: Row) -> list[RenderableType]:
    letters = "".join(FLAG_LETTERS[flag] for flag in row.flag_names)
    doubt = letters if row.status == "ok" else str(row.status)
    return [
        "infer" if row.mode == "inference" else "train",
        str(row.batch),
        safe(settings(row)),
        units.seconds(row.latency_median_s),
        units.percent(half_width(row)),
        units.count(row.images_per_s),
        units.bytes_(row.peak_bytes),
        doubt,
    ]


def _legend(rows: Iterable[Row]) -> list[str]:
    """Explain the letters that occur in the last column."""
    used = {flag for row in rows for flag in row.flag_names}
    return [f"{FLAG_LETTERS[flag]}  {flag}: {FLAGS[flag]}" for flag in FLAGS if flag in used]


def _between(rows: Sequence[Row]) -> list[str]:
    """Say which between-run SD the intervals include, and where it comes from."""
    told = between_runs.describe_rows(rows)
    if not told:
        return []
    lines = [f"intervals of times include what runs of one code differ by: {told}"]
    return lines + list(filter(None, [corrected.told(rows)]))


def _odd(rows: Iterable[Row], entries: Iterable[Entry]) -> list[str]:
    """Why cases are not ok, or doubted: a line for each reason, with the first case named."""
    # Without the file that each failure names: it is another one every time.
    reasons = {one.told: one.reason for one in entries if isinstance(one, Failure)}
    same: dict[tuple[str | None, str], list[Row]] = {}
    for row in rows:
        if row.status != "ok" or (row.reason and row.phase == whole_phase(str(row.mode))):
            reason = reasons.get(row.reason or "", row.reason or "")
            reason = re.sub("[0-9]+", "0", reason) if row.status == "ok" else reason
            same.setdefault((row.status, reason), []).append(row)
    lines = []
    for (status, _), (first, *others) in same.items():
        more = f" and {len(others)} more" if others else ""
        head = "" if status == "ok" else f"{status}: "
        lines.append(f"{head}{first.case_id}{more}: {first.reason}")
    return lines


def _unverified(rows: Iterable[Row], entries: Iterable[Entry]) -> list[str]:
    """Return the reasons why results were not compared with float64, the most frequent first."""
    ok = {row.case_id for row in rows if row.status == "ok"}
    reasons = Counter(
        reason
        for one in entries
        if isinstance(one, Facts) and one.case.case_id in ok
        for name in ("relative_error", "all")
        if (reason := one.problems.get(name))
    )
    return [
        f"unverified: {count} case{'s' if count > 1 else ''}: {reason}"
        for reason, count in reasons.most_common(MOST_REASONS)
    ]


def _left_out(entries: Iterable[Entry]) -> list[str]:
    """Return notes on parameters that are not counted (lazy or packed), by subject."""
    why = dict.fromkeys(
        (one.case.subject, one.problems["parameters"])
        for one in entries
        if isinstance(one, Facts) and "parameters" in one.problems
    )
    return [f"{subject}: {reason}" for subject, reason in why][:MOST_REASONS]


def _losses(entries: Iterable[Entry]) -> list[str]:
    """Return notes on networks whose own loss could not be used."""
    said = {
        one.problems["loss"] for one in entries if isinstance(one, Facts) and "loss" in one.problems
    }
    return [f"loss: {one}" for one in sorted(said)]


def _spent(entries: Iterable[Entry], elapsed_s: float) -> list[str]:
    """Return lines on the duration: how much of it was warm-up and samples."""
    outcomes = [one for one in entries if not isinstance(one, Facts)]
    measured = [one for one in outcomes if isinstance(one, Measurement)]
    failed = sum(isinstance(one, Failure) for one in outcomes)
    lines = [f"{len(measured)} outcomes measured, {failed} failed", *_disturbed(measured)]
    timed_s = sum(one.timed_s for one in measured)
    if 0 < timed_s <= elapsed_s:  # a resumed run measured most of it earlier
        share = units.percent(timed_s / elapsed_s)
        lines.append(f"{units.duration(elapsed_s)} measuring, {share} of it warm-up and samples")
    return lines


def _disturbed(measured: Sequence[Measurement]) -> list[str]:
    """Return a line on the outcomes that other work on the machine disturbed."""
    contended = sum("contended" in one.flags for one in measured)
    repeats = sum(int(one.state.get("repeats", 0)) for one in measured)
    if not contended and not repeats:
        return []
    again = f" after {repeats} were measured again" if repeats else ""
    return [f"other work on the machine disturbed {contended} of {len(measured)} outcomes{again}"]


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
