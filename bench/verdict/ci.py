"""The outcome of each case for a CI service: passed, failed, skipped, or in error, and why.

`junit` and `github` write it, both for `bench check` and for `bench ab`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.verdict import ab_report
from bench.verdict.report import CaseVerdict, Report, Verdict

Outcome = Literal["passed", "failure", "error", "skipped"]
# Every other verdict is "passed".  `of_check` adds the verdicts that only a check has.
OUTCOMES: Mapping[Verdict, Outcome] = {
    "REGRESSED": "failure",
    "FAILED": "error",
    "MISSING": "error",
    "UNTRUSTED": "skipped",
    "INCONCLUSIVE": "skipped",
    "ADVISORY": "skipped",
    "UNMEASURED": "skipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """The outcome of one case.  sentence: its verdict and the figure behind it, in one line."""

    name: str
    group: str
    outcome: Outcome
    sentence: str
    command: str | None = None  # the `bench ab` command that decides the case
    warns: bool = False  # it gets a warning, although it does not fail


def of_check(report: Report, *, strict: bool) -> list[CaseOutcome]:
    """Return the outcome of each case of a check.

    strict: a SUSPECT is a failure; otherwise it is skipped, with a warning.
    """
    outcomes: Mapping[Verdict, Outcome] = {
        **OUTCOMES,
        "SUSPECT": "failure" if strict else "skipped",
        "NEW": "skipped",
    }
    return [
        CaseOutcome(
            name=one.case_id,
            group=one.subject,
            outcome=outcomes.get(one.verdict, "passed"),
            sentence=_check_sentence(one),
            command=one.command,
            warns=one.verdict == "SUSPECT" and not strict,
        )
        for one in report.cases
    ]


def of_ab(report: ab_report.Report) -> list[CaseOutcome]:
    """Return the outcome of each case of a comparison; its worst row decides."""
    by_case: dict[str, list[ab_report.Row]] = {}
    for row in ab_report.ordered(report.rows):
        by_case.setdefault(row.case_id, []).append(row)
    worst = {name: rows[0] for name, rows in by_case.items()}
    return [
        CaseOutcome(
            name=name,
            group="bench ab",
            outcome=OUTCOMES.get(row.verdict, "passed"),
            sentence=_ab_sentence(by_case[name]),
            warns=row.verdict == "UNTRUSTED",
        )
        for name, row in worst.items()
    ]


def _check_sentence(case: CaseVerdict) -> str:
    finding = next((one for one in case.findings if one.verdict == case.verdict), None)
    if finding is None:
        return f"{case.verdict}: {case.note}" if case.note else case.verdict
    worse = "" if finding.worse is None else f" {finding.worse - 1:+.1%} worse"
    note = f" ({finding.note})" if finding.note else ""
    return f"{case.verdict}: {finding.phase} {finding.figure}{worse}{note}"


def _ab_sentence(rows: Sequence[ab_report.Row]) -> str:
    """Return the sentence of one case.  rows: all its rows, the worst first."""
    worst = rows[0]
    if worst.figure is None:
        return f"{worst.verdict}: {worst.note}"
    figure = ab_report.named(worst)
    least = f"; {reach}" if (reach := ab_report.reach(worst)) else ""
    note = f" ({worst.note})" if worst.note else ""
    return f"{worst.verdict}: {worst.phase}{figure} {ab_report.ratio(worst)}{least}{note}"
