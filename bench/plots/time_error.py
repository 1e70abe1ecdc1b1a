"""A plot of time against error: each setting is a point."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from bench.core.text import shortened
from bench.plots.draw import rc_context, save
from bench.plots.style import BLACK, BLUE, FAINT, GREY, VERMILION, value_ticks

NAME = "time-error.png"
LEAST_ERROR = 1e-9  # an exact result has a place on the logarithmic axis
MOST_LABELS = 8

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
                    [max(one.error, LEAST_ERROR) for one in chosen],
                    marker,
                    color=colour,
                    markersize=size,
                    label=LEGEND[role],
                )
        named = sorted((one for one in points if one.role != "other"), key=lambda one: one.time_s)
        for one in named[:MOST_LABELS]:
            axes.annotate(
                shortened(one.name, 44),
                (one.time_s, max(one.error, LEAST_ERROR)),
                textcoords="offset points",
                xytext=(7, 5),
                fontsize=7.5,
                color=FAINT,
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
        axes.margins(x=0.2)
        axes.grid(visible=True)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return save(figure, folder / NAME)
