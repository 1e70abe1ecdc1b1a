"""The forest plot of a comparison: a line a phase, and nothing that a wide interval hides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from matplotlib.collections import PolyCollection
from matplotlib.text import Text

from bench.plots import forest
from bench.plots.draw import rc_context
from bench.verdict.comparison import PairComparison
from bench.verdict.report import Finding, Report, Verdict
from tests.support.figures import captions

REST = "3x224x224:cpu:float32:amp=off:contiguous:compile=off:t=auto:retained"


def row(subject: str, ratio: float, verdict: Verdict = "SAME", **more: Any) -> Finding:
    given = {
        "case_id": f"{subject}:inference:b8:{REST}", "phase": "forward", "figure": "time_s",
        "base": 0.01, "value": 0.01 * ratio, "ratio": ratio, "ratio_low": 0.97 * ratio,
        "ratio_high": 1.03 * ratio, "verdict": verdict,
    }  # fmt: skip
    return Finding(**{**given, **more})


def report(
    *findings: Finding, threshold: float = 0.05, thresholds: Mapping[str, float] | None = None
) -> Report[PairComparison]:
    comparison = PairComparison(thresholds=thresholds or {})
    return Report(
        comparison=comparison, base="main", value="HEAD", threshold=threshold, findings=findings
    )


def drawn(*rows: Finding) -> tuple[list[str], list[str]]:
    """The labels of the lines from the top, and what stands right of them."""
    with rc_context():
        figure = forest.forest(report(*rows))
        assert figure is not None
        (axes,) = figure.axes
        figure.canvas.draw()
        labels = [tick.get_text() for tick in axes.get_yticklabels()]
        told = [one.get_text() for one in axes.texts if isinstance(one, Text)]
    return labels, told


def test_every_phase_has_a_line_and_the_largest_slowdown_stands_first() -> None:
    labels, told = drawn(
        row("convnet/conv1", 1.01),
        row("convnet", 1.0, phase="forward"),
        row("convnet", 1.12, "REGRESSED", phase="backward"),
    )
    assert labels == [
        "convnet", "forward", "backward", "convnet/conv1", "forward"
    ]  # fmt: skip
    assert told == ["+0.0 %", "+12.0 %", "+1.0 %"]


def test_cases_that_differ_in_their_last_setting_are_told_apart() -> None:
    one, other = (
        row("net", 1.0, case_id=f"net:inference:b8:{REST[:-8]}{last}")
        for last in ("retained", "system")
    )
    labels, _ = drawn(one, other)
    assert labels[0] != labels[2]


def test_a_wide_or_unknown_interval_does_not_flatten_the_rest() -> None:
    wide = row("a", 1.3, "INCONCLUSIVE", ratio_low=0.01, ratio_high=500.0)
    with rc_context():
        figure = forest.forest(report(wide, row("b", 1.0, ratio_low=None, ratio_high=None)))
    assert figure is not None
    assert figure.axes[0].get_xlim() == pytest.approx((0.5, 2.0))


def test_many_cases_are_cut_and_that_is_said() -> None:
    labels, _ = drawn(*(row(f"net{number}", 1 + number / 1000) for number in range(100)))
    assert len(labels) == 60
    assert labels[0] == "net99"
    with rc_context():
        figure = forest.forest(report(*(row(f"net{n}", 1.0) for n in range(100))))
    assert figure is not None
    written = [" ".join(one.get_text().split()) for one in captions(figure)]
    assert any("70 more cases in ab.csv" in one for one in written)


def test_the_band_of_a_case_is_its_own_threshold() -> None:
    one, other = row("a", 1.02), row("b", 1.0)
    made = report(one, other, thresholds={other.case_id: 0.25})
    with rc_context():
        figure = forest.forest(made)
    assert figure is not None
    axes = figure.axes[0]
    drawn = [each for each in axes.collections if isinstance(each, PolyCollection)]
    bands = [each.get_paths()[0].get_extents().intervalx for each in drawn]
    assert len(bands) == 2
    assert bands[0] == pytest.approx((1 / 1.05, 1.05))
    assert bands[1] == pytest.approx((1 / 1.25, 1.25))
    written = [" ".join(each.get_text().split()) for each in captions(figure)]
    assert any("± 5.0 %, or the case's own threshold" in each for each in written)


@pytest.mark.parametrize(
    ("threshold", "some"),
    [(0.003, {"-0.5 %", "0 %", "+0.5 %"}), (0.05, {"-5 %", "0 %", "+5 %", "+10 %"})],
)
def test_each_tick_has_a_text_of_its_own(threshold: float, some: set[str]) -> None:
    near = row("a", 1.0, ratio_low=0.9995, ratio_high=1.0005)
    with rc_context():
        figure = forest.forest(report(near, threshold=threshold))
        assert figure is not None
        axes = figure.axes[0]
        low, high = axes.get_xlim()
        shown = axes.xaxis.get_major_formatter()
        texts = [shown(float(at)) for at in axes.get_xticks() if low <= at <= high]
    assert len(set(texts)) == len(texts)
    assert some <= set(texts)


def test_nothing_timed_is_no_plot(tmp_path: Path) -> None:
    failed = Finding(case_id="net", verdict="FAILED", note="broken")
    assert forest.draw(tmp_path, report(failed)) is None
    assert not list(tmp_path.iterdir())


def test_both_files_are_left_and_hostile_names_are_text(tmp_path: Path) -> None:
    nasty = row("a$b$<b>\x1b[31m\n" + "x" * 300, 1.2, "REGRESSED")
    assert forest.draw(tmp_path, report(nasty)) == tmp_path / "forest.png"
    assert "\x1b" not in (tmp_path / "forest.svg").read_text(encoding="utf-8")
