"""The files of a report for a CI service: junit.xml and GitHub's annotations."""

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.verdict import ci
from bench.verdict.comparison import PairComparison, RunComparison
from bench.verdict.github import annotations
from bench.verdict.junit import junit
from bench.verdict.report import Finding, PairEvidence, Report, Verdict
from tests.support.cases import case as measured

NASTY = 'net<b>&"\x1b[31m:b8,\n%'


def case(verdict: Verdict, name: str = "one", **more: Any) -> Finding:
    given = {
        "phase": "forward", "figure": "latency_median_s", "base": 1.0, "value": 1.2, "ratio": 1.2,
        "note": "5 replicates",
    }  # fmt: skip
    return Finding(case_id=name, verdict=verdict, **{**given, **more})


def checked(
    *findings: Finding, strict: bool = False, commands: Mapping[str, str] | None = None
) -> list[ci.CaseOutcome]:
    comparison = RunComparison(same_machine=True, commands=commands or {})
    report = Report(
        comparison=comparison, base="then", value="now", threshold=0.05, findings=findings,
        cases={one.case_id: measured() for one in findings},
    )  # fmt: skip
    return ci.outcomes(report, strict=strict)


def test_a_test_case_a_case_and_its_verdict_decides_what_it_is() -> None:
    verdicts: tuple[Verdict, ...] = (
        "REGRESSED", "SUSPECT", "FAILED", "MISSING", "INCONCLUSIVE", "ADVISORY", "SAME", "IMPROVED"
    )  # fmt: skip
    root = ElementTree.fromstring(
        junit("bench check", checked(*(case(one, one) for one in verdicts)))
    )
    assert dict(root.attrib) == {
        "name": "bench check",
        "tests": "8",
        "failures": "1",
        "errors": "2",
        "skipped": "3",
    }
    assert {one.get("classname") for one in root} == {"convnet"}
    kinds = {one.get("name"): [child.tag for child in one] for one in root}
    assert kinds == {
        "REGRESSED": ["failure"],
        "SUSPECT": ["skipped"],
        "FAILED": ["error"],
        "MISSING": ["error"],
        "INCONCLUSIVE": ["skipped"],
        "ADVISORY": ["skipped"],
        "SAME": [],
        "IMPROVED": [],
    }


def test_strictly_a_suspect_is_a_failure_and_names_the_way_out() -> None:
    suspect = case("SUSPECT", ratio_low=1.1, ratio_high=1.3)
    cases = checked(suspect, strict=True, commands={"one": "bench ab 0123abc ."})
    root = ElementTree.fromstring(junit("a", cases))
    (failure,) = root.iter("failure")
    assert failure.get("message") == (
        "SUSPECT: forward latency_median_s +20.0 % (+10.0 to +30.0 %) worse (5 replicates)"
    )
    assert failure.text == "to settle it: bench ab 0123abc ."


def test_names_that_xml_cannot_hold_are_text_all_the_same() -> None:
    root = ElementTree.fromstring(junit("a", checked(case("REGRESSED", NASTY))))
    (found,) = root.iter("testcase")
    assert str(found.get("name")).startswith('net<b>&"\N{REPLACEMENT CHARACTER}[31m:b8,')


@pytest.mark.parametrize(
    ("verdict", "strict", "level"),
    [
        ("REGRESSED", False, "error"),
        ("FAILED", False, "error"),
        ("SUSPECT", False, "warning"),
        ("SUSPECT", True, "error"),
    ],
)
def test_github_is_told_what_fails_and_warned_of_what_might(
    verdict: Verdict, strict: bool, level: str
) -> None:
    (line,) = annotations(checked(case(verdict), case("SAME"), strict=strict))
    assert line == (
        f"::{level} title=one::{verdict}: forward latency_median_s +20.0 %25 worse (5 replicates)"
    )


def test_a_name_cannot_end_its_annotation_or_begin_another() -> None:
    (line,) = annotations(checked(case("REGRESSED", "a::error\n::warning title=b,c::d%")))
    assert "\n" not in line
    assert line.startswith("::error title=a%3A%3Aerror%0A%3A%3Awarning title=b%2Cc%3A%3Ad%25::")


def test_github_shows_ten_of_a_kind() -> None:
    many = [case("REGRESSED", str(number), ratio=1 + number / 100) for number in range(40)]
    lines = list(annotations(checked(*many)))
    assert len(lines) == 10
    assert lines[0].startswith("::error title=39::")  # the slowest


def test_a_case_that_is_new_is_skipped_and_one_with_a_new_phase_is_not() -> None:
    (whole,) = checked(case("NEW", figure=None, note=""))
    assert (whole.outcome, whole.sentence) == ("skipped", "NEW")
    (phase,) = compared(row("SAME"), row("NEW", figure="phase", phase="optimizer", ratio=None))
    assert phase.outcome == "passed"


def row(verdict: Verdict, name: str = "one", **more: Any) -> Finding:
    given = {"figure": "time_s", "ratio_low": 1.1, "ratio_high": 1.3, "note": ""}
    return case(verdict, name, **{**given, **more})


def compared(*findings: Finding) -> list[ci.CaseOutcome]:
    report = Report(
        comparison=PairComparison(), base="main", value=".", threshold=0.05, findings=findings
    )
    return ci.outcomes(report)


def test_a_case_of_a_comparison_is_judged_by_its_worst_phase() -> None:
    (one,) = compared(row("SAME"), row("REGRESSED", phase="backward"), row("INCONCLUSIVE"))
    assert one.outcome == "failure"
    assert one.sentence == "REGRESSED: backward +20.0 % (+10.0 to +30.0 %)"


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("FAILED", "error"),
        ("UNTRUSTED", "skipped"),
        ("INCONCLUSIVE", "skipped"),
        ("IMPROVED", "passed"),
        ("DIFFERS", "passed"),
        ("SAME", "passed"),
    ],
)
def test_only_a_confirmed_regression_or_a_failure_fails(verdict: Verdict, outcome: str) -> None:
    (one,) = compared(row(verdict))
    assert one.outcome == outcome


def test_an_undecided_case_says_what_would_have_been_found() -> None:
    (one,) = compared(row("INCONCLUSIVE", evidence=PairEvidence(smallest_effect_ratio=0.12)))
    assert one.sentence.endswith("; would have found +12 %")


def test_a_comparison_that_is_not_believed_is_a_warning() -> None:
    (line,) = annotations(compared(row("UNTRUSTED", note="A differs from itself")))
    assert line.startswith("::warning title=one::UNTRUSTED: forward")
