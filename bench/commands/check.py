"""The commands `bench compare` and `bench check`: they read results and measure nothing."""

import contextlib
import dataclasses
from pathlib import Path

from rich.console import Console

from bench.compare import speedup as comparing
from bench.compare import transfers, unlike
from bench.core.errors import UserError
from bench.core.row_names import case_names
from bench.core.text import number_of
from bench.results import distinct_runs, history
from bench.results.load import ReadError, load
from bench.results.results import Results
from bench.terminal.progress import wide_console
from bench.verdict import check as checking
from bench.verdict import ci, markdown, tables
from bench.verdict.github import annotate, step_summary
from bench.verdict.junit import FILE, junit
from bench.verdict.report import Report, exit_code

OK = 0
REPORT = "report.md"
MOST_COMMANDS = 5  # on the terminal


class ReadingError(UserError):
    """Results that cannot be compared."""


def compare(path: Path, other: Path | None, by: str | None) -> int:
    """Print the speedup of each value of `by`, or `other` against `path`.  Return the exit code."""
    console = wide_console()
    run = load(path)
    if other is None and by is None:
        raise ReadingError(
            f"{path}: compare with what? Give a second run, or --by with an axis, e.g. "
            "--by memory_format"
        )
    left_out: list[str] = []
    second: Results | None = None
    if other is None:
        speedups = _within(run, by or "")
    elif by is not None:
        run, second = distinct_runs.apart([run, load(other)])
        speedups = _within(run.beside(second), by)
    else:
        run, second = distinct_runs.apart([run, load(other)])
        speedups = comparing.between(run, second)
        left_out += _only_in(path, run, second) + _only_in(other, second, run)
    notes = unlike.within(run) if by == "device" else []
    notes += unlike.between(run, second) if second is not None else []
    rows = run.rows if second is None else (*run.rows, *second.rows)
    for table in tables.speedup_tables(speedups, rows):
        console.print(table)
    for line in (*notes, *left_out[:20]):
        console.print(tables.safe(line), soft_wrap=True)
    if len(left_out) > 20:
        more = number_of(len(left_out) - 20, "more case")
        console.print(f"… and {more} that only one of the two runs has")
    if not speedups:
        raise ReadingError(f"{path}: no two rows match" + (f" with {other}" if other else ""))
    return OK


def _only_in(path: Path, run: Results, other: Results) -> list[str]:
    """Name the cases that only the run at `path` has."""
    by_id = {str(row.case_id): row for row in run.rows}
    names = case_names((*run.rows, *other.rows))
    return [f"only in {path}: {names.of(by_id[one])}" for one in comparing.only_in(run, other)]


def _within(run: Results, by: str) -> list[comparing.Speedup]:
    """Return the speedups of the values of `by`; for devices also with the transfers."""
    speedups = comparing.within(run, by)
    if by != "device":
        return speedups
    return [*speedups, *transfers.with_transfers(run, speedups)]


def check(path: Path, baseline: Path, threshold: float, *, strict: bool) -> int:
    """Compare with the stored baseline, print and write the report.  Return the exit code."""
    run = load(path)
    stored, notes = _baseline(baseline, run)
    past = history.beside(stored, run) if stored else []
    report = checking.check(run, stored, threshold, history=past)
    notes += unlike.between(stored, run) if stored else []
    report = dataclasses.replace(report, notes=(*report.notes, *notes))
    code = exit_code(report, strict)
    text = markdown.report_markdown(report)
    cases = ci.of_check(report, strict=strict)
    suite = f"bench check {report.run_id} against {report.baseline_id or 'nothing'}"
    written = (path if path.is_dir() else path.parent) / REPORT
    try:
        written.write_text(text, encoding="utf-8")
        written.with_name(FILE).write_text(junit(suite, cases), encoding="utf-8")
    except OSError as error:
        raise ReadingError(f"{written}: the report cannot be written: {error.strerror}") from None
    with contextlib.suppress(BrokenPipeError):  # the verdict is the exit code, read or not
        console = wide_console()
        _print_report(report, console, step_summary(text), written)
        annotate(cases, console)
    return code


def _print_report(report: Report, console: Console, problem: str | None, written: Path) -> None:
    if not report.baseline_id:
        lines = [report.headline, "keep this run as one: copy its folder into results/baseline/"]
    else:
        lines = [report.headline]
        if any(case.changed for case in report.cases):
            console.print(tables.check_table(report))
            lines = []
    commands = report.commands
    lines += report.notes
    lines += [f"to settle it: {command}" for command in commands[:MOST_COMMANDS]]
    if len(commands) > MOST_COMMANDS:
        more = number_of(len(commands) - MOST_COMMANDS, "more such command")
        lines.append(f"… and {more} in the report")
    lines += [problem] if problem else []
    for line in (*lines, f"report: {written}"):
        console.print(tables.safe(line), soft_wrap=True)


def _baseline(path: Path, run: Results) -> tuple[Results | None, list[str]]:
    """Return the run at `path`, or the newest run of this machine in a folder of runs.

    None if the folder is empty.  The notes name the runs that could not be read.
    """
    if not path.exists():
        raise ReadingError(f"--baseline {path}: no such file or directory")
    if path.is_file() or (path / "run.json").exists() or (path / "measurements.csv").exists():
        return load(path), []
    stored, notes = [], []
    for folder in sorted(path.iterdir()):
        if folder.is_symlink() or folder.resolve() == run.path.resolve():
            continue
        if (folder / "measurements.csv").exists():
            try:
                one = load(folder)
            except ReadError as error:
                notes.append(f"Left out of the baselines: {error}")
                continue
            if run.run_ids.isdisjoint(one.run_ids):
                stored.append(one)
    same = [one for one in stored if run.machines & one.machines]
    return max(same or stored, key=_began, default=None), notes


def _began(run: Results) -> tuple[str, str]:
    """Return a sort key: ISO 8601 in UTC sorts by time, and a run without a time comes first."""
    return run.description.started or "", run.path.name
