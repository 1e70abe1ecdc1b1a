"""One report for `bench check` and `bench ab`: its headline, its order and its exit code."""

from typing import Any

import pytest

from bench.verdict.comparison import AnyReport, PairComparison, RunComparison
from bench.verdict.report import NO_BASELINE, NOTHING_RAN, WORST_FIRST, Finding, Report, Verdict

RUNS, PAIRS = RunComparison(same_machine=True), PairComparison()


def one(
    verdict: Verdict, case_id: str = "net", figure: str | None = "time_s", **more: Any
) -> Finding:
    return Finding(case_id=case_id, phase="forward", figure=figure, verdict=verdict, **more)


def report(comparison: Any, *findings: Finding, **more: Any) -> AnyReport:
    return Report(
        comparison=comparison, base="a", value="b", threshold=0.05, findings=findings, **more
    )


def codes(of: AnyReport) -> tuple[int, int]:
    return of.exit_code(strict=False), of.exit_code(strict=True)


def test_the_exit_code_of_each_verdict_is_the_same_in_both_commands() -> None:
    for comparison in (RUNS, PAIRS):
        found = {verdict: codes(report(comparison, one(verdict))) for verdict in WORST_FIRST}
        assert found == {
            "FAILED": (4, 4),
            "MISSING": (4, 4),
            "REGRESSED": (1, 1),
            "UNTRUSTED": (0, 3),
            "SUSPECT": (3, 1),
            "INCONCLUSIVE": (0, 3),
            "ADVISORY": (0, 3),
            "IMPROVED": (0, 0),
            "DIFFERS": (0, 0),
            "NEW": (0, 0),
            "UNMEASURED": (0, 0),
            "SAME": (0, 0),
        }


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("REGRESSED", "FAILED", "SUSPECT"), (4, 4)),
        (("SUSPECT", "REGRESSED"), (1, 1)),
        (("INCONCLUSIVE", "SUSPECT"), (3, 1)),
        (("SAME", "INCONCLUSIVE", "IMPROVED"), (0, 3)),
        ((), (0, 0)),
    ],
)
def test_a_failure_outweighs_a_regression_and_a_regression_a_doubt(
    verdicts: tuple[Verdict, ...], expected: tuple[int, int]
) -> None:
    assert codes(report(RUNS, *map(one, verdicts))) == expected


def test_what_compares_nothing_has_its_own_headline_and_code_beside_those_of_its_findings() -> None:
    assert codes(report(RUNS, empty=NOTHING_RAN)) == (4, 4)
    assert codes(report(RUNS, one("NEW"), empty=NO_BASELINE)) == (0, 3)
    failed = report(RUNS, one("FAILED"), empty=NO_BASELINE)
    assert codes(failed) == (4, 4)
    assert failed.headline == "NO BASELINE: there is nothing to compare with"


def test_a_check_counts_cases_and_a_comparison_in_pairs_counts_times() -> None:
    findings = [
        one("SAME"), one("IMPROVED", figure="operators"), one("SAME", figure="flops"),
        one("SAME", "other"), one("INCONCLUSIVE", "other", "pipelined_s"),
    ]  # fmt: skip
    assert report(RUNS, *findings).headline == (
        "no regression found (1 same or better (1 IMPROVED), 1 undecided)"
    )
    assert report(PAIRS, *findings).headline == "no regression found (2 same, 1 undecided)"


def test_a_headline_names_all_that_is_bad_and_what_else_there_is() -> None:
    verdicts: tuple[Verdict, ...] = (
        "SUSPECT", "REGRESSED", "MISSING", "FAILED", "ADVISORY", "NEW", "UNMEASURED"
    )  # fmt: skip
    found = report(RUNS, *(one(verdict, verdict) for verdict in verdicts))
    assert found.headline == (
        "1 FAILED, 1 MISSING, 1 REGRESSED, 1 SUSPECT (0 same, 0 undecided, "
        "1 timed on another machine: advisory, 1 new, 1 unmeasured)"
    )


def test_cases_are_ordered_by_their_worst_verdict_and_then_by_the_largest_ratio() -> None:
    found = report(
        RUNS,
        one("SAME", "a", ratio=1.9),
        one("SUSPECT", "b", ratio=1.1),
        one("SUSPECT", "c", ratio=1.3),
        one("REGRESSED", "d", figure="flops"),
        one("SAME", "d", ratio=1.0),
    )
    assert [own[0].case_id for own in found.by_case] == ["d", "c", "b", "a"]
