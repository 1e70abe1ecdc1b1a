"""The roofline plot: every layer has a place and a name of its own."""

import dataclasses
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.plots.draw import rc_context
from bench.plots.roofline import roofline
from bench.results import run_json
from bench.results.loading import load
from bench.results.results import Results
from tests.support.figures import captions

ROOT = Path(__file__).parents[2]


def in_two_settings(run: Results) -> Results:
    """The run with all its layers measured in channels_last too."""
    layers = tuple(
        dataclasses.replace(
            row, memory_format="channels_last", case_id=f"{row.case_id}:channels_last"
        )
        for row in run.rows
        if "/" in str(row.subject)
    )
    return dataclasses.replace(run, rows=run.rows + layers)


def test_a_layer_measured_in_two_settings_has_a_row_for_each() -> None:
    with rc_context():
        figures = roofline(in_two_settings(load(ROOT / "tests/data/earlier_run")))
    (figure,) = figures.values()
    rates = figure.axes[2]
    layers = ("bn1", "relu1", "pool1", "bn2", "relu2", "pool2")
    labels = [tick.get_text() for tick in rates.get_yticklabels()]
    assert sorted(labels) == sorted(
        name for layer in layers for name in (layer, f"{layer}, channels_last")
    )
    assert len([line for line in rates.lines if str(line.get_label()) in labels]) == 12


def with_changes(run: Results, whole: bool, **changes: str) -> Results:
    """The run with its layers, or with its network, measured in another setting too."""
    more = tuple(
        dataclasses.replace(row, case_id=f"{row.case_id}:{changes}", **changes)  # type: ignore[arg-type]
        for row in run.rows
        if ("/" in str(row.subject)) != whole and row.amp == "off"
    )
    return dataclasses.replace(run, rows=run.rows + more)


def labels_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_network_has_a_point_in_the_settings_of_its_layers_alone() -> None:
    run = load(ROOT / "tests/data/earlier_run")
    with rc_context():
        (figure,) = roofline(with_changes(run, whole=True, grad_mode="enabled")).values()
        (both,) = roofline(in_two_settings(run)).values()
    assert [one for one in labels_of(figure) if "convnet" in one] == ["convnet  36 %"]
    named = [one for one in labels_of(both) if "convnet" in one]
    assert len(named) == 2
    assert len({one.partition("  ")[0] for one in named}) == 2


def test_each_number_of_threads_has_a_figure_with_its_own_limits() -> None:
    run = load(ROOT / "tests/data/earlier_run")
    described = run.description.written()
    (peaks,) = described["machine"]["peaks"]["cpu"]
    slower = {
        name: [{**point, "per_s": point["per_s"] / 2} for point in points]
        for name, points in peaks["arithmetic"].items()
    }
    described["machine"]["peaks"]["cpu"] = [peaks, {**peaks, "threads": "1", "arithmetic": slower}]
    run = dataclasses.replace(run, description=run_json.of(described))
    with rc_context():
        figures = roofline(with_changes(run, whole=False, threads="1"))
    assert list(figures) == ["convnet cpu float32 threads auto", "convnet cpu float32 threads 1"]
    auto, single = (
        " ".join(" ".join(one.get_text() for one in captions(figure)).split())
        for figure in figures.values()
    )
    assert "threads auto" in auto
    assert "threads 1" in single
    assert "conv1  85 %" in labels_of(figures["convnet cpu float32 threads auto"])
    assert "conv1  169 %" in labels_of(figures["convnet cpu float32 threads 1"])


def of_many_layers(run: Results, count: int) -> Results:
    """The run with so many layers at places that differ, in place of its own."""
    rng = random.Random(1)
    (like,) = (row for row in run.rows if (row.subject, row.mode) == ("convnet/conv1", "inference"))
    wholes = [row for row in run.rows if "/" not in str(row.subject)]
    layers = []
    for number in range(count):
        intensity, share = 10 ** rng.gauss(1.2, 0.6), rng.uniform(0.3, 1.0)
        flop_per_s = share * min(3e11, intensity * 2.5e10)
        time_s = 1e9 / flop_per_s
        layers.append(
            dataclasses.replace(
                like, subject=f"convnet/layer{number}", case_id=f"layer{number}",
                pipelined_s=time_s, flops=10**9, bytes_moved=round(1e9 / intensity),
                flop_per_s=flop_per_s, bytes_per_s=flop_per_s / intensity,
            )
        )  # fmt: skip
    return dataclasses.replace(run, rows=(*wholes, *layers))


@pytest.mark.parametrize("count", [3, 16, 54])
def test_labels_stand_inside_the_panel_and_on_no_other(count: int) -> None:
    run = of_many_layers(load(ROOT / "tests/data/earlier_run"), count)
    with rc_context():
        (figure,) = roofline(run).values()
        figure.draw_without_rendering()
    panel = figure.axes[0]
    labels = {one.get_text(): Text.get_window_extent(one) for one in panel.texts}
    assert len(labels) >= min(count, 8)
    inside = panel.get_window_extent()
    for name, box in labels.items():
        assert inside.y0 <= box.y0, name
        assert box.y1 <= inside.y1, name
    overlapping = [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(labels.items(), 2)
        if a.overlaps(b)
    ]
    assert overlapping == []


def test_a_layer_far_above_the_peak_is_inside_the_panel() -> None:
    run = load(ROOT / "tests/data/earlier_run")
    rows = tuple(
        dataclasses.replace(row, flop_per_s=2.5 / 0.85 * row.flop_per_s)
        if row.subject == "convnet/conv1" and row.flop_per_s
        else row
        for row in run.rows
    )
    with rc_context():
        (figure,) = roofline(dataclasses.replace(run, rows=rows)).values()
    assert any(one.startswith("conv1  2") for one in labels_of(figure))
    highest = max(float(np.max(line.get_ydata())) for line in figure.axes[0].lines)
    assert highest < figure.axes[0].get_ylim()[1]


def test_a_panel_without_a_point_has_no_ticks() -> None:
    run = load(ROOT / "tests/data/earlier_run")
    rows = tuple(
        row
        for row in run.rows
        if row.subject in ("convnet/bn1", "convnet/relu1") and row.mode == "inference"
    )
    with rc_context():
        (figure,) = roofline(dataclasses.replace(run, rows=rows)).values()
    above, below = figure.axes
    assert [one.get_text() for one in above.texts] == ["no layer with FLOPs"]
    assert len(above.get_xticks()) == len(above.get_yticks()) == 0
    assert len(below.get_xticks()) > 0


def test_both_limits_and_the_share_of_each_layer_are_said() -> None:
    with rc_context():
        (figure,) = roofline(load(ROOT / "tests/data/earlier_run")).values()
    said = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"conv1  85 %", "convnet  36 %", "188 %"} <= said
    assert figure.axes[0].get_ylabel() == "rate of arithmetic"
