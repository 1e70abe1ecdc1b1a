"""The plot of `bench bisect`: the pairs of each commit, and the probability of each commit."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.core.text import shortened
from bench.plots.draw import rc_context, save
from bench.plots.style import BLUE, FAINT, GREY, VERMILION

NAME = "bisect.png"
MOST_NAMES = 24  # more hashes cannot be read below the axis


def draw(
    names: Sequence[str],
    values: Mapping[int, Sequence[float]],
    shares: Sequence[float],
    title: str,
    folder: Path,
) -> Path:
    """Write the plot as PNG and SVG; return the first.

    names: the commits, the oldest first; number 1 is the first one.
    values: by number, log(commit / GOOD) of each pair.
    """
    with rc_context():
        figure = Figure(figsize=(7.6, 5.0), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for number, pairs in values.items():
            ratios = [math.exp(one) for one in pairs]
            above.plot([number] * len(ratios), ratios, "o", color=BLUE, markersize=4, alpha=0.7)
        above.axhline(1.0, color=GREY, linewidth=0.8)
        above.set_ylabel("time of commit / time of GOOD")
        above.set_title(shortened(title, 90), loc="left")
        numbers = range(1, len(names) + 1)
        top = max(shares)
        colours = [VERMILION if share == top else GREY for share in shares]
        below.bar(numbers, shares, color=colours, width=0.8)
        below.set_ylabel("probability")
        below.set_ylim(0, 1)
        below.set_xlim(0.4, len(names) + 0.6)
        for axes in (above, below):
            axes.grid(axis="y", color=FAINT)
        if len(names) <= MOST_NAMES:
            below.set_xticks(list(numbers), list(names), rotation=60, ha="right", fontsize=7)
        else:
            below.xaxis.set_major_locator(MaxNLocator(integer=True))
            below.set_xlabel("commits after GOOD, the oldest first")
    return save(figure, folder / NAME)
