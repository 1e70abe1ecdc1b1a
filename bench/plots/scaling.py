"""Latency, throughput and memory against batch size, a line per setting."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.compare.groups import Group, Setting, groups, label
from bench.core.records import Row
from bench.core.text import plain
from bench.plots.captions import footer, interval_note, looks, panel_title, plain_means, subtitle
from bench.plots.dots import dots
from bench.plots.marks import bounds, broken, flag_handle, point, say
from bench.plots.quantity import LATENCY, MEMORY, THROUGHPUT, Quantity, rank
from bench.plots.sheet import Words, sheet
from bench.plots.style import GREY, REST, Look, NothingToDraw, batch_ticks, ruler
from bench.results.results import Results


def latency(run: Results) -> dict[str, Figure]:
    """By subject and input.  Raises NothingToDraw."""
    return _all(run, LATENCY)


def throughput(run: Results) -> dict[str, Figure]:
    """By subject and input.  Raises NothingToDraw."""
    return _all(run, THROUGHPUT)


def memory(run: Results) -> dict[str, Figure]:
    """By subject and input.  Raises NothingToDraw."""
    return _all(run, MEMORY)


def _all(run: Results, quantity: Quantity) -> dict[str, Figure]:
    drawn = {
        group.name: _figure(run, group, quantity)
        for group in groups(run.rows)
        if any(quantity.span(row) for row in group.rows)
    }
    if not drawn:
        raise NothingToDraw(f"no whole subject has a {quantity.short}")
    return drawn


def _figure(run: Results, whole: Group, quantity: Quantity) -> Figure:
    group = whole.of(row for row in whole.rows if quantity.span(row))
    one_batch = len(group.batches) == 1
    note = interval_note(group.rows) if _intervals(group, quantity) else ""
    words = Words(
        quantity.title.format(plain(group.subject)),
        subtitle(run, group, f"batch {group.batches[0]}" if one_batch else ""),
        footer(run, group, group.rows, *plain_means(group), note),
    )
    return (dots if one_batch else _lines)(run, group, quantity, words)


def _intervals(group: Group, quantity: Quantity) -> bool:
    spans = (quantity.span(row) for row in group.rows)
    return any(span and span.low and span.high for span in spans)


def _lines(run: Results, group: Group, quantity: Quantity, words: Words) -> Figure:
    style = looks(group, rank(group, quantity))
    page = sheet(
        words,
        [3.1] * len(group.devices),
        len(group.modes),
        legend=_handles(group, style),
        legend_title="setting",
    )
    for line, device in zip(page.panels, group.devices, strict=True):
        for axes, mode in zip(line, group.modes, strict=True):
            rows = [row for row in group.rows if (row.device, row.mode) == (device, mode)]
            axes.set_label(f"{mode} {device}")
            axes.set_title(panel_title(run, group, mode, device))
            axes.set_xlabel("batch (images per call)")
            axes.set_yscale("log")
            axes.grid(visible=True)
            batch_ticks(axes, group.batches)
            for setting in group.settings:
                mine = [row for row in rows if group.setting(row) == setting]
                nudge = _nudge(setting, style, group.batches)
                _line(axes, mine, quantity, style[setting], label(setting), nudge)
            if not rows:
                say(axes, "not measured")
        line[0].set_ylabel(quantity.axis)
        here = [span for r in group.rows if r.device == device and (span := quantity.span(r))]
        low, high = bounds(here)
        line[0].set_ylim(low, high)
        ruler(line[0].yaxis, low, high, quantity.show)
    return page.figure


def _nudge(setting: Setting, style: Mapping[Setting, Look], batches: Sequence[int]) -> float:
    """A factor on x that sets the settings' intervals side by side, within ±2.5 % of the axis."""
    named = [one for one, look in style.items() if look is not REST]
    if setting not in named or len(named) == 1:
        return 1.0
    span = math.log2(batches[-1] / batches[0])
    return float(2 ** (0.05 * span * (named.index(setting) / (len(named) - 1) - 0.5)))


def _line(
    axes: Axes, rows: Sequence[Row], quantity: Quantity, look: Look, name: str, nudge: float
) -> None:
    rows = sorted(rows, key=lambda row: row.batch or 0)
    spans = [span for row in rows if (span := quantity.span(row))]
    if not spans:
        return
    x = [float(row.batch or 0) * nudge for row in rows]
    front = 2 if look is REST else 3
    axes.plot(
        x,
        [span.value for span in spans],
        color=look.color,
        linestyle=look.line,
        linewidth=0.8 if look is REST else 1.5,
        label=name,
        zorder=front,
    )
    for place, span, row in zip(x, spans, rows, strict=True) if look is not REST else ():
        if span.low and span.high:
            axes.vlines(place, span.low, span.high, color=look.color, linewidth=1.2, zorder=front)
        axes.plot(place, span.value, **point(look, hollow=bool(row.flags)), zorder=front + 1)


def _handles(group: Group, style: Mapping[Setting, Look]) -> list[Line2D]:
    named = [setting for setting in group.settings if style[setting] is not REST]
    handles = [
        Line2D(
            [],
            [],
            label=broken(label(setting)),
            **{**point(style[setting], hollow=False), "linestyle": style[setting].line},
            color=style[setting].color,
            linewidth=1.5,
        )
        for setting in named
    ]
    rest = len(group.settings) - len(named)
    if rest:
        handles.append(Line2D([], [], color=GREY, linewidth=0.8, label=f"{rest} other settings"))
    return [*handles, *flag_handle(group.rows)]
