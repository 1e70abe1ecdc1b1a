"""Memory over the time of one step, by what it is for, and what is alive at the peak."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.core import units
from bench.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    NothingToDraw,
    plain,
    short,
)
from bench.results.profile_tables import Profile

COLORS = {
    "parameters": BLUE,
    "buffers": SKY,
    "inputs": GREY,
    "optimizer": PURPLE,
    "gradients": GREEN,
    "activations": ORANGE,
    "temporary": VERMILION,
}
# A colour is never the only difference: neighbours in the pile are hatched in turns.
HATCHES = {"buffers": "//", "optimizer": "\\\\", "gradients": "//", "temporary": ".."}
MOST_ALIVE = 12


def memory(profile: Profile) -> Figure:
    """Stacked areas over time, and the largest of what is alive at the peak.

    Raises NothingToDraw.
    """
    if not profile.memory:
        raise NothingToDraw("memory over time was not recorded")
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    pile, side = figure.subplots(1, 2, width_ratios=(3, 2))
    case = profile.case
    title = f"{plain(case.subject)}, {case.mode}, N = {case.batch}, {case.device}"
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", color=INK)
    _pile(pile, profile)
    _alive(side, profile)
    handles, labels = pile.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), fontsize=8)
    return figure


def _pile(axes: Axes, profile: Profile) -> None:
    assert profile.memory is not None
    data, peak = profile.memory, profile.memory["peak"]
    used = {name: values for name, values in data["bytes"].items() if max(values) > 0}
    times = np.asarray(data["times_s"], dtype=float)
    areas = axes.stackplot(
        times,
        np.asarray(list(used.values()), dtype=float),
        labels=list(used),
        colors=[COLORS.get(name, GREY) for name in used],
        step="post",
        linewidth=0.0,
    )
    for name, area in zip(used, areas, strict=True):
        area.set_hatch(HATCHES.get(name, ""))
        area.set_edgecolor("white")
    top = float(data["peak_bytes"])
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
    for ruler, show in ((axes.xaxis, units.seconds), (axes.yaxis, units.bytes_)):
        ruler.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
        ruler.set_major_formatter(FuncFormatter(lambda value, _, show=show: short(show(value))))
    axes.set_xlabel("time in the step, as the memory profiler slows it")
    axes.set_title("memory alive")


def _alive(axes: Axes, profile: Profile) -> None:
    assert profile.memory is not None
    alive = profile.memory["alive"][:MOST_ALIVE]
    axes.set_axis_off()
    axes.set_title("the largest alive at the peak")
    for number, block in enumerate(alive):
        height = 0.97 - number / MOST_ALIVE * 0.97
        what = " ".join(part for part in (block["category"], block["name"]) if part)
        made = block["operator"].removeprefix("aten::")
        axes.text(
            0.17, height, units.bytes_(block["bytes"]), ha="right", va="top", fontsize=8, color=INK
        )
        axes.text(0.2, height, plain(what, 44), va="top", fontsize=8, color=INK)
        if made:
            axes.text(
                0.2, height - 0.036, plain(f"by {made}", 44), va="top", fontsize=6.5, color=FAINT
            )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
