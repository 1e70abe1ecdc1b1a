"""How every plot looks: sheet, colours, ticks and words.

Object-oriented matplotlib alone: no pyplot, so no window, no global figure, and nothing of the
user's own style sheet beyond what `STYLE` leaves open.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis as Ruler
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator


class NothingToDraw(Exception):  # noqa: N818 - no error: a run without layers has no layer plot
    """The run has no data for a plot; the message says what is missing."""


# In force while a figure is built and while it is saved: ticks are made as late as that.
STYLE: dict[str, Any] = {
    "text.parse_math": False,  # a subject may be called `a$b$`
    "text.usetex": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.edgecolor": "#7a7a7a",
    "axes.labelcolor": "#333333",
    "axes.axisbelow": True,
    "xtick.color": "#7a7a7a",
    "ytick.color": "#7a7a7a",
    "xtick.labelcolor": "#333333",
    "ytick.labelcolor": "#333333",
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "bench",  # the same run gives the same file
}

INK, FAINT = "#222222", "#6b6b6b"
# Okabe & Ito, "Color Universal Design" (2008), without their yellow: too pale for a line.
BLACK, BLUE, VERMILION, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY, GREY = "#CC79A7", "#E69F00", "#56B4E9", "#9A9A9A"


@dataclass(frozen=True, slots=True)
class Look:
    """A colour is never the only difference between two settings."""

    color: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]


LOOKS: tuple[Look, ...] = (
    Look(BLACK, "o", "-"),
    Look(BLUE, "s", "--"),
    Look(VERMILION, "^", "-."),
    Look(GREEN, "D", ":"),
    Look(PURPLE, "v", (0, (5, 1))),
    Look(ORANGE, "P", (0, (3, 1, 1, 1))),
    Look(SKY, "X", (0, (1, 1))),
    Look("#8C564B", "*", (0, (8, 2))),  # not Okabe-Ito's: an eighth that no yellow gives
)
REST = Look(GREY, ".", "-")  # settings beyond the eighth


@dataclass(frozen=True, slots=True)
class Words:
    """What is written around the panels."""

    title: str
    subtitle: str
    footer: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure with its panels, by row and column, and a place for the legend beside them."""

    figure: Figure
    panels: tuple[tuple[Axes, ...], ...]
    legend: Axes


MARGIN_IN = 0.18
TITLE_PT, SUBTITLE_PT, FOOTER_PT = 13.0, 9.5, 7.5
LINE = 1.4  # line height / font size
WIDE = 0.62  # mean width of a character / font size in DejaVu Sans, with some room


def sheet(
    words: Words,
    rows: int,
    columns: int,
    *,
    panel_in: tuple[float, float] = (4.0, 3.1),
    heights_in: Sequence[float] = (),
    label_in: float = 0.0,
    legend_in: float = 2.0,
) -> Sheet:
    """An empty sheet; y is shared along a row.

    panel_in:  width and height of one panel, short tick labels included.
    heights_in: of the rows, where they differ.
    label_in:  further room for long tick labels, left of the first column.
    legend_in: width of the legend's column.
    """
    width = label_in + panel_in[0] * columns + legend_in + 2 * MARGIN_IN
    title = _wrapped(words.title, width, TITLE_PT * 1.1)  # bold
    subtitle = _wrapped(words.subtitle, width, SUBTITLE_PT)
    footer = _wrapped(words.footer, width, FOOTER_PT)
    title_in = len(title) * TITLE_PT * LINE / 72
    top_in = title_in + len(subtitle) * SUBTITLE_PT * LINE / 72 + MARGIN_IN + 0.12
    foot_in = len(footer) * FOOTER_PT * LINE / 72 + MARGIN_IN
    heights = heights_in or [panel_in[1]] * rows
    height = sum(heights) + top_in + foot_in
    figure = Figure(figsize=(width, height), dpi=150)
    left = MARGIN_IN / width
    for lines, y_in, size, weight, color in (
        (title, height - MARGIN_IN, TITLE_PT, "bold", INK),
        (subtitle, height - MARGIN_IN - title_in, SUBTITLE_PT, "normal", FAINT),
        (footer, foot_in - 0.4 * MARGIN_IN, FOOTER_PT, "normal", FAINT),
    ):
        text = figure.text(left, y_in / height, "\n".join(lines), va="top", linespacing=1.2)
        text.set(fontsize=size, fontweight=weight, color=color)
        text.set_in_layout(False)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(
            rect=(left, foot_in / height, 1 - 2 * left, (height - foot_in - top_in) / height),
            w_pad=0.08,
            h_pad=0.08,
        )
    )
    return _panels(figure, heights, columns, legend_in / panel_in[0])


