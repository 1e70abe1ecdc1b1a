"""The explanation as text, for a terminal, a report and a spreadsheet."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench.explain import text
from bench.explain.explanation import Explanation, explain
from bench.results.profile_parts import GraphBreak
from tests.explain.sides import CONV, FC, MODULES, PLAIN, side


def explained() -> Explanation:
    a = side(PLAIN, modules=MODULES, counted={"operators": 4, "peak_bytes": 1e6})
    b = side(
        {**PLAIN, CONV: (3, 14e-3), ("fc", "forward", "aten::copy_"): (2, 1e-3)},
        modules=MODULES,
        counted={"operators": 8, "peak_bytes": 1e6},
    )
    return explain(a, b)


def test_a_terminal_shows_the_difference_then_sentences_then_what_is_left() -> None:
    lines = text.lines([explained()])
    assert lines[0].startswith("convnet inference N=8")
    assert lines[1].startswith("B takes +5.00 ms (95 %: ")
    assert lines[1].endswith(" a step: 36.0 ms → 41.0 ms")
    assert lines[2].startswith("1. forward of `layer1.conv` +4.00 ms (80 % of the slowdown): ")
    assert lines[3].startswith("2. forward of `fc` +1.00 ms (20 % of the slowdown): ")
    assert "counted: operators 4 → 8" in lines
    assert "copies and conversions: `fc` 0 → 2" in lines


def test_a_difference_within_the_noise_is_told_as_such_before_any_cause() -> None:
    a = side(PLAIN, noise=(1.0, 1.1, 0.9))
    same = explain(a, side(PLAIN, noise=(1.1, 0.9, 1.03)))
    assert same.headline.startswith("no difference beyond the noise of the two: B takes +")
    assert " (95 %: -" in same.headline
    more = {**PLAIN, ("fc", "forward", "aten::copy_"): (2, 1e-5)}
    of_parts = explain(a, side(more, noise=(1.1, 0.9, 1.03)))
    assert of_parts.causes
    assert of_parts.headline.startswith(
        "parts differ, but the whole step not beyond the noise of the two: B takes +"
    )
    few = explain(side(PLAIN, noise=(1.0, 1.1)), side(PLAIN, noise=(2.0, 2.2)))
    assert few.headline == (
        "B takes +37.8 ms a step: 37.8 ms → 75.6 ms; 2 rounds cannot tell this from noise"
    )


def test_a_report_has_code_for_names_and_no_markup_of_a_subject() -> None:
    broken = GraphBreak(reason="<b>|x", place="net.py:1", code="y[0]", modules=("layer1",))
    a = side(PLAIN, counted={"graph_breaks": 0})
    found = explain(a, side(PLAIN, counted={"graph_breaks": 1}, breaks=(broken,)))
    section = text.markdown([found])
    assert section.startswith("\n### Why\n")
    assert "<code>layer1</code>" in section
    assert "<b>" not in section
    assert "&lt;b&gt;&#124;x" in section


def test_without_explanations_there_is_no_section() -> None:
    assert text.markdown([]) == ""


def test_many_cases_stay_within_the_room_of_the_section_and_the_others_are_counted() -> None:
    section = text.markdown([explained()] * 100)
    assert len(section.encode()) <= text.MOST_BYTES
    told = section.count("**: B takes ")
    assert 1 < told < 100
    said = f"\n{100 - told} more cases have no room here: difference.csv has every part.\n"
    assert section.endswith(said)
    assert section.count("| part | A | B |") == told  # no case is cut


def test_a_disturbed_profile_is_told_in_the_report_too() -> None:
    found = replace(explained(), contended=True)
    said = "other work disturbed the profile: the times of the parts are doubtful"
    assert said in text.lines([found])
    assert f"But {said}." in text.markdown([found])
    assert said not in text.markdown([explained()])


def test_few_cases_are_all_there() -> None:
    section = text.markdown([explained()] * 2)
    assert section.count("**: B takes ") == 2
    assert "no room" not in section


def test_the_table_has_every_part_and_the_parts_add_up(tmp_path: Path) -> None:
    found = explained()
    text.write_table(tmp_path, [found])
    with (tmp_path / text.TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    total_s = math.fsum(float(row["difference_s"]) for row in rows)
    assert total_s == pytest.approx(found.whole.difference_s)
    assert (rows[0]["operator"], rows[0]["evidence"], rows[0]["cause"]) == (
        "aten::mkldnn_convolution",
        "counted",
        "1",
    )
    assert [row["cause"] for row in rows if row["operator"] == FC[2]] == [""]
