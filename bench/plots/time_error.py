"""A plot of time against error: each setting is a point."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import Bbox, BboxBase

from bench.core.text import shortened
from bench.plots.draw import rc_context, save
from bench.plots.style import BLACK, BLUE, FAINT, GREY, VERMILION, value_ticks

NAME = "time-error.png"
LEAST_ERROR = 1e-9  # an exact result has a place on the logarithmic axis
MOST_LABELS = 8
# Heights of a name above its point, in points: the first at which it is free.
ABOVE = (5, -12, 16, -23, 27, -34, 38, -45, 49, 60)
MARKER_HIGH = 8.0  # points

Role = Literal["best", "plain", "front", "other"]
LOOKS: dict[Role, tuple[str, str, float]] = {
    "best": ("*", VERMILION, 13.0),
    "plain": ("s", BLACK, 6.0),
    "front": ("o", BLUE, 6.0),
    "other": ("o", GREY, 5.0),
}
LEGEND: dict[Role, str] = {
    "best": "the best",
    "plain": "plain",
    "front": "nothing beats it in time, memory and error",
    "other": "something does",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A setting.  time_s: of a call or of an image.  error: relative, against float64."""

    name: str
    time_s: float
    error: float
    role: Role


def _write_names(
    figure: Figure, axes: Axes, named: Sequence[Point], every: Sequence[Point]
) -> None:
    """Write the names beside their points: towards the middle of the panel, on no other name.

    A name is inside the panel and on no point, where there is such a place.
    """
    figure.draw_without_rendering()  # from then on the points have their places
    panel = axes.get_window_extent()
    half = 0.5 * MARKER_HIGH * figure.dpi / 72
    middles = [axes.transData.transform(_place(one)) for one in every]
    around = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in middles]
    taken: list[Bbox] = []
    for one in named:
        left, _ = axes.transAxes.inverted().transform(axes.transData.transform(_place(one)))
        side = 1 if left < 0.5 else -1
        name = axes.annotate(
            shortened(one.name, 44),
            _place(one),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            xytext=(7 * side, ABOVE[0]),
            fontsize=7.5,
            color=FAINT,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.5, "shrinkB": 4},
        )
        places: dict[int, Bbox] = {}
        for above in ABOVE:
            name.xyann = (7 * side, above)
            name.get_window_extent()  # puts the text at its new place
            places[above] = Text.get_window_extent(name)
        chosen = _first_free(places, panel, taken, around)
        name.xyann = (7 * side, chosen)
        taken.append(places[chosen])


def _place(one: Point) -> tuple[float, float]:
    return one.time_s, max(one.error, LEAST_ERROR)


def _first_free(
    places: Mapping[int, Bbox], panel: BboxBase, names: Sequence[Bbox], points: Sequence[Bbox]
) -> int:
    """Return the key of the first place inside the panel on no name and no point.

    If there is none, points do not count; then neither does the panel.
    """
    inside = {key: box for key, box in places.items() if panel.y0 < box.y0 and box.y1 < panel.y1}
    for allowed, things in ((inside, [*names, *points]), (inside, names), (places, names)):
        for key, box in allowed.items():
            if not any(box.overlaps(other) for other in things):
                return key
    return next(iter(places))


def draw(points: Sequence[Point], title: str, x_label: str, folder: Path) -> Path | None:
    """Write the plot as PNG and SVG; return the first, or None without any point."""
    if not points:
        return None
    folder.mkdir(exist_ok=True)
    with rc_context():
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        for role, (marker, colour, size) in LOOKS.items():
            chosen = [one for one in points if one.role == role]
            if chosen:
                axes.plot(
                    [one.time_s for one in chosen],
                    [_place(one)[1] for one in chosen],
                    marker,
                    color=colour,
                    markersize=size,
                    label=LEGEND[role],
                )
        times = [one.time_s for one in points]
        value_ticks(axes.xaxis, min(times), max(times), "s")
        axes.set_xlabel(x_label)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        low = min(max(one.error, LEAST_ERROR) for one in points)
        high = max(max(one.error, LEAST_ERROR) for one in points)
        if high < 10 * low:  # a decade at least, so that an axis has ticks
            middle = math.sqrt(low * high)
            axes.set_ylim(middle / 5, middle * 5)
        axes.set_ylabel("relative error against float64")
        axes.margins(x=0.2, y=0.12)
        axes.grid(visible=True)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        named = sorted((one for one in points if one.role != "other"), key=lambda one: one.time_s)
        _write_names(figure, axes, named[:MOST_LABELS], points)
    return save(figure, folder / NAME)
