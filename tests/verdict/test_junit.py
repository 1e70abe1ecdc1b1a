"""The files of a check for a CI service: junit.xml and GitHub's annotations."""

from xml.etree import ElementTree

import pytest

from bench.verdict import ab_report, ci
from bench.verdict.github import annotations
from bench.verdict.junit import junit
from bench.verdict.report import CaseReport, CheckReport, Finding, Verdict

NASTY = 'net<b>&"\x1b[31m:b8,\n%'


def finding(verdict: Verdict) -> Finding:
    return Finding(
        figure="latency_median_s",
        phase="forward",
        base=1.0,
        value=1.2,
        worse=1.2,
        verdict=verdict,
        note="5 replicates",
    )


def case(verdict: Verdict, name: str = "one", command: str | None = None) -> CaseReport:
    return CaseReport(
        case_id=name, subject="convnet", verdict=verdict, findings=(finding(verdict),),
        command=command,
    )  # fmt: skip


def report(*cases: CaseReport) -> CheckReport:
    return CheckReport(
        run_id="now", baseline_id="then", threshold=0.05, measured=True, has_baseline=True,
        same_machine=True, earlier_runs=0, cases=cases,
    )  # fmt: skip


def test_a_test_case_a_case_and_its_verdict_decides_what_it_is() -> None:
    verdicts: tuple[Verdict, ...] = (
        "REGRESSED", "SUSPECT", "FAILED", "MISSING", "INCONCLUSIVE", "ADVISORY", "SAME", "IMPROVED"
    )  # fmt: skip
    root = ElementTree.fromstring(
        junit(
            "bench check", ci.of_check(report(*(case(one, one) for one in verdicts)), strict=False)
        )
    )
    assert dict(root.attrib) == {
        "name": "bench check",
        "tests": "8",
        "failures": "1",
        "errors": "2",
        "skipped": "3",
    }
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
    suspect = case("SUSPECT", command="bench ab 0123abc .")
    root = ElementTree.fromstring(junit("a", ci.of_check(report(suspect), strict=True)))
    (failure,) = root.iter("failure")
    assert failure.get("message") == (
        "SUSPECT: forward latency_median_s +20.0% worse (5 replicates)"
    )
    assert failure.text == "to settle it: bench ab 0123abc ."


def test_names_that_xml_cannot_hold_are_text_all_the_same() -> None:
    root = ElementTree.fromstring(
        junit("a", ci.of_check(report(case("REGRESSED", NASTY)), strict=False))
    )
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
    (line,) = annotations(ci.of_check(report(case(verdict), case("SAME")), strict=strict))
    assert line == (
        f"::{level} title=one::{verdict}: forward latency_median_s +20.0%25 worse (5 replicates)"
    )


def test_a_name_cannot_end_its_annotation_or_begin_another() -> None:
    nasty = report(case("REGRESSED", "a::error\n::warning title=b,c::d%"))
    (line,) = annotations(ci.of_check(nasty, strict=False))
    assert "\n" not in line
    assert line.startswith("::error title=a%3A%3Aerror%0A%3A%3Awarning title=b%2Cc%3A%3Ad%25::")


def test_github_shows_ten_of_a_kind() -> None:
    many = report(*(case("REGRESSED", str(number)) for number in range(40)))
    assert len(list(annotations(ci.of_check(many, strict=False)))) == 10


def row(verdict: Verdict, name: str = "one", **more: object) -> ab_report.AbRow:
    given = {
        "phase": "forward", "figure": "time_s", "a": 1.0, "b": 1.2, "ratio": 1.2,
        "ratio_low": 1.1, "ratio_high": 1.3, "pairs": 6,
    }  # fmt: skip
    return ab_report.AbRow(case_id=name, verdict=verdict, **{**given, **more})  # type: ignore[arg-type]


def compared(*rows: ab_report.AbRow) -> list[ci.CaseOutcome]:
    return ci.of_ab(ab_report.AbReport(a="main", b=".", threshold=0.05, rows=rows))


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
    (one,) = compared(row("INCONCLUSIVE", smallest_effect_ratio=0.12))
    assert one.sentence.endswith("; would have found +12 %")


def test_a_comparison_that_is_not_believed_is_a_warning() -> None:
    (line,) = annotations(compared(row("UNTRUSTED", note="A differs from itself")))
    assert line.startswith("::warning title=one::UNTRUSTED: forward")
