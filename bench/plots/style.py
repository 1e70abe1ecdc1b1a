"""Colours, markers, line styles and ticks that all plots share.

Only the object-oriented part of matplotlib is used: pyplot would open windows and keep figures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)


class NothingToDraw(Exception):  # noqa: N818 - no error: a run without layers has no layer plot
    """The run has no data for a plot; the message says what is missing."""


# These must be set while a figure is saved as well, because matplotlib makes ticks only then.
RC_PARAMS: dict[str, Any] = {
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
class Style:
    """A colour, a marker and a line style; two styles never differ in the colour alone."""

    color: str
    marker: str = "o"
    line: str | tuple[int, tuple[int, ...]] = "-"


STYLES: tuple[Style, ...] = (
    Style(BLACK, "o", "-"),
    Style(BLUE, "s", "--"),
    Style(VERMILION, "^", "-."),
    Style(GREEN, "D", ":"),
    Style(PURPLE, "v", (0, (5, 1))),
    Style(ORANGE, "P", (0, (3, 1, 1, 1))),
    Style(SKY, "X", (0, (1, 1))),
    Style("#8C564B", "*", (0, (8, 2))),  # not Okabe-Ito's: an eighth that no yellow gives
)
OTHER = Style(GREY, "", "-")  # settings beyond the eighth: thin lines without markers


# The ticks of a decade, by the decades that an axis covers more than; below, they are even.
TICKS: Mapping[float, Sequence[float]] = {
    3.2: (1,),
    1.6: (1, 3),
    0.75: (1, 2, 5),
    0.35: (1, 1.5, 2, 3, 5, 7),
}


def value_ticks(axis: Axis, low: float, high: float, unit: str) -> None:
    """Return a few ticks over [low, high] with their unit: 20 ms, 1 s.

    low: 0 on a linear axis.
    """
    decades = math.log10(high / low) if low > 0 and high > low else 0.0
    subs = next((subs for more, subs in TICKS.items() if decades > more), None)
    axis.set_major_locator(
        LogLocator(base=10, subs=subs, numticks=9)
        if subs
        else MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10])
    )
    axis.set_minor_locator(NullLocator())
    # "2 k×" is no number that people write.
    shown = StrMethodFormatter("{x:g}×") if unit == "×" else EngFormatter(unit)
    axis.set_major_formatter(shown if unit else FuncFormatter(_number))


def _number(value: float, _: int | None = None) -> str:
    """`0.3`, `20`, `3 k`: without a unit, `300 m` would be read as metres."""
    return f"{value:g}" if abs(value) < 1000 else str(EngFormatter()(value))


def batch_axis(axes: Axes, batches: Sequence[int]) -> None:
    """Set a tick at each measured batch size, with a label if there is space."""
    axes.set_xscale("log", base=2)
    span = math.log2(batches[-1] / batches[0]) or 1.0
    shown: list[int] = []
    for batch in batches:
        if not shown or math.log2(batch / shown[-1]) / span > 0.07:
            shown.append(batch)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(FixedLocator(batches))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(batches[0] / 2 ** (0.09 * span), batches[-1] * 2 ** (0.09 * span))
    axes.set_xlabel("batch (images per call)")
