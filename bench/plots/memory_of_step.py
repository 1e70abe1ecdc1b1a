"""The plot of a profile: memory over one step by its use, and the largest blocks at the peak."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.core import units
from bench.core.text import plain
from bench.plots import style
from bench.plots.sheet import Captions, sheet
from bench.plots.style import FAINT, INK, NothingToDraw, value_ticks
from bench.results.profile_tables import Profile

# Colour and hatch by use; adjacent areas differ in both.
USES = {
    "parameters": (style.BLUE, ""),
    "buffers": (style.SKY, "//"),
    "inputs": (style.GREY, ""),
    "optimizer": (style.PURPLE, "\\\\"),
    "gradients": (style.GREEN, "//"),
    "activations": (style.ORANGE, ""),
    "temporary": (style.VERMILION, ".."),
}
OTHER = (style.GREY, "")
MOST_BLOCKS = 12


def memory(profile: Profile) -> Figure:
    """Draw stacked areas over time, and the largest blocks in use at the peak.

    Raises NothingToDraw.
    """
    if not profile.memory:
        raise NothingToDraw("memory over time was not recorded")
    case = profile.case
    used = {name: its for name, its in profile.memory["bytes"].items() if max(its) > 0}
    made = sheet(
        Captions(
            f"Memory: how much one call of {plain(case.subject)} uses over time",
            f"{case.mode} · batch {case.batch} · {case.device}",
            "the memory profiler slows the call down",
        ),
        [3.1],
        2,
        width_in=4.0,
        legend=[
            Patch(facecolor=color, edgecolor="white", hatch=hatch, label=name)
            for name in reversed(used)
            for color, hatch in (USES.get(name, OTHER),)
        ],
    )
    ((areas, blocks),) = made.panels
    _areas(areas, profile.memory, used)
    _blocks(blocks, profile.memory["alive"][:MOST_BLOCKS])
    return made.fitted()


def _areas(axes: Axes, data: Mapping[str, Any], used: Mapping[str, Sequence[float]]) -> None:
    peak, top = data["peak"], float(data["peak_bytes"])
    times = np.asarray(data["times_s"], dtype=float)
    areas = axes.stackplot(
        times,
        np.asarray(list(used.values()), dtype=float),
        labels=list(used),
        colors=[USES.get(name, OTHER)[0] for name in used],
        step="post",
        linewidth=0.0,
    )
    for name, area in zip(used, areas, strict=True):
        area.set_hatch(USES.get(name, OTHER)[1])
        area.set_edgecolor("white")
    axes.plot([times[peak]], [top], "v", color=INK, markersize=6, clip_on=False)
    right = times[peak] > 0.7 * times[-1]
    axes.annotate(
        f"peak {units.bytes_(top)}",
        (times[peak], top),
        xytext=(-6 if right else 6, 6),
        textcoords="offset points",
        ha="right" if right else "left",
        color=INK,
    )
    axes.set_ylim(0, 1.12 * top)
    axes.set_xlim(times[0], times[-1] if times[-1] > times[0] else times[0] + 1)
    value_ticks(axes.xaxis, 0, 0, "s")
    value_ticks(axes.yaxis, 0, 0, "B")
    axes.set_xlabel("time in the call")
    axes.set_title("memory in use")


def _blocks(axes: Axes, blocks: Sequence[Mapping[str, Any]]) -> None:
    axes.set_axis_off()
    axes.set_title("largest blocks in use at the peak")
    for number, block in enumerate(blocks):
        y = 0.97 - number / MOST_BLOCKS * 0.97
        words = " ".join(part for part in (block["category"], block["name"]) if part)
        made = block["operator"].removeprefix("aten::")
        by = f"by {plain(made, 44)}" if made else ""
        for x, below, text, side, size, color in (
            (0.17, 0.0, units.bytes_(block["bytes"]), "right", 8.0, INK),
            (0.2, 0.0, plain(words, 44), "left", 8.0, INK),
            (0.2, 0.036, by, "left", 6.5, FAINT),
        ):
            place = axes.text(x, y - below, text, transform=axes.transAxes, va="top")
            place.set(ha=side, fontsize=size, color=color)
