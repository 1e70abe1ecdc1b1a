"""How every plot looks: colours, ticks and words.

Object-oriented matplotlib alone: no pyplot, so no window, no global figure, and nothing of the
user's own style sheet beyond what `STYLE` leaves open.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis as Ruler
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


def plain(text: str, most: int = 64) -> str:
    """On one line, without control characters, shortened in the middle to `most` characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    if len(line) <= most:
        return line
    head = (most - 1) * 2 // 3
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"


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
