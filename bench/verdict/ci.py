"""What a CI service is told of each case: passed, failed, skipped, or in error, and why.

`junit` and `github` write it down, for a check and a comparison alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.verdict import ab_report
from bench.verdict import report as verdict

Outcome = Literal["passed", "failure", "error", "skipped"]
# The rest has passed; `of_check` adds what a stored baseline alone can say.
OUTCOMES: Mapping[verdict.Verdict, Outcome] = {
    "REGRESSED": "failure",
    "FAILED": "error",
    "MISSING": "error",
    "UNTRUSTED": "skipped",
    "INCONCLUSIVE": "skipped",
    "ADVISORY": "skipped",
    "UNMEASURED": "skipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One case.  sentence: its verdict and what it rests on, in one line."""

    name: str
    group: str
    outcome: Outcome
    sentence: str
    command: str | None = None  # that settles it
    warns: bool = False  # worth a word, though it fails nothing


def of_check(report: verdict.Report, *, strict: bool) -> list[Judged]:
    """strict: a suspect is a failure, else it is skipped, with a warning."""
    outcomes: Mapping[verdict.Verdict, Outcome] = {
        **OUTCOMES,
        "SUSPECT": "failure" if strict else "skipped",
        "NEW": "skipped",
    }
    return [
        Judged(
            name=one.case_id,
            group=one.subject,
            outcome=outcomes.get(one.verdict, "passed"),
            sentence=_check_sentence(one),
            command=one.command,
            warns=one.verdict == "SUSPECT" and not strict,
        )
        for one in report.cases
    ]


def of_ab(report: ab_report.Report) -> list[Judged]:
    """A case is judged by the worst of its rows."""
    by_case: dict[str, list[ab_report.Row]] = {}
    for row in ab_report.ordered(report.rows):
        by_case.setdefault(row.case_id, []).append(row)
    worst = {name: rows[0] for name, rows in by_case.items()}
    return [
        Judged(
            name=name,
            group="bench ab",
            outcome=OUTCOMES.get(row.verdict, "passed"),
            sentence=_ab_sentence(by_case[name]),
            warns=row.verdict == "UNTRUSTED",
        )
        for name, row in worst.items()
    ]


def _check_sentence(case: verdict.CaseVerdict) -> str:
    found = next((one for one in case.findings if one.verdict == case.verdict), None)
    if found is None:
        return f"{case.verdict}: {case.note}" if case.note else case.verdict
    worse = "" if found.worse is None else f" {found.worse - 1:+.1%} worse"
    note = f" ({found.note})" if found.note else ""
    return f"{case.verdict}: {found.phase} {found.figure}{worse}{note}"


def _ab_sentence(rows: Sequence[ab_report.Row]) -> str:
    """rows: of one case, the worst first."""
    worst = rows[0]
    if worst.figure is None:
        return f"{worst.verdict}: {worst.note}"
    figure = ab_report.named(worst)
    least = f"; {reach}" if (reach := ab_report.reach(worst)) else ""
    note = f" ({worst.note})" if worst.note else ""
    return f"{worst.verdict}: {worst.phase}{figure} {ab_report.ratio(worst)}{least}{note}"
