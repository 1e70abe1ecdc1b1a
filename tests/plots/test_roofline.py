"""The roofline plot: every layer has a place and a name of its own."""

import dataclasses
from pathlib import Path

from bench.plots.draw import rc_context
from bench.plots.roofline import roofline
from bench.results.loading import load
from bench.results.results import Results

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


def test_both_limits_and_the_share_of_each_layer_are_said() -> None:
    with rc_context():
        (figure,) = roofline(load(ROOT / "tests/data/earlier_run")).values()
    said = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"conv1  85 %", "convnet  36 %", "188 %"} <= said
    assert figure.axes[0].get_ylabel() == "rate of arithmetic"
