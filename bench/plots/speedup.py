"""What each setting gains over the plain one, all else equal."""

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.compare.groups import Group, Setting, flags, groups, label
from bench.compare.setting_speedup import Direction, Ratio, against_plain
from bench.core import units
from bench.core.text import plain
from bench.plots.captions import footer, panel_title, plain_means, subtitle
from bench.plots.marks import bounds, flag_handle, point, say
from bench.plots.sheet import Words, sheet, text_in
from bench.plots.style import BLUE, FAINT, GREY, INK, VERMILION, Look, NothingToDraw, ruler
from bench.results.results import Results

MOST_ROWS = 45  # of a panel: more cannot be read on one page
LOOKS = {
    Direction.FASTER: Look(BLUE, ">", "-"),
    Direction.SLOWER: Look(VERMILION, "<", "-"),
    Direction.UNCLEAR: Look(GREY, "o", "-"),
}
WORDS = {
    Direction.FASTER: "faster",
    Direction.SLOWER: "slower",
    Direction.UNCLEAR: "no difference\nshown",
}


def gain(run: Results) -> dict[str, Figure]:
    """By subject and input.  Raises NothingToDraw."""
    medians = run.medians
    drawn: dict[str, Figure] = {}
    for group in groups(run.rows):
        ratios = list(against_plain(group, medians))
        if ratios:
            drawn[group.name] = _figure(run, group, ratios)
    if not drawn:
        raise NothingToDraw("no setting was measured beside the plain one, all else equal")
    return drawn


def _figure(run: Results, whole: Group, ratios: Sequence[Ratio]) -> Figure:
    used = [row for one in ratios for row in one.rows]
    group = whole.of(used)
    devices = group.devices
    lines = {device: _lines(group, [r for r in ratios if r.device == device]) for device in devices}
    left_out = len({(r.device, r.batch, r.setting) for r in ratios}) - sum(map(len, lines.values()))
    more = f"the {MOST_ROWS} largest effects, {left_out} more not shown" if left_out else ""
    methods = "paired by replicate" if {r.method for r in ratios} <= {"paired"} else ""
    note = "whiskers: 95 % interval over replicates, each for itself" + (
        f", {methods}" if methods else ""
    )
    intervals = any(one.span.low for one in ratios)
    page = sheet(
        Words(
            f"What does each setting gain on {plain(group.subject)}?",
            subtitle(run, group, "time of the plain setting / time of the setting", more),
            footer(run, group, used, *plain_means(group), note if intervals else ""),
        ),
        [1.25 + 0.25 * _height(lines[device]) for device in devices],
        len(group.modes),
        panel_in=4.2,
        label_in=text_in([label(r.setting) for r in ratios]),
        legend=[*_handles(ratios), *flag_handle(used)],
    )
    for row, device in zip(page.panels, devices, strict=True):
        places = _places(lines[device])
        for axes, mode in zip(row, group.modes, strict=True):
            here = [r for r in ratios if (r.device, r.mode) == (device, mode)]
            axes.set_label(f"{mode} {device}")
            axes.set_title(panel_title(run, group, mode, device), pad=18)
            _panel(axes, [r for r in here if (r.batch, r.setting) in places], places)
        _labels(row, places)
    return page.figure


Line = tuple[int, Setting]  # batch and setting: a line of the panel


def _lines(group: Group, ratios: Sequence[Ratio]) -> list[Line]:
    """By batch, then setting; the largest effects where there are too many."""
    effect: dict[Line, float] = {}
    for one in ratios:
        key = (one.batch, one.setting)
        effect[key] = max(effect.get(key, 0.0), abs(math.log(one.span.value)))
    kept = sorted(effect, key=lambda line: -effect[line])[:MOST_ROWS]
    order = group.settings
    return sorted(kept, key=lambda line: (line[0], order.index(line[1])))


def _height(lines: Sequence[Line]) -> int:
    return len(lines) + len({batch for batch, _ in lines})


def _places(lines: Sequence[Line]) -> dict[Line, int]:
    """The y of each line; every batch has a heading's room above its first."""
    places: dict[Line, int] = {}
    at, before = -1, None
    for batch, setting in lines:
        at += 2 if batch != before else 1
        places[batch, setting] = at
        before = batch
    return places


def _labels(row: Sequence[Axes], places: dict[Line, int]) -> None:
    heads: dict[int, int] = {}
    for (batch, _), at in places.items():
        heads.setdefault(batch, at - 1)
    axes = row[0]
    ticks = [*heads.values(), *places.values()]
    names = [*(f"batch {batch}" for batch in heads), *(label(setting) for _, setting in places)]
    axes.set_yticks(ticks, names)
    for tick in axes.yaxis.get_major_ticks()[: len(heads)]:
        tick.label1.set(fontweight="bold", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(ticks) + 0.7, min(ticks) - 0.7)


def _panel(axes: Axes, ratios: Sequence[Ratio], places: dict[Line, int]) -> None:
    if not ratios:
        say(axes, "not measured")
        return
    axes.set_xscale("log")
    low, high = bounds([r.span for r in ratios], room=0.08)
    low, high = min(low, 1 / 1.15), max(high, 1.15)
    axes.set_xlim(low, high)
    ruler(axes.xaxis, low, high, units.speedup)
    axes.grid(visible=True, axis="x")
    axes.axvline(1, color=FAINT, linewidth=1.2)
    axes.set_xlabel("speedup over plain")
    _corner(axes, 0.0, "◀ slower", "left", VERMILION)
    _corner(axes, 1.0, "faster ▶", "right", BLUE)
    for one in ratios:
        _mark(axes, one, places[one.batch, one.setting])


def _corner(axes: Axes, x: float, text: str, side: Literal["left", "right"], color: str) -> None:
    axes.annotate(
        text,
        (x, 1.0),
        xytext=(0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        color=color,
        ha=side,
    )


def _mark(axes: Axes, one: Ratio, at: int) -> None:
    look, span = LOOKS[one.direction], one.span
    if span.low is not None and span.high is not None:
        axes.hlines(at, span.low, span.high, color=look.color, linewidth=1.4)
    doubted = bool(flags(one.rows))
    axes.plot(span.value, at, label=label(one.setting), **point(look, hollow=doubted))
    axes.annotate(
        units.speedup(span.value),
        (1.02, at),
        xycoords=("axes fraction", "data"),
        va="center",
        color=FAINT if one.direction is Direction.UNCLEAR else look.color,
        annotation_clip=False,
    )


def _handles(ratios: Sequence[Ratio]) -> list[Line2D]:
    present = {one.direction for one in ratios}
    return [
        Line2D([], [], label=WORDS[direction], **point(look, hollow=False))
        for direction, look in LOOKS.items()
        if direction in present
    ]
