"""Points, intervals and notes, as they look in every plot."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.compare.groups import Span, flags
from bench.core.records import Row
from bench.plots.style import FAINT, Look


def point(look: Look, *, hollow: bool) -> dict[str, Any]:
    """Keywords of a Line2D that is a marker alone; hollow says that its row is flagged."""
    return {
        "linestyle": "none",
        "marker": look.marker,
        "markersize": 5.5,
        "markeredgecolor": look.color,
        "markerfacecolor": "white" if hollow else look.color,
        "markeredgewidth": 1.3,
    }


def bounds(spans: Sequence[Span], room: float = 0.06) -> tuple[float, float]:
    """Ends of a logarithmic axis: the values and their intervals.

    An interval reaches at most a factor of 3 beyond the values: one of two replicates would
    flatten all the rest.
    """
    least, most = min(s.value for s in spans), max(s.value for s in spans)
    low = max(min(s.low or s.value for s in spans), least / 3)
    high = min(max(s.high or s.value for s in spans), most * 3)
    factor = max((high / low) ** room, 1.1)
    return low / factor, high * factor


def times(ratio: float) -> str:
    """`1.234` → `1.23×`, `15.44` → `15.4×`, `1500` → `1500×`."""
    return f"{ratio:.3g}×" if ratio < 999.5 else f"{ratio:.0f}×"


def say(axes: Axes, text: str) -> None:
    """In the middle of an empty panel."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=FAINT)


def flag_handle(rows: Sequence[Row]) -> list[Line2D]:
    """What a hollow marker says, if there is one."""
    names = flags(rows)
    if not names:
        return []
    text = broken("hollow: " + ", ".join(names))
    return [Line2D([], [], **point(Look(FAINT, "o", "-"), hollow=True), label=text)]


def broken(text: str, most: int = 26) -> str:
    """A legend's entry on several lines."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
