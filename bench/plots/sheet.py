"""The sheet that a plot is drawn on: title, panels, legend and footer, measured in inches.

The room for each is reckoned from its text, so that none can lie on another.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bench.plots.style import FAINT, INK

MARGIN_IN = 0.18
TITLE_PT, SUBTITLE_PT, TEXT_PT, FOOTER_PT = 13.0, 9.5, 9.0, 7.5
LINE = 1.4  # line height / font size
WIDE = 0.62  # mean width of a character / font size in DejaVu Sans, with some room
HANDLE_IN = 0.75  # of the legend: marker, line and the gaps around them


@dataclass(frozen=True, slots=True)
class Words:
    """What is written around the panels."""

    title: str
    subtitle: str
    footer: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure with its panels, by row and column."""

    figure: Figure
    panels: tuple[tuple[Axes, ...], ...]


def sheet(
    words: Words,
    heights_in: Sequence[float],
    columns: int,
    *,
    panel_in: float = 4.0,
    label_in: float = 0.0,
    legend: Sequence[Artist] = (),
    legend_title: str = "",
) -> Sheet:
    """An empty sheet; y is shared along a row.

    heights_in: of the rows of panels; stretched where the legend is higher.
    panel_in:   width of a panel, short tick labels included.
    label_in:   further room for long tick labels, left of the first column.
    legend:     its entries, which stand right of the panels.
    """
    entries = [str(entry.get_label()) for entry in legend]
    legend_in = HANDLE_IN + text_in("\n".join(entries).split("\n")) if entries else 0.0
    width = label_in + panel_in * columns + legend_in + 2 * MARGIN_IN
    title = _wrapped(words.title, width, TITLE_PT * 1.1)  # bold
    subtitle = _wrapped(words.subtitle, width, SUBTITLE_PT)
    footer = _wrapped(words.footer, width, FOOTER_PT)
    title_in, subtitle_in = _height_in(title, TITLE_PT), _height_in(subtitle, SUBTITLE_PT)
    top_in = MARGIN_IN + title_in + subtitle_in + 0.12
    foot_in = MARGIN_IN + _height_in(footer, FOOTER_PT)
    stretch = max(1.0, _legend_in(entries) / sum(heights_in))
    body_in = sum(heights_in) * stretch
    height = top_in + body_in + foot_in
    figure = Figure(figsize=(width, height), dpi=150)
    left, right = MARGIN_IN / width, (legend_in + MARGIN_IN) / width
    for lines, y_in, size, weight, color in (
        (title, height - MARGIN_IN, TITLE_PT, "bold", INK),
        (subtitle, height - MARGIN_IN - title_in, SUBTITLE_PT, "normal", FAINT),
        (footer, foot_in - 0.4 * MARGIN_IN, FOOTER_PT, "normal", FAINT),
    ):
        text = figure.text(left, y_in / height, "\n".join(lines), va="top", linespacing=1.2)
        text.set(fontsize=size, fontweight=weight, color=color)
        text.set_in_layout(False)
    if legend:
        corner = (1 - right, (foot_in + body_in - 0.25) / height)
        _legend(figure, legend, legend_title, corner)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(
            rect=(left, foot_in / height, 1 - left - right, body_in / height),
            w_pad=0.08,
            h_pad=0.08,
        )
    )
    return Sheet(figure, _panels(figure, heights_in, columns))


def _panels(figure: Figure, heights: Sequence[float], columns: int) -> tuple[tuple[Axes, ...], ...]:
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    panels: list[tuple[Axes, ...]] = []
    for row in range(len(heights)):
        line: list[Axes] = []
        for column in range(columns):
            axes = figure.add_subplot(grid[row, column], sharey=line[0] if line else None)
            if line:
                axes.tick_params(axis="y", labelleft=False, length=0)
            line.append(axes)
        panels.append(tuple(line))
    return tuple(panels)


def _legend(
    figure: Figure, entries: Sequence[Artist], title: str, corner: tuple[float, float]
) -> None:
    drawn = figure.legend(
        handles=list(entries),
        loc="upper left",
        bbox_to_anchor=corner,
        borderaxespad=0,
        handlelength=3.2,
        labelspacing=0.7,
        fontsize=TEXT_PT,
        title=title or None,
        alignment="left",
    )
    drawn.get_title().set_color(FAINT)
    drawn.set_in_layout(False)


def _legend_in(entries: Sequence[str]) -> float:
    """Its height: lines, the gaps between entries, title and margin."""
    lines = sum(entry.count("\n") + 1 for entry in entries)
    return (lines * LINE + len(entries) * 0.7 + 2) * TEXT_PT / 72 + 0.5 if entries else 0.0


def text_in(labels: Sequence[str]) -> float:
    """The width of the longest, in inches."""
    return max((len(one) for one in labels), default=0) * TEXT_PT * WIDE / 72


def _height_in(lines: Sequence[str], size_pt: float) -> float:
    return len(lines) * size_pt * LINE / 72


def _wrapped(text: str, width_in: float, size_pt: float) -> list[str]:
    columns = int((width_in - 2 * MARGIN_IN) * 72 / (size_pt * WIDE))
    # A no-break space before the dot: lines end with it, and none begins with it.
    return textwrap.wrap(text.replace(" · ", "\u00a0· "), max(columns, 20))
