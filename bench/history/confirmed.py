"""The comparisons of `bench history --confirm`: their folders, and their answers."""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.core import units
from bench.core.records import whole_phase
from bench.history.findings import Confirmation, Finding, History
from bench.history.store import CONFIRMED
from bench.verdict import ab_csv, report


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict of a comparison about one finding.  told: in words."""

    confirmation: Confirmation
    told: str


def known(history: History, store: Path) -> History:
    """Return the history with the answers of earlier comparisons."""
    return with_answers(history, lambda one: read(folder_of(store, one), one))


def with_answers(history: History, answer: Callable[[Finding], Answer | None]) -> History:
    """Return the history with an answer for each finding that is not decided."""
    found = tuple(
        one if is_decided(one) else answered(one, answer(one)) for one in history.findings
    )
    return dataclasses.replace(history, findings=found)


def is_decided(finding: Finding) -> bool:
    """Return whether a comparison has decided about a finding."""
    return finding.confirmation in ("confirmed", "taken back")


def folder_of(store: Path, finding: Finding) -> Path:
    """Return the folder of the comparison: the two commits and a digest of the series."""
    series = finding.series
    key = f"{series.case_id} {series.machine}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    before, after = finding.before.commit.short, finding.after.commit.short
    return store / CONFIRMED / f"{before}-{after}-{digest}"


def read(folder: Path, finding: Finding) -> Answer | None:
    """Return the answer of a comparison; None if no comparison has ended."""
    whole = whole_phase(str(finding.series.row.mode))
    try:
        return _answer(ab_csv.time_of(folder / ab_csv.FILE, whole), finding)
    except ab_csv.NoTimeError as error:
        return Answer("undecided", f"the comparison failed: {error}")
    except (OSError, ValueError):
        return None


def _answer(found: report.Finding, finding: Finding) -> Answer:
    verdict, size = found.verdict, _size(found)
    if verdict == ("REGRESSED" if finding.is_slower else "IMPROVED"):
        return Answer("confirmed", f"{size} between the two commits")
    if verdict in ("UNTRUSTED", "FAILED", "UNMEASURED", "NEW", "MISSING"):
        return Answer("undecided", f"the comparison of the two commits is {verdict}")
    if verdict == "INCONCLUSIVE" and not _excludes(found, finding):
        go_on = found.evidence.outlook == "go on"
        why = "more pairs are needed: --confirm resumes" if go_on else "INCONCLUSIVE"
        return Answer("undecided", f"{why}; {size} between the two commits")
    return Answer("taken back", f"{verdict} between the two commits: {size}")


def _excludes(found: report.Finding, finding: Finding) -> bool:
    """Return whether the interval of an undecided comparison leaves out a change of that size."""
    low, high = found.ratio_low, found.ratio_high
    if low is None or high is None:
        return False
    return high < finding.step.ratio if finding.is_slower else low > finding.step.ratio


def _size(found: report.Finding) -> str:
    """`+9.8 % (8.1 to 11.5) in 16 pairs`."""
    pairs, low, high = found.evidence.pairs or 0, found.ratio_low, found.ratio_high
    if found.ratio is None or low is None or high is None:
        return f"no interval yet in {pairs} pairs"
    more, least, most = (100 * (one - 1) for one in (found.ratio, low, high))
    if units.is_too_wide(found.ratio, low, high):
        return f"{more:+.1f} % ({units.TOO_WIDE}) in {pairs} pairs"
    return f"{more:+.1f} % ({least:.1f} to {most:.1f}) in {pairs} pairs"


def answered(finding: Finding, answer: Answer | None) -> Finding:
    """Return the finding with the answer, if there is one."""
    if answer is None:
        return finding
    return dataclasses.replace(finding, confirmation=answer.confirmation, told=answer.told)
