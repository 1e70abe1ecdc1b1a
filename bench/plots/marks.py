"""Draw the markers, intervals and curves of all plots."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.compare.groups import Span, flags
from bench.core.records import Row
from bench.plots.style import FAINT, GREY, INK, Style, value_ticks

Limits = tuple[float, float]
PLAIN_STYLE = Style(INK)


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One row of a panel: label, marker, interval, and a text right of the panel.

    value:   the place of the marker; None: a row without data, or a heading.
    low:     the ends of the interval; None if unknown.
    hollow:  whether its data have flags.
    """

    label: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    text: str = ""
    style: Style = PLAIN_STYLE
    hollow: bool = False
    heading: bool = False


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a curve.  hollow: whether its data have flags."""

    x: float
    span: Span
    hollow: bool


def rows_height_in(rows: int) -> float:
    """Return the height of a panel with so many rows, in inches."""
    return 0.1 + 0.24 * rows


def interval_rows(
    axes: Axes, rows: Sequence[IntervalRow], unit: str, xlabel: str, limits: Limits | None = None
) -> None:
    """Draw the rows from the top, over an axis that is logarithmic unless it begins at 0.

    unit:   the unit of the ticks, as for `value_ticks`.
    limits: the limits of the x axis; None: those of `log_limits`.  A marker beyond them is drawn
            at the edge, the end of an interval as an arrow.
    """
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    for tick, row in zip(axes.yaxis.get_major_ticks(), rows, strict=False):
        if row.heading:
            tick.label1.set(fontweight="bold", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    spans = [Span(row.value, row.low, row.high) for row in rows if row.value is not None]
    if not spans:
        axes.set_xticks([])  # else it would go from 0 to 1 of no unit
        empty_panel(axes, "not measured")
        return
    low, high = limits or log_limits(spans, margin=0.08)
    axes.set_xscale("log" if low > 0 else "linear")
    axes.set_xlim(low, high)
    value_ticks(axes.xaxis, low, high, unit)
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(xlabel)
    for y, row in enumerate(rows):
        _interval_row(axes, y, row, low, high)


def _interval_row(axes: Axes, y: int, row: IntervalRow, low: float, high: float) -> None:
    color = row.style.color
    if row.value is None:
        return
    if row.low is not None and row.high is not None:
        axes.hlines(y, max(row.low, low), min(row.high, high), color=color, linewidth=1.4)
        for beyond, edge, arrow in ((row.low < low, low, "<"), (row.high > high, high, ">")):
            if beyond:
                axes.plot(edge, y, marker=arrow, color=color, markersize=4, clip_on=False)
    value = min(max(row.value, low), high)
    axes.plot(value, y, label=row.label, **marker(row.style, hollow=row.hollow))
    if row.text:
        axes.annotate(
            row.text,
            (1.02, y),
            xycoords=("axes fraction", "data"),
            va="center",
            color=FAINT if color == GREY else color,
            annotation_clip=False,
        )


def interval_curve(axes: Axes, points: Sequence[CurvePoint], style: Style, label: str) -> None:
    """Draw a line through the points, with their intervals and the markers of the style."""
    if not points:
        return
    front = 3 if style.marker else 2
    axes.plot(
        [point.x for point in points],
        [point.span.value for point in points],
        color=style.color,
        linestyle=style.line,
        linewidth=1.5 if style.marker else 0.8,
        label=label,
        zorder=front,
    )
    for point in points if style.marker else ():
        low, high = point.span.low, point.span.high
        if low is not None and high is not None:
            axes.vlines(point.x, low, high, color=style.color, linewidth=1.2, zorder=front)
        shape = marker(style, hollow=point.hollow)
        axes.plot(point.x, point.span.value, **shape, zorder=front + 1)


def log_limits(spans: Sequence[Span], margin: float = 0.06) -> Limits:
    """Return limits of a logarithmic axis for the values and their intervals.

    The limits are at most a factor of 3 beyond the values, because a wide interval of two
    replicates would flatten all other rows.
    """
    least, most = min(s.value for s in spans), max(s.value for s in spans)
    low = max(min(s.low or s.value for s in spans), least / 3)
    high = min(max(s.high or s.value for s in spans), most * 3)
    factor = max((high / low) ** margin, 1.1)
    return low / factor, high * factor


def empty_panel(axes: Axes, text: str) -> None:
    """Write into the middle of a panel why it is empty."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=FAINT)


def marker(style: Style, *, hollow: bool) -> dict[str, Any]:
    """Return the keywords of a Line2D that is a single marker; hollow: its row has flags."""
    return {
        "linestyle": "none",
        "marker": style.marker,
        "markersize": 5.5,
        "color": style.color,
        "markeredgecolor": style.color,
        "markerfacecolor": "white" if hollow else style.color,
        "markeredgewidth": 1.3,
    }


def legend_entry(style: Style, text: str, *, line: bool = False) -> Line2D:
    """Return the legend's entry of a style: its marker, with a piece of its line if it has one."""
    entry = Line2D([], [], label=wrapped(text), **marker(style, hollow=False))
    if line:
        entry.set(linestyle=style.line, linewidth=1.5 if style.marker else 0.8)
    return entry


def flag_entry(rows: Sequence[Row]) -> list[Line2D]:
    """Return the legend's entry for hollow markers, if there are any."""
    names = flags(rows)
    text = wrapped("hollow: " + ", ".join(names))
    return [Line2D([], [], label=text, **marker(Style(FAINT), hollow=True))] if names else []


def wrapped(text: str) -> str:
    """Break the text of a legend's entry into several lines."""
    return textwrap.fill(text, 26, break_long_words=False, break_on_hyphens=False)
