"""The command `bench history`: read a store, find the steps, print them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import UserError
from bench.core.exit_codes import BAD_RESULT, OK
from bench.history import blessed, commits, confirmed, findings, series, store
from bench.history.findings import History
from bench.history.store import LeftOut
from bench.results.csv_files import MEASUREMENTS
from bench.terminal import history as shown
from bench.terminal.progress import wide_console
from bench.verdict import tables


class HistoryError(UserError):
    """There is no history to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The arguments and flags of `bench history`."""

    runs: tuple[Path, ...] = ()
    cases: tuple[str, ...] = ()
    branch: str = "HEAD"
    threshold: float = 0.05
    strict: bool = False
    confirm: bool = False
    budget_s: float | None = None  # of each comparison


def run(asked: Asked) -> int:
    """Print the history.  Return the exit code."""
    console = wide_console()
    history, left, notes = read(asked)
    folder = store_of(asked)
    history = confirmed.known(history, folder)
    if asked.confirm:
        from bench.commands import confirm  # what measures is slow to import

        history = confirm.confirm(
            history,
            folder,
            asked.budget_s,
            lambda text: tables.say(console, text),
        )
    shown.show(history, left, console)
    for note in notes:
        tables.say(console, f"note: {note}")
    return code(history, strict=asked.strict)


def read(asked: Asked) -> tuple[History, Sequence[LeftOut], Sequence[str]]:
    """Read the store and judge its series.  Raises UserError.

    The notes name the blessings that are not used.
    """
    if not 0 < asked.threshold < 1:
        raise HistoryError(f"--threshold {asked.threshold}: expected e.g. 0.05 for 5 %")
    here = Path.cwd()
    line = commits.line(here, asked.branch)
    runs, unread = store.read(asked.runs or (_default(),))
    given = blessed.read(commits.top(here) / blessed.FILE)
    accepted, notes = blessed.placed(given, here, line)
    gathered = series.gather(runs, line, accepted, asked.cases)
    if asked.cases and not gathered.series:
        known = sorted({case_id for run in runs for case_id in run.times})
        raise HistoryError(
            f"--case {' '.join(asked.cases)}: no run has it; the runs have "
            f"{', '.join(known[:3]) or 'no case'}{' and others' if len(known) > 3 else ''}"
        )
    history = findings.examine(gathered.series, asked.threshold)
    return history, (*unread, *gathered.left), notes


def code(history: History, *, strict: bool) -> int:
    """Return the exit code: 1 with `strict` if a series is slower, and that was not taken back."""
    slower = any(one.is_slower and one.confirmation != "taken back" for one in history.findings)
    return BAD_RESULT if strict and slower else OK


def store_of(asked: Asked) -> Path:
    """Return the folder that keeps the comparisons: the first one that was named."""
    first = asked.runs[0] if asked.runs else store.STORE
    return first.parent if (first / MEASUREMENTS).exists() or first.is_file() else first


def _default() -> Path:
    if not store.STORE.is_dir():
        raise HistoryError(
            f"{store.STORE}: no such folder; name the folder of the runs, or measure past commits "
            "with: bench backfill HEAD~20..HEAD"
        )
    return store.STORE
