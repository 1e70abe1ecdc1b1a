"""`bench compare` and `bench check` from beginning to end: they read results, measure nothing."""

import os
from pathlib import Path

from rich.text import Text

from bench.errors import UserError
from bench.progress import wide_console
from bench.read import check as checking
from bench.read import compare as comparing
from bench.read import history, markdown, show
from bench.read.table import RunData, load
from bench.read.verdict import exit_code

OK = 0
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
REPORT = "report.md"


class JudgeError(UserError):
    """Results that cannot be compared."""


def compare(path: Path, other: Path | None, by: str | None) -> int:
    """Print what the values of `by` gain, or how `other` differs from `path`.  The exit code."""
    console = wide_console()
    run = load(path)
    if other is None and by is None:
        raise JudgeError(
            f"{path}: compare with what? Give a second run, or --by with an axis, e.g. "
            "--by memory_format"
        )
    left_out: list[str] = []
    if other is None:
        gains = comparing.within(run, by or "")
    elif by is not None:
        gains = comparing.within(comparing.together(run, load(other)), by)
    else:
        second = load(other)
        gains = comparing.between(run, second)
        left_out += [f"only in {path}: {one}" for one in comparing.only_in(run, second)]
        left_out += [f"only in {other}: {one}" for one in comparing.only_in(second, run)]
    for table in show.gain_tables(gains):
        console.print(table)
    for line in left_out[:20]:
        console.print(Text(line), soft_wrap=True)
    if len(left_out) > 20:
        console.print(f"… and {len(left_out) - 20} more that only one of them has")
    if not gains:
        raise JudgeError(f"{path}: no two rows match" + (f" with {other}" if other else ""))
    return OK


def check(path: Path, baseline: Path, threshold: float, *, strict: bool) -> int:
    """Compare with the stored baseline; print it, and write the report.  The exit code."""
    run = load(path)
    stored = _baseline(baseline, run)
    past = history.beside(stored, run) if stored else []
    report = checking.check(run, stored, threshold, history=past)
    text = markdown.report_markdown(report)
    code = exit_code(report, strict)
    written = (path if path.is_dir() else path.parent) / REPORT
    try:
        written.write_text(text, encoding="utf-8")
        if summary := os.environ.get(STEP_SUMMARY):
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(text + "\n")
    except OSError as error:
        raise JudgeError(f"{written}: the report cannot be written: {error.strerror}") from None
    console = wide_console()
    if any(case.changed for case in report.cases):
        console.print(show.check_table(report))
    else:
        console.print(Text(report.headline))
    for note in report.notes:
        console.print(Text(note), soft_wrap=True)
    for case in report.cases:
        if case.command:
            console.print(Text(f"to settle it: {case.command}"), soft_wrap=True)
    console.print(Text(f"report: {written}"), soft_wrap=True)
    return code


def _baseline(path: Path, run: RunData) -> RunData | None:
    """The run at `path`, or this machine's newest in a folder of runs; None where it is empty."""
    if not path.exists():
        raise JudgeError(f"--baseline {path}: no such file or directory")
    if path.is_file() or (path / "run.json").exists() or (path / "measurements.csv").exists():
        return load(path)
    stored = [load(one.parent) for one in sorted(path.glob("*/measurements.csv"))]
    machines = set(run.rows["machine_id"])
    same = [one for one in stored if machines.intersection(one.rows["machine_id"])]
    chosen = same or stored
    return chosen[-1] if chosen else None
