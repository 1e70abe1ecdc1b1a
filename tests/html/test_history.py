"""The history on the page: claims first, then a chart for each series."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from bench.history import findings, series
from bench.history.blessed import Blessing
from bench.history.store import LeftOut, Run
from bench.html.history import HEIGHT, WIDTH, Shown, section
from tests.support.cases import PLAIN, case
from tests.support.history import line_of, run_of, runs_of, sha

SLOWER = [0.1 * (1 + 0.001 * (number % 3)) * (1.2 if number >= 10 else 1) for number in range(20)]
FLAT = [0.1 * (1 + 0.001 * (number % 3)) for number in range(20)]


def shown(runs: list[Run], **more: list[Blessing]) -> Shown:
    gathered = series.gather(runs, line_of(100), more.get("blessings", []))
    return section(findings.examine(gathered.series), gathered.left, "the headline")


def svg_of(runs: list[Run], **more: list[Blessing]) -> str:
    return str(shown(runs, **more).groups[0].charts[0].svg)


def classes(svg: str) -> Mapping[str, int]:
    found = re.findall(r'<(?:path|rect) class="([^"]+)"', svg)
    return {one: found.count(one) for one in found}


def test_a_series_that_is_slower_comes_first_with_its_claim_and_its_command() -> None:
    quiet = [run_of(n, t, case(batch=1), run_id=f"q{n}") for n, t in enumerate(FLAT)]
    page = shown([*quiet, *runs_of(SLOWER)])
    (claim,) = page.claims
    assert claim.kind == "loss"
    assert claim.command.startswith("bench ab 00000000 00000000 --subject convnet --batch 8")
    first, second = page.groups[0].charts
    assert first.change.startswith("20.0 % slower")
    assert first.command.startswith("bench run --subject convnet --batch 8")
    assert second.change == ""
    assert page.census == "2 of 2 series judged"


def test_the_worst_finding_that_stands_decides_the_colour_of_a_chart() -> None:
    found = findings.examine(series.gather(runs_of(SLOWER), line_of(100)).series)
    (loss,) = found.findings
    back = dataclasses.replace(loss, confirmation="taken back")
    turned = dataclasses.replace(loss.step, before=loss.step.after, after=loss.step.before)
    gain = dataclasses.replace(loss, step=turned)
    for own, kind in (((back, loss), "loss"), ((gain, loss), "loss"), ((back, gain), "gain")):
        page = section(dataclasses.replace(found, findings=own), [], "the headline")
        assert page.groups[0].charts[0].kind == kind


def test_a_chart_has_its_levels_and_its_step() -> None:
    svg = svg_of(runs_of(SLOWER))
    assert classes(svg) == {"through": 1, "dots": 1, "level": 2, "step loss": 1}
    assert svg.count("h0") == 20


def test_everything_lies_inside_the_picture() -> None:
    svg = svg_of(runs_of(SLOWER))
    points = re.findall(r"M(-?[\d.]+) (-?[\d.]+)", svg)
    assert len(points) > 20
    for x, y in points:
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT


def test_commits_that_were_not_measured_are_a_gap_and_break_the_line() -> None:
    runs = [run_of(n if n < 10 else n + 30, t) for n, t in enumerate(FLAT)]
    svg = svg_of(runs)
    assert "30 commits not measured" in svg
    through = re.search(r'class="through" d="([^"]+)"', svg)
    assert through is not None
    assert through[1].count("M") == 2


def test_another_version_is_a_mark_and_a_disturbed_run_is_pale() -> None:
    runs = [
        run_of(
            n,
            t,
            marks={"torch": "2.13.0" if n < 10 else "2.14.0"},
            row={"flags": "contended" if n == 3 else ""},
        )
        for n, t in enumerate(FLAT)
    ]
    svg = svg_of(runs)
    assert classes(svg)["mark"] == 1
    assert "torch 2.13.0 → 2.14.0" in svg
    assert classes(svg)["disturbed"] == 1


def test_an_accepted_level_is_marked_and_its_reason_is_told() -> None:
    accepted = Blessing(PLAIN.case_id, sha(10), "padding <b>was</b> wrong")
    page = shown(runs_of(SLOWER), blessings=[accepted])
    (chart,) = page.groups[0].charts
    assert page.claims == ()
    assert "accepted: padding <b>was</b> wrong" in chart.told
    assert "padding &lt;b&gt;was" in chart.svg
    assert "<b>" not in chart.svg


def test_runs_that_are_left_out_are_named_by_their_reason() -> None:
    gathered = series.gather(runs_of(FLAT), line_of(30))
    left = [LeftOut(run.path, "no commit is stored in it") for run in runs_of(FLAT)[:4]]
    page = section(findings.examine(gathered.series), left, "")
    assert page.left == ("left out: 4 runs: no commit is stored in it (run0, run1, run2)",)


def test_notes_stand_below_what_is_left_out() -> None:
    gathered = series.gather(runs_of(FLAT), line_of(30))
    left = [LeftOut(Path("run"), "no commit is stored in it")]
    page = section(findings.examine(gathered.series), left, "", ["the blessing of a is not used"])
    assert page.left == (
        "left out: 1 run: no commit is stored in it (run)",
        "the blessing of a is not used",
    )


def test_one_run_alone_has_a_chart() -> None:
    assert classes(svg_of(runs_of([0.1])))["dots"] == 1
