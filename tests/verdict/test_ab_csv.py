"""The table of a comparison: its columns, and what is read of it again."""

from pathlib import Path

import pytest

from bench.verdict import ab_csv
from bench.verdict.report import PIPELINED, Finding, PairEvidence

TIMED = Finding(
    case_id="net:inference", phase="forward", figure="time_s", base=0.25, value=0.5, ratio=2.0,
    ratio_low=1.5, ratio_high=2.5, verdict="INCONCLUSIVE", note="=so, \u2028 it is",
    evidence=PairEvidence(
        pairs=6, p_adjusted=0.125, smallest_effect_ratio=0.5, pairs_needed=80, outlook="more pairs"
    ),
)  # fmt: skip
FAILED = Finding(case_id="other", verdict="FAILED", note="side B: crash")
HEAD = (
    "case_id,phase,figure,a,b,ratio,ratio_low,ratio_high,verdict,pairs,p_adjusted,"
    "smallest_effect_ratio,pairs_needed,outlook,note"
)


def test_each_finding_is_a_line_and_the_columns_stay_as_they_are(tmp_path: Path) -> None:
    ab_csv.write(tmp_path / "ab.csv", [FAILED])
    lines = (tmp_path / "ab.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [HEAD, "other,,,,,,,,FAILED,,,,,,side B: crash"]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    ab_csv.write(tmp_path / "ab.csv", [TIMED, FAILED])
    assert ab_csv.read(tmp_path / "ab.csv") == [TIMED, FAILED]


def test_a_table_of_an_earlier_version_is_read_without_the_columns_that_it_lacks(
    tmp_path: Path,
) -> None:
    table = tmp_path / "ab.csv"
    table.write_text("case_id,phase,figure,ratio,verdict\nnet,forward,time_s,1.5,REGRESSED\n")
    assert ab_csv.read(table) == [
        Finding(case_id="net", phase="forward", figure="time_s", ratio=1.5, verdict="REGRESSED")
    ]


def test_a_time_is_found_by_its_phase_and_figure_or_the_reason_is_said(tmp_path: Path) -> None:
    table = tmp_path / "ab.csv"
    ab_csv.write(table, [FAILED, TIMED])
    assert ab_csv.time_of(table, "forward") == TIMED
    with pytest.raises(ab_csv.NoTimeError, match=r"^side B: crash$"):
        ab_csv.time_of(table, "forward", PIPELINED)
    ab_csv.write(table, [])
    with pytest.raises(ab_csv.NoTimeError, match=r"^nothing was measured$"):
        ab_csv.time_of(table, "forward")
