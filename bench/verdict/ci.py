"""The outcome of each case for a CI service: passed, failed, skipped, or in error, and why.

`junit` and `github` write it, both for `bench check` and for `bench ab`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from bench.verdict import ab_report
from bench.verdict.report import CaseReport, CheckReport, Verdict

Outcome = Literal["passed", "failure", "error", "skipped"]
# Every other verdict is "passed".
OUTCOMES: Mapping[Verdict, Outcome] = {
    "REGRESSED": "failure",
    "FAILED": "error",
    "MISSING": "error",
    "UNTRUSTED": "skipped",
    "INCONCLUSIVE": "skipped",
    "ADVISORY": "skipped",
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


def of_check(report: CheckReport, *, strict: bool) -> list[CaseOutcome]:
    """Return the outcome of each case of a check.

    strict: a SUSPECT is a failure; otherwise it is skipped, with a warning.
    """
    own: Mapping[Verdict, Outcome] = {
        "SUSPECT": "failure" if strict else "skipped",
        "NEW": "skipped",
    }
    return [
        _outcome(one.case_id, one.subject, one.verdict, _check_sentence(one), own, one.command)
        for one in report.cases
    ]


def of_ab(report: ab_report.AbReport) -> list[CaseOutcome]:
    """Return the outcome of each case of a comparison; its worst row decides."""
    by_case: dict[str, list[ab_report.AbRow]] = {}
    for row in ab_report.ordered(report.rows):
        by_case.setdefault(row.case_id, []).append(row)
    return [
        _outcome(name, "bench ab", rows[0].verdict, _ab_sentence(rows))
        for name, rows in by_case.items()
    ]


def _outcome(
    name: str,
    group: str,
    verdict: Verdict,
    sentence: str,
    own: Mapping[Verdict, Outcome] = MappingProxyType({}),
    command: str | None = None,
) -> CaseOutcome:
    """Return the outcome of a verdict.  own: those of verdicts that only this command has."""
    outcome = {**OUTCOMES, **own}.get(verdict, "passed")
    return CaseOutcome(
        name=name,
        group=group,
        outcome=outcome,
        sentence=sentence,
        command=command,
        warns=verdict in WARNED and outcome == "skipped",
    )


def _check_sentence(case: CaseReport) -> str:
    finding = next((one for one in case.findings if one.verdict == case.verdict), None)
    if finding is None:
        return f"{case.verdict}: {case.note}" if case.note else case.verdict
    worse = "" if finding.worse is None else f" {finding.worse - 1:+.1%} worse"
    note = f" ({finding.note})" if finding.note else ""
    return f"{case.verdict}: {finding.phase} {finding.figure}{worse}{note}"


def _ab_sentence(rows: Sequence[ab_report.AbRow]) -> str:
    """Return the sentence of one case.  rows: all its rows, the worst first."""
    worst = rows[0]
    if worst.figure is None:
        return f"{worst.verdict}: {worst.note}"
    figure = ab_report.named(worst)
    least = f"; {reach}" if (reach := ab_report.reach(worst)) else ""
    note = f" ({worst.note})" if worst.note else ""
    return f"{worst.verdict}: {worst.phase}{figure} {ab_report.ratio(worst)}{least}{note}"