def _panels(figure: Figure, heights: Sequence[float], columns: int, legend: float) -> Sheet:
    grid = figure.add_gridspec(
        len(heights),
        columns + 1,
        width_ratios=[*(1.0,) * columns, legend],
        height_ratios=heights,
    )
    panels: list[tuple[Axes, ...]] = []
    for row in range(len(heights)):
        line: list[Axes] = []
        for column in range(columns):
            axes = figure.add_subplot(grid[row, column], sharey=line[0] if line else None)
            if line:
                axes.tick_params(axis="y", labelleft=False, length=0)
            line.append(axes)
        panels.append(tuple(line))
    side = figure.add_subplot(grid[:, -1], label="legend")
    side.set_axis_off()
    return Sheet(figure, tuple(panels), side)


def label_in(labels: Sequence[str], size_pt: float = 9.0) -> float:
    """The room that tick labels need, in inches."""
    return max((len(one) for one in labels), default=0) * size_pt * WIDE / 72


def _wrapped(text: str, width_in: float, size_pt: float) -> list[str]:
    columns = int((width_in - 2 * MARGIN_IN) * 72 / (size_pt * WIDE))
    return [line for part in text.split("\n") for line in textwrap.wrap(part, max(columns, 20))]


def plain(text: str, most: int = 64) -> str:
    """On one line, without control characters, shortened in the middle to `most` characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    if len(line) <= most:
        return line
    head = (most - 1) * 2 // 3
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"


def legend(sheet_: Sheet, handles: Sequence[Line2D | Patch], title: str = "") -> None:
    """The legend, outside the data."""
    if not handles:
        return
    drawn = sheet_.legend.legend(
        handles=list(handles),
        loc="upper left",
        borderaxespad=0,
        handlelength=3.2,
        labelspacing=0.7,
        title=title or None,
        alignment="left",
    )
    drawn.get_title().set_color(FAINT)


def ruler(axis: Ruler, low: float, high: float, show: Callable[[float], str]) -> None:
    """Ticks of a logarithmic axis over [low, high] that bear their own unit: 20 ms, 1 s.

    show: what `units` makes of a value in SI units.
    """
    decades = math.log10(high / low) if low > 0 and high > low else 0.0
    if decades > 3.2:
        axis.set_major_locator(LogLocator(base=10, subs=(1.0,), numticks=9))
    elif decades > 1.6:
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0), numticks=9))
    elif decades > 0.75:
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=9))
    else:
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(show(value))))


def short(text: str) -> str:
    """`10.0 ms` → `10 ms`: a tick stands where it stands, its zeros say nothing."""
    number, space, unit = text.partition(" ")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return number + space + unit


def batch_ticks(axes: Axes, batches: Sequence[int]) -> None:
    """A tick at each measured batch size, labelled where there is room."""
    axes.set_xscale("log", base=2)
    span = math.log2(batches[-1] / batches[0]) or 1.0
    shown: list[int] = []
    for batch in batches:
        if not shown or math.log2(batch / shown[-1]) / span > 0.07:
            shown.append(batch)
    axes.xaxis.set_major_locator(FixedLocator([float(batch) for batch in shown]))
    axes.xaxis.set_minor_locator(FixedLocator([float(batch) for batch in batches]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.set_xlim(batches[0] / 2 ** (0.09 * span), batches[-1] * 2 ** (0.09 * span))
