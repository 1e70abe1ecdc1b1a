"""The comparisons of `bench history --confirm`: their folders, and their answers."""

import csv
import dataclasses
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.core import units
from bench.core.records import whole_phase
from bench.history.findings import Confirmation, Finding, History
from bench.history.store import CONFIRMED

TABLE = "ab.csv"
TIME = "time_s"


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
    try:
        text = (folder / TABLE).read_text(encoding="utf-8")
    except OSError:
        return None
    whole = whole_phase(str(finding.series.row.mode))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    times = [one for one in rows if one.get("figure") == TIME and one.get("phase") == whole]
    if not times:
        why = next((one["note"] for one in rows if one.get("note")), "nothing was measured")
        return Answer("undecided", f"the comparison failed: {why}")
    return _answer(times[0], finding)


def _answer(row: dict[str, str], finding: Finding) -> Answer:
    verdict, size = row["verdict"], _size(row)
    if verdict == ("REGRESSED" if finding.is_slower else "IMPROVED"):
        return Answer("confirmed", f"{size} between the two commits")
    if verdict in ("UNTRUSTED", "FAILED", "UNMEASURED", "NEW", "MISSING"):
        return Answer("undecided", f"the comparison of the two commits is {verdict}")
    if verdict == "INCONCLUSIVE" and not _excludes(row, finding):
        why = (
            "more pairs are needed: --confirm resumes"
            if row["outlook"] == "go on"
            else "INCONCLUSIVE"
        )
        return Answer("undecided", f"{why}; {size} between the two commits")
    return Answer("taken back", f"{verdict} between the two commits: {size}")


def _excludes(row: dict[str, str], finding: Finding) -> bool:
    """Return whether the interval of an undecided comparison leaves out a change of that size."""
    try:
        low, high = float(row["ratio_low"]), float(row["ratio_high"])
    except ValueError:
        return False
    return high < finding.step.ratio if finding.is_slower else low > finding.step.ratio


def _size(row: dict[str, str]) -> str:
    """`+9.8 % (8.1 to 11.5) in 16 pairs`."""
    try:
        ratios = [float(row[name]) for name in ("ratio", "ratio_low", "ratio_high")]
    except ValueError:
        return f"no interval yet in {row['pairs'] or 0} pairs"
    more, low, high = (100 * (one - 1) for one in ratios)
    if units.is_too_wide(*ratios):
        return f"{more:+.1f} % ({units.TOO_WIDE}) in {row['pairs']} pairs"
    return f"{more:+.1f} % ({low:.1f} to {high:.1f}) in {row['pairs']} pairs"


def answered(finding: Finding, answer: Answer | None) -> Finding:
    """Return the finding with the answer, if there is one."""
    if answer is None:
        return finding
    return dataclasses.replace(finding, confirmation=answer.confirmation, told=answer.told)
