"""The plot of time against error: no name stands on another."""

import itertools
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from bench.plots import time_error
from bench.plots.time_error import Point, draw

NEAR = [
    Point("plain", 10.0e-3, 1.1e-7, "plain"),
    Point("channels_last", 9.4e-3, 1.2e-7, "front"),
    Point("threads 2", 8.8e-3, 1.1e-7, "front"),
    Point("compile default", 7.2e-3, 1.3e-7, "front"),
    Point("channels_last, compile default", 6.4e-3, 1.35e-7, "best"),
    Point("amp bfloat16", 6.2e-3, 3.1e-3, "front"),
    Point("amp bfloat16, channels_last", 5.9e-3, 3.0e-3, "front"),
    Point("amp bfloat16, channels_last, compile default", 5.0e-3, 3.2e-3, "front"),
]


def figure_of(points: list[Point], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    drawn: list[Figure] = []

    def keep(figure: Figure, path: Path) -> Path:
        drawn.append(figure)
        return path

    monkeypatch.setattr(time_error, "save", keep)
    assert draw(points, "title", "time of a call", folder) == folder / "time-error.png"
    return drawn[0]


@pytest.mark.parametrize(
    "points", [NEAR, [Point(f"setting {n}", 1e-3, 1e-7, "front") for n in range(8)], NEAR[:1]]
)
def test_no_name_stands_on_another(
    points: list[Point], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = figure_of(points, tmp_path, monkeypatch)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    names = [one for one in axes.texts if isinstance(one, Annotation)]
    assert {one.get_text() for one in names} == {one.name for one in points}
    boxes = {one.get_text(): Text.get_window_extent(one) for one in names}
    overlapping = [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes.items(), 2)
        if a.overlaps(b)
    ]
    assert overlapping == []
    legend = axes.get_legend()
    assert legend is not None
    assert not any(box.overlaps(legend.get_window_extent()) for box in boxes.values())
