"""`bench history --confirm`: compare the two commits around each finding, in turns."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.ab import ab_plan
from bench.ab.ab_directory import ChangedError
from bench.commands import ab as comparison
from bench.commands import provenance
from bench.core.errors import UserError, one_line
from bench.history import confirmed, sentences
from bench.history.confirmed import Answer
from bench.history.findings import Finding, History
from bench.plan import config
from bench.results.directory_kind import COMPARISON, kind_of

PROBE_S = 60.0


def confirm(
    history: History, store: Path, budget_s: float | None, say: Callable[[str], None]
) -> History:
    """Compare around each finding that is not decided, and return the history with all answers.

    A comparison that did not get all its pairs is resumed, or begun anew if that is refused.

    budget_s: for each comparison; None: no limit.
    """
    if all(map(confirmed.is_decided, history.findings)):
        return history
    machine = provenance.machine_id(PROBE_S)
    return confirmed.with_answers(history, lambda one: _answer(one, store, machine, budget_s, say))


def _answer(
    finding: Finding,
    store: Path,
    machine: str,
    budget_s: float | None,
    say: Callable[[str], None],
) -> Answer:
    if finding.commits == 0:
        return Answer("undecided", "both runs are of one commit, so the code is the same")
    if finding.series.machine != machine:
        return Answer("undecided", "its runs are of another machine; confirm it there")
    folder = confirmed.folder_of(store, finding)
    say(f"confirm: {sentences.repeat(finding)}")
    try:
        code = _compared(finding, folder, budget_s, say)
    except UserError as error:
        return Answer("undecided", f"the comparison failed: {one_line(error)}")
    if code == comparison.INTERRUPTED:  # not this comparison alone: the whole command
        raise KeyboardInterrupt
    found = confirmed.read(folder, finding)
    return found or Answer("undecided", "the comparison has not ended; --confirm resumes it")


def _compared(
    finding: Finding, folder: Path, budget_s: float | None, say: Callable[[str], None]
) -> int:
    """Compare the two commits, and return the exit code.  Raises UserError.

    If torch or the machine changed since an unfinished comparison, a new one begins and the old
    one is kept under another name.
    """
    try:
        return comparison.run(_asked(finding, folder, budget_s))
    except ChangedError as error:
        kept = _free(folder)
        folder.rename(kept)
        say(f"confirm: a new comparison begins, and {kept} keeps the old one ({one_line(error)})")
        return comparison.run(_asked(finding, folder, budget_s))


def _free(folder: Path) -> Path:
    """Return a name for the folder of an old comparison that does not exist yet."""
    numbered = (folder.with_name(f"{folder.name}-old-{number}") for number in itertools.count(1))
    return next(one for one in numbered if not one.exists())


def _asked(finding: Finding, folder: Path, budget_s: float | None) -> ab_plan.Asked:
    """Return the flags of `bench ab` for this case alone; an unfinished one is resumed."""
    options = {"budget_s": budget_s}
    if kind_of(folder) is COMPARISON:
        return ab_plan.Asked(resume=folder, options=options)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return ab_plan.Asked(
        a=finding.before.commit.sha,
        b=finding.after.commit.sha,
        config=config.AB,
        axes={name: (value,) for name, value in sentences.asked_of(finding).items()},
        subjects=(str(finding.series.row.subject),),
        threshold=ab_plan.threshold_for(abs(finding.step.ratio - 1)),
        own_threshold=True,
        options=options,
        out=folder,
    )
