"""The sheet of a plot: nothing on it overlaps and nothing is cut, whatever the run holds."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.core.records import Entry, StaticMetrics
from bench.plots import draw, forest
from bench.plots.sheet import MARGIN_IN, Captions, sheet
from bench.results.loading import load
from tests.plots.test_forest import report, row
from tests.support import synthetic
from tests.support.cases import case
from tests.support.figures import captions, collisions, legends
from tests.support.results import replicates, run_of

ROOT = Path(__file__).parents[2]
LONG = "a_package.with_modules:ANetworkWithALongName(depth=101, width_multiplier=2.0, groups=32)"
CPU = "Intel(R) Xeon(R) Platinum 8480C with extensions for matrices"


def times(count: int = 5, **changes: Any) -> list[Entry]:
    one = case(**changes)
    verified = StaticMetrics(case=one, metrics={"relative_error": 1e-7, "peak_bytes": 10**7})
    return [verified, *replicates(one, [0.01 * (1 + 0.01 * at) for at in range(count)])]


def on_three_devices() -> list[Entry]:
    found = synthetic.entries(gpu=True)
    second = [
        dataclasses.replace(one, case=dataclasses.replace(one.case, device="cuda:1"))
        for one in found
        if one.case.device == "cuda:0"
    ]
    return [*found, *second]


def long_names() -> list[Entry]:
    entries: list[Entry] = []
    settings: tuple[dict[str, Any], ...] = (
        {},
        {"amp": "bfloat16", "memory_format": "channels_last", "compile": "max-autotune"},
        {"threads": "16", "allocator": "system", "amp": "bfloat16"},
    )
    for subject in (LONG, f"{LONG}/features.denseblock3.denselayer24.conv2.parametrizations"):
        for more in settings:
            entries += times(subject=subject, **more)
    return entries


def sixty_settings() -> list[Entry]:
    entries: list[Entry] = []
    for at in range(60):
        for mode in ("inference", "training"):
            entries += times(count=2, threads=str(at + 1), mode=mode)
    return entries


def forty_lines() -> list[Entry]:
    entries: list[Entry] = []
    for at in range(40):
        for batch in (1, 8, 64):
            entries += times(count=1, threads=str(at + 1), batch=batch)
    return entries


RUNS: dict[str, Callable[[], list[Entry]]] = {
    "three devices": on_three_devices,
    "long names": long_names,
    "sixty settings": sixty_settings,
    "forty lines": forty_lines,
    "one row without interval": lambda: times(count=1),
}


@pytest.mark.parametrize("name", RUNS)
def test_nothing_in_the_plots_of_a_run_overlaps_or_is_cut(name: str, tmp_path: Path) -> None:
    devices = {"cpu": CPU, "cuda:0": "NVIDIA H200 NVL with a longer name", "cuda:1": "NVIDIA B300"}
    run = run_of(tmp_path / "a-run", RUNS[name](), layers=synthetic.LISTED, devices=devices)
    figures, _ = draw.build(run)
    assert figures
    assert {which: found for which, one in figures.items() if (found := collisions(one))} == {}


def test_nothing_in_the_plots_of_the_example_overlaps_or_is_cut() -> None:
    figures, _ = draw.build(load(ROOT / "results/example"))
    assert "roofline" in figures
    assert {which: found for which, one in figures.items() if (found := collisions(one))} == {}


@pytest.mark.parametrize("count", [1, 100])
def test_nothing_in_a_forest_plot_overlaps_or_is_cut(count: int) -> None:
    rows = [row(f"{number}{LONG}", 1.3, ratio_low=0.01, ratio_high=90.0) for number in range(count)]
    with draw.rc_context():
        figure = forest.forest(report(*rows))
        assert figure is not None
        assert collisions(figure) == []


def made(title: str = "Title", entries: int = 0) -> Figure:
    with draw.rc_context():
        handles = [entry(at) for at in range(entries)]
        found = sheet(Captions(title, "subtitle", "footer"), [1.0, 2.0], 2, legend=handles)
        found.panels[0][0].set_yticks([0, 1], ["a label that takes some space", "short"])
        return found.fitted()


def entry(number: int) -> Line2D:
    return Line2D([], [], label=f"entry {number}")


def test_panels_keep_their_size_whatever_stands_around_them() -> None:
    figure = made(entries=3)
    figure.draw_without_rendering()
    sizes_in = [
        (axes.get_window_extent().width / figure.dpi, axes.get_window_extent().height / figure.dpi)
        for axes in figure.axes
    ]
    assert sizes_in == pytest.approx(
        [pytest.approx(one, abs=0.05) for one in ((3.6, 1.0), (3.6, 1.0), (3.6, 2.0), (3.6, 2.0))]
    )


def test_a_legend_higher_than_the_panels_makes_the_sheet_higher() -> None:
    figure = made(entries=40)
    assert collisions(figure) == []
    (legend,) = legends(figure)
    assert legend.get_window_extent().height > 6 * figure.dpi


@pytest.mark.parametrize("title", ["word " * 80, "x" * 300, "a · b" * 60])
def test_a_long_title_takes_several_lines_and_keeps_the_margins(title: str) -> None:
    figure = made(title=title)
    assert collisions(figure) == []
    first = captions(figure)[0]
    assert first.get_text().count("\n") > 1
    assert first.get_window_extent().x1 <= figure.bbox.width - 0.9 * MARGIN_IN * figure.dpi
