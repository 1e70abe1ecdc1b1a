"""The answer of the comparison at the end of a search."""

import math
from pathlib import Path
from typing import Any

import pytest

from bench.bisect import confirmation
from bench.bisect.search import UnconfirmedError
from bench.verdict import ab_csv
from bench.verdict.report import PIPELINED, Finding, PairEvidence, Verdict


def row(verdict: Verdict, phase: str = "forward", figure: str = "time_s", **more: Any) -> Finding:
    return Finding(case_id="net", phase=phase, figure=figure, verdict=verdict, **more)


def written(folder: Path, *findings: Finding) -> Path:
    ab_csv.write(folder / "ab.csv", findings)
    return folder


@pytest.mark.parametrize(
    ("verdict", "differs"), [("REGRESSED", True), ("SAME", False), ("IMPROVED", False)]
)
def test_the_time_of_the_searched_phase_decides(
    tmp_path: Path, verdict: Verdict, differs: bool
) -> None:
    others: list[Verdict] = ["SAME", "REGRESSED"]
    other = others[not differs]  # all that was not searched says the opposite
    rows = [row(other, "backward"), row(other, figure="operators"), row(other, figure=PIPELINED)]
    assert confirmation.differs(written(tmp_path, *rows, row(verdict)), "forward") is differs


def test_the_times_of_calls_back_to_back_decide_where_they_were_searched(tmp_path: Path) -> None:
    folder = written(tmp_path, row("SAME"), row("REGRESSED", figure=PIPELINED))
    assert confirmation.differs(folder, "forward, back-to-back")
    assert not confirmation.differs(folder, "forward")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            [
                row(
                    "INCONCLUSIVE", ratio=1.031, ratio_low=0.998, ratio_high=1.065,
                    evidence=PairEvidence(pairs=1), note="fewer than 6 pairs decide nothing",
                )
            ],
            r"^INCONCLUSIVE, \+3\.1 % \(-0\.2 to \+6\.5 %\) in 1 pair: fewer than 6 pairs",
        ),
        ([row("UNTRUSTED", note="the null case differed")], "^UNTRUSTED: the null case differed$"),
        (
            [
                row("REGRESSED", figure="operators"),
                Finding(case_id="net", verdict="FAILED", note="no"),
            ],
            "^phase forward has no times: no$",
        ),
        ([], "^phase forward has no times: nothing was measured$"),
    ],
)  # fmt: skip
def test_what_decides_nothing_is_no_answer_and_says_why(
    tmp_path: Path, rows: list[Finding], why: str
) -> None:
    with pytest.raises(UnconfirmedError, match=why):
        confirmation.differs(written(tmp_path, *rows), "forward")


def test_a_comparison_without_a_table_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(UnconfirmedError, match=r"ab\.csv cannot be read: No such file"):
        confirmation.differs(tmp_path, "forward")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_change_is_compared_with_half_of_its_size_and_at_most_five_percent(sign: int) -> None:
    found = [confirmation.threshold(sign * math.log(times)) for times in (1.03, 1.08, 1.5)]
    assert found == [pytest.approx(0.015), pytest.approx(0.04), 0.05]
