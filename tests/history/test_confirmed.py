"""The sentences about a finding after the comparison of its two commits."""

import dataclasses
from pathlib import Path

import pytest

from bench.history import confirmed, findings, sentences, series
from bench.history.findings import Finding
from bench.verdict import ab_csv, report
from bench.verdict.report import PairEvidence, Verdict
from tests.support.cases import PLAIN
from tests.support.history import line_of, runs_of


def finding(after: float = 0.12) -> Finding:
    seconds = [0.1 * (1 + 0.001 * (number % 3)) for number in range(20)]
    seconds[10:] = [after * one / 0.1 for one in seconds[10:]]
    gathered = series.gather(runs_of(seconds), line_of(30))
    (found,) = findings.examine(gathered.series).findings
    return found


def compared(
    folder: Path,
    verdict: Verdict,
    ratio: float = 1.2,
    figure: str = "time_s",
    half: float | None = 0.02,
    note: str = "worker ended",
) -> None:
    folder.mkdir(parents=True)
    compared = report.Finding(
        case_id=PLAIN.case_id,
        phase="forward",
        figure=figure,
        base=0.1,
        value=0.1 * ratio,
        ratio=ratio,
        ratio_low=None if half is None else ratio - half,
        ratio_high=None if half is None else ratio + half,
        verdict=verdict,
        evidence=PairEvidence(pairs=16, outlook="go on" if verdict == "INCONCLUSIVE" else None),
        note=note if figure != "time_s" else "",
    )
    ab_csv.write(folder / ab_csv.FILE, [compared])


@pytest.mark.parametrize(
    ("after", "verdict", "confirmation"),
    [
        (0.12, "REGRESSED", "confirmed"),
        (0.12, "SAME", "taken back"),
        (0.12, "IMPROVED", "taken back"),
        (0.12, "INCONCLUSIVE", "undecided"),
        (0.12, "UNTRUSTED", "undecided"),
        (0.08, "IMPROVED", "confirmed"),
        (0.08, "REGRESSED", "taken back"),
    ],
)
def test_a_finding_is_confirmed_by_its_own_direction_alone(
    tmp_path: Path, after: float, verdict: Verdict, confirmation: str
) -> None:
    found = finding(after)
    compared(tmp_path / "ab", verdict)
    answer = confirmed.read(tmp_path / "ab", found)
    assert answer is not None
    assert answer.confirmation == confirmation


@pytest.mark.parametrize(
    ("after", "ratio", "half", "confirmation"),
    [
        (0.12, 1.02, 0.05, "taken back"),  # +20 % was found, and at most 7 % are there
        (0.12, 1.02, 0.30, "undecided"),
        (0.12, 15.0, None, "undecided"),  # the budget ended after one pair
        (0.08, 0.98, 0.05, "taken back"),
        (0.08, 0.98, 0.30, "undecided"),
    ],
)
def test_an_undecided_comparison_takes_back_only_what_its_interval_leaves_out(
    tmp_path: Path, after: float, ratio: float, half: float | None, confirmation: str
) -> None:
    compared(tmp_path / "ab", "INCONCLUSIVE", ratio, half=half)
    answer = confirmed.read(tmp_path / "ab", finding(after))
    assert answer is not None
    assert answer.confirmation == confirmation
    if confirmation == "undecided":
        assert answer.told.startswith("more pairs are needed: --confirm resumes; ")


def test_the_sentence_says_what_the_comparison_measured(tmp_path: Path) -> None:
    found = finding()
    compared(tmp_path / "ab", "REGRESSED", 1.19)
    told = confirmed.answered(found, confirmed.read(tmp_path / "ab", found))
    text = sentences.sentence(told, "x")
    assert text.startswith("x is 20.0 % slower")
    assert text.endswith("; confirmed: +19.0 % (17.0 to 21.0) in 16 pairs between the two commits")
    back = dataclasses.replace(told, confirmation="taken back", told="SAME")
    assert sentences.sentence(back, "x").startswith("taken back (SAME): x is 20.0 % slower")


def test_a_comparison_that_failed_decides_nothing(tmp_path: Path) -> None:
    compared(tmp_path / "ab", "FAILED", figure="")
    answer = confirmed.read(tmp_path / "ab", finding())
    assert answer is not None
    assert answer == confirmed.Answer("undecided", "the comparison failed: worker ended")


def test_the_reason_of_a_failure_may_have_any_character(tmp_path: Path) -> None:
    note = "worker\u2028ended\x85, early"
    compared(tmp_path / "ab", "FAILED", figure="", note=note)
    answer = confirmed.read(tmp_path / "ab", finding())
    assert answer == confirmed.Answer("undecided", f"the comparison failed: {note}")


def test_without_a_comparison_a_finding_is_a_suspect(tmp_path: Path) -> None:
    found = finding()
    assert confirmed.answered(found, confirmed.read(tmp_path, found)) is found
    assert sentences.sentence(found, "x").startswith("suspect: x is")


def test_each_series_and_pair_of_commits_has_a_folder_of_its_own(tmp_path: Path) -> None:
    found = finding()
    other = dataclasses.replace(found, series=dataclasses.replace(found.series, machine="another"))
    one, two = (confirmed.folder_of(tmp_path, each) for each in (found, other))
    assert one != two
    assert one.parent == tmp_path / "confirmed"
    assert one.name.startswith("00000000-00000000-")


@pytest.mark.parametrize(
    ("half", "size"),
    [(1.3, "+20.0 % (too wide)"), (0.5, "+20.0 % (-30.0 to 70.0)"), (None, "no interval yet")],
)
def test_an_interval_that_says_nothing_is_told_in_words(
    tmp_path: Path, half: float | None, size: str
) -> None:
    compared(tmp_path / "ab", "INCONCLUSIVE", 1.2, half=half)
    answer = confirmed.read(tmp_path / "ab", finding())
    assert answer is not None
    assert answer.told.endswith(f"; {size} in 16 pairs between the two commits")
