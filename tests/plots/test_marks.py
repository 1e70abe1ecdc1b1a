"""Rows with intervals, as every plot draws them."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.plots import devices, dots, forest, marks, memory_of_step, roofline, speedup
from bench.plots.draw import rc_context
from bench.plots.marks import IntervalRow, interval_rows
from bench.plots.style import BLUE, GREY, STYLES, Style, value_ticks


@pytest.fixture
def axes() -> Iterator[Axes]:
    with rc_context():
        yield Figure().subplots()


def drawn(axes: Axes) -> list[tuple[str, float, float]]:
    """Marker, x and y of each."""
    found = []
    for line in axes.lines:
        x, y = np.asarray(line.get_xydata(), dtype=float)[0].tolist()
        found.append((str(line.get_marker()), x, y))
    return found


def test_a_row_has_its_label_its_marker_its_interval_and_its_text(axes: Axes) -> None:
    rows = [IntervalRow("a", 2.0, 1.0, 4.0, "2 s", Style(BLUE, "s")), IntervalRow("b", 3.0)]
    interval_rows(axes, rows, "s", "time")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert drawn(axes) == [("s", 2.0, 0.0), ("o", 3.0, 1.0)]
    (interval,) = axes.collections
    assert interval.get_segments()[0].tolist() == [[1.0, 0.0], [4.0, 0.0]]  # type: ignore[attr-defined]
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [("2 s", BLUE)]
    assert axes.get_xlabel() == "time"
    assert axes.get_xscale() == "log"


def test_the_first_row_stands_at_the_top(axes: Axes) -> None:
    interval_rows(axes, [IntervalRow("a", 2.0), IntervalRow("b", 3.0)], "s", "time")
    bottom, top = axes.get_ylim()
    assert bottom > 1 > 0 > top


def test_an_interval_beyond_the_limits_ends_in_an_arrow_at_the_edge(axes: Axes) -> None:
    rows = [IntervalRow("a", 1.0, 0.1, 1.5), IntervalRow("b", 1.0, 0.9, 9.0)]
    interval_rows(axes, rows, "×", "speedup", (0.5, 2.0))
    assert drawn(axes) == [
        ("<", 0.5, 0.0), ("o", 1.0, 0.0), (">", 2.0, 1.0), ("o", 1.0, 1.0)
    ]  # fmt: skip
    ends = [one.get_segments()[0][:, 0].tolist() for one in axes.collections]  # type: ignore[attr-defined]
    assert ends == [[0.5, 1.5], [0.9, 2.0]]


def test_a_heading_is_bold_and_has_no_marker(axes: Axes) -> None:
    interval_rows(axes, [IntervalRow("batch 1", heading=True), IntervalRow("a", 1.0)], "s", "time")
    weights = [tick.label1.get_fontweight() for tick in axes.yaxis.get_major_ticks()]
    assert weights == ["bold", "normal"]
    assert drawn(axes) == [("o", 1.0, 1.0)]


def test_rows_without_values_keep_their_labels_and_say_so(axes: Axes) -> None:
    interval_rows(axes, [IntervalRow("a"), IntervalRow("b")], "s", "time")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axes.texts] == ["not measured"]
    assert len(axes.get_xticks()) == 0


@pytest.mark.parametrize(
    ("low", "high", "unit", "shown"),
    [
        (0.008, 0.03, "s", ["10 ms", "15 ms", "20 ms", "30 ms"]),
        (0.002, 0.0031, "s", ["2 ms", "2.2 ms", "2.4 ms", "2.6 ms", "2.8 ms", "3 ms"]),
        (0.2, 2.5, "s", ["200 ms", "500 ms", "1 s", "2 s"]),
        (0.4, 2.5, "×", ["0.5×", "1×", "2×"]),
        (8e6, 6e8, "B/s", ["10 MB/s", "30 MB/s", "100 MB/s", "300 MB/s"]),
        (0.2, 7.0, "", ["0.2", "0.5", "1", "2", "5"]),
        (90.0, 2e3, "", ["100", "200", "500", "1 k", "2 k"]),
        (0.08, 1.5e4, "", ["0.1", "1", "10", "100", "1 k", "10 k"]),
    ],
)
def test_ticks_are_few_and_bear_their_unit(
    axes: Axes, low: float, high: float, unit: str, shown: list[str]
) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    value_ticks(axes.xaxis, low, high, unit)
    places = [float(x) for x in axes.get_xticks() if low <= x <= high]
    assert [axes.xaxis.get_major_formatter()(x) for x in places] == shown


STYLES_OF_A_PLOT = {
    "lines": STYLES,
    "dots": (dots.PLAIN_STYLE, dots.OTHER_STYLE),
    "forest": tuple(forest.STYLES.values()),
    "roofline": tuple(style for style, _ in roofline.KINDS.values()),
    "speedup": tuple(style for style, _ in speedup.DIRECTIONS.values()),
}


@pytest.mark.parametrize("name", STYLES_OF_A_PLOT)
def test_a_colour_is_never_the_only_difference(name: str) -> None:
    styles = STYLES_OF_A_PLOT[name]
    assert len({style.marker for style in styles}) == len({s.color for s in styles}) == len(styles)


def test_neighbouring_areas_of_the_memory_plot_differ_in_their_hatch() -> None:
    hatches = [hatch for _, hatch in memory_of_step.USES.values()]
    assert all(a != b for a, b in itertools.pairwise(hatches))


def test_transfers_have_markers_and_lines_that_no_setting_has() -> None:
    own = {marker for marker, _ in devices.TRANSFER_SHAPES.values()}
    assert not own & {style.marker for style in STYLES}
    assert len({line for _, line in devices.TRANSFER_SHAPES.values()}) == len(own) == 2


def test_a_legend_entry_breaks_between_words_alone() -> None:
    entry = marks.legend_entry(Style(GREY), "NVIDIA H200, fastest (amp bfloat16, channels_last)")
    assert str(entry.get_label()) == "NVIDIA H200, fastest (amp\nbfloat16, channels_last)"
