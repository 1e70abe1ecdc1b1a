"""The outcome of each case for a CI service: passed, failed, skipped, or in error, and why.

`junit` and `github` write it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.verdict.comparison import AnyReport
from bench.verdict.lines import line
from bench.verdict.report import Finding, Verdict, worst

Outcome = Literal["passed", "failure", "error", "skipped"]
# Every other verdict is "passed".
OUTCOMES: Mapping[Verdict, Outcome] = {
    "REGRESSED": "failure",
    "FAILED": "error",
    "MISSING": "error",
    "UNTRUSTED": "skipped",
    "SUSPECT": "skipped",
    "INCONCLUSIVE": "skipped",
    "ADVISORY": "skipped",
    "NEW": "skipped",
    "UNMEASURED": "skipped",
}
# A SUSPECT does not fail, and a null case that differed fails nothing.
WARNED = frozenset({"SUSPECT", "UNTRUSTED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """The outcome of one case.  sentence: its verdict and the figure behind it, in one line."""

    name: str
    group: str
    outcome: Outcome
    sentence: str
    command: str | None = None  # the `bench ab` command that decides the case
    warns: bool = False  # it gets a warning, although it does not fail


def outcomes(report: AnyReport, *, strict: bool = False) -> list[CaseOutcome]:
    """Return the outcome of each case, the worst first; its worst finding decides.

    strict: a SUSPECT is a failure; otherwise it is skipped, with a warning.
    """
    return [_outcome(own, report, strict=strict) for own in report.by_case]


def _outcome(own: Sequence[Finding], report: AnyReport, *, strict: bool) -> CaseOutcome:
    found, of = worst(own), report.comparison
    case = report.cases.get(found.case_id)
    outcome: Outcome = OUTCOMES.get(found.verdict, "passed")
    if found.verdict == "SUSPECT" and strict:
        outcome = "failure"
    elif found.verdict == "NEW" and found.figure is not None:
        outcome = "passed"  # the phase is new, and the case was compared
    return CaseOutcome(
        name=found.case_id,
        group=of.group or (str(case.subject) if case else ""),
        outcome=outcome,
        sentence=_sentence(found, of.worse),
        command=of.commands.get(found.case_id),
        warns=found.verdict in WARNED and outcome == "skipped",
    )


def _sentence(one: Finding, worse: str) -> str:
    shown = line(one)
    if not shown.figure:
        return f"{one.verdict}: {one.note}" if one.note else one.verdict
    change = f" {shown.ratio}{worse}" if shown.ratio else ""
    least = f"; {shown.reach}" if shown.reach else ""
    note = f" ({one.note})" if one.note else ""
    return f"{one.verdict}: {shown.figure}{change}{least}{note}"
