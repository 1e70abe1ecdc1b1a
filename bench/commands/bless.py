"""The command `bench bless CASE --at REV -m WHY`: accept a level from a commit on."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import UserError
from bench.core.exit_codes import OK
from bench.core.near import did_you_mean
from bench.history import blessed, commits, store
from bench.history.blessed import Blessing
from bench.terminal.progress import wide_console
from bench.verdict import tables


class BlessError(UserError):
    """A level cannot be accepted; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The arguments and flags of `bench bless`."""

    cases: tuple[str, ...]
    why: str
    at: str = "HEAD"


def run(asked: Asked, today: datetime.date | None = None) -> int:
    """Write the blessings into the file of the repository.  Return the exit code."""
    console = wide_console()
    here = Path.cwd()
    if not asked.why.strip():
        raise BlessError("-m: is empty; say why the level is accepted")
    at = commits.resolved(here, asked.at)
    if at not in commits.line(here).places:
        raise BlessError(
            f"--at {asked.at}: {at[:8]} is not on the first-parent line of HEAD, where "
            "`bench history` looks; give the commit that merged it"
        )
    path = commits.top(here) / blessed.FILE
    given = [Blessing(case, at, asked.why.strip()) for case in asked.cases]
    blessed.add(path, given, today or datetime.datetime.now(datetime.UTC).date())
    for note in _unknown(asked.cases):
        tables.say(console, f"note: {note}")
    for one in given:
        text = f"{one.case}: accepted from {at[:8]} on; commit {path.name}"
        tables.say(console, text)
    return OK


def _unknown(cases: Sequence[str]) -> list[str]:
    """Return a note for each case that no run of the default store has."""
    if not store.STORE.is_dir():
        return []
    try:
        runs, _ = store.read([store.STORE])
    except UserError:
        return []
    known = {case_id for run in runs for case_id in run.times}
    return [
        f"no run in {store.STORE} has the case {case}{did_you_mean(case, sorted(known))}"
        for case in cases
        if not any(blessed.is_of(case, one) for one in known)
    ]
