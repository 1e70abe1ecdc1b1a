"""The commands `bench compare` and `bench check`: they read results and measure nothing."""

import dataclasses
from pathlib import Path

from rich.console import Console

from bench.compare import speedup, transfers, unlike
from bench.core.errors import UserError
from bench.core.exit_codes import OK
from bench.core.row_names import case_names
from bench.core.text import number_of
from bench.explain import matching, text
from bench.explain.explanation import explain
from bench.results import distinct_runs, history, profile_load, profile_parts
from bench.results.directory_kind import FLEET, kind_of
from bench.results.loading import ReadError, load
from bench.results.profile_load import is_profile
from bench.results.profile_tables import SUMMARY
from bench.results.results import Results
from bench.terminal.progress import wide_console
from bench.verdict import outputs, tables, two_runs


class ReadingError(UserError):
    """Results that cannot be compared."""


def compare(path: Path, other: Path | None, by: str | None) -> int:
    """Print the speedup of each value of `by`, or `other` against `path`.  Return the exit code."""
    console = wide_console()
    if is_profile(path) and (other is None or is_profile(other)):
        return _profiles(path, other, by, console)
    run = load(path)
    if other is None and by is None:
        raise _nothing_to_compare(path, "run")
    left_out: list[str] = []
    second: Results | None = None
    if other is None:
        speedups = _within(run, by or "")
    elif by is not None:
        run, second = distinct_runs.apart([run, load(other)])
        speedups = _within(run.beside(second), by)
    else:
        run, second = distinct_runs.apart([run, load(other)])
        speedups = speedup.between(run, second)
        left_out += _only_in(path, run, second) + _only_in(other, second, run)
    notes = unlike.within(run) if by == "device" else []
    notes += unlike.between(run, second) if second is not None else []
    rows = run.rows if second is None else (*run.rows, *second.rows)
    for table in tables.speedup_tables(speedups, rows):
        console.print(table)
    for line in (*notes, *left_out[:20]):
        tables.say(console, line)
    if len(left_out) > 20:
        more = number_of(len(left_out) - 20, "more case")
        console.print(f"… and {more} that only one of the two runs has")
    if not speedups:
        raise ReadingError(f"{path}: no two rows match" + (f" with {other}" if other else ""))
    return OK


def _nothing_to_compare(path: Path, noun: str) -> ReadingError:
    how = f"Give a second {noun}, or --by with an axis, e.g. --by memory_format"
    return ReadingError(f"{path}: compare with what? {how}")


def _profiles(path: Path, other: Path | None, by: str | None, console: Console) -> int:
    """Print why the cases of two profiles, or two settings of one profile, take other times."""
    first = _parts(path)
    if other is not None:
        pairs = matching.between(first, _parts(other))
    elif by is not None:
        pairs = matching.within(first, by)
    else:
        raise _nothing_to_compare(path, "profile")
    if not pairs:
        raise ReadingError(
            f"{path}: no two cases belong together"
            + (f" with {other}" if other else f" that differ in {by} alone")
        )
    for a, b in pairs:
        found = explain(a, b)
        tables.say(console, f"A: {a.case.case_id}")
        tables.say(console, f"B: {b.case.case_id}")
        for line in text.lines([found], names=False):
            tables.say(console, line)
        console.print(text.layers_table(found))
    made = "the profiles were" if other is not None else "the profiles of the cases were"
    console.print(
        f"{made} made one after the other, so a change of the machine can pass for a "
        "difference; bench profile A B takes turns"
    )
    return OK


def _parts(path: Path) -> list[profile_parts.StepParts]:
    """Return the cases of a profile, or the one case whose folder is given.  Raises ReadError."""
    if (path / SUMMARY).exists():
        return [profile_parts.read(path)]
    return [profile_parts.read(folder) for folder in profile_load.folders(path)]


def _only_in(path: Path, run: Results, other: Results) -> list[str]:
    """Name the cases that only the run at `path` has."""
    by_id = {str(row.case_id): row for row in run.rows}
    names = case_names((*run.rows, *other.rows))
    return [f"only in {path}: {names.of(by_id[one])}" for one in speedup.only_in(run, other)]


def _within(run: Results, by: str) -> list[speedup.Speedup]:
    """Return the speedups of the values of `by`; for devices also with the transfers."""
    speedups = speedup.within(run, by)
    if by != "device":
        return speedups
    return [*speedups, *transfers.with_transfers(run, speedups)]


def check(path: Path, baseline: Path, threshold: float, *, strict: bool) -> int:
    """Compare with the stored baseline, print and write the report.  Return the exit code."""
    run = load(path)
    stored, notes = _baseline(baseline, run)
    past = history.beside(stored, run) if stored else []
    report = two_runs.check(run, stored, threshold, history=past)
    notes += unlike.between(stored, run) if stored else []
    report = dataclasses.replace(report, notes=(*report.notes, *notes))
    folder = path if path.is_dir() else path.parent
    try:
        outputs.write(folder, report, strict=strict)
    except OSError as error:
        raise ReadingError(f"{folder}: the report cannot be written: {error.strerror}") from None
    outputs.tell(folder, report, wide_console(), strict=strict)
    return report.exit_code(strict=strict)


def _baseline(path: Path, run: Results) -> tuple[Results | None, list[str]]:
    """Return the run at `path`, or the newest run of this machine in a folder of runs.

    Runs with the same sampling go before others.  None if the folder is empty.  The notes name the
    runs that could not be read.
    """
    if not path.exists():
        raise ReadingError(f"--baseline {path}: no such file or directory")
    if path.is_file() or kind_of(path) not in (None, FLEET):
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
            if not one.identity.is_same(run.identity):  # a copy is no baseline
                stored.append(one)
    same = [one for one in stored if run.machines & one.machines]
    sampling = run.description.config.sampling
    alike = [one for one in same if one.description.config.sampling == sampling]
    return max(alike or same or stored, key=_began, default=None), notes


def _began(run: Results) -> tuple[str, str]:
    """Return a sort key: ISO 8601 in UTC sorts by time, and a run without a time comes first."""
    return run.description.started or "", run.path.name
