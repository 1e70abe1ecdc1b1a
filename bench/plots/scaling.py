"""The plots of latency, throughput and peak memory over batch size, with a line per setting."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.compare.groups import Group, Setting, groups, label
from bench.core.records import Row
from bench.core.text import number_of, plain
from bench.plots import marks
from bench.plots.captions import (
    by_group,
    footer,
    interval_note,
    left_out,
    plain_means,
    styles,
    subtitle,
    titled_panels,
)
from bench.plots.dots import dots
from bench.plots.quantity import LATENCY, MEMORY, THROUGHPUT, Quantity, rank
from bench.plots.sheet import Captions, sheet
from bench.plots.style import OTHER, Style, batch_axis, value_ticks
from bench.results.results import Results


def latency(run: Results) -> dict[str, Figure]:
    """Return the figures by subject and input.  Raises NothingToDraw."""
    return _all(run, LATENCY)


def throughput(run: Results) -> dict[str, Figure]:
    """Return the figures by subject and input.  Raises NothingToDraw."""
    return _all(run, THROUGHPUT)


def peak_memory(run: Results) -> dict[str, Figure]:
    """Return the figures by subject and input.  Raises NothingToDraw."""
    return _all(run, MEMORY)


def _all(run: Results, quantity: Quantity) -> dict[str, Figure]:
    return by_group(
        groups(run.rows),
        lambda group: _figure(run, group, quantity),
        f"no whole subject has a {quantity.short}",
    )


def _figure(run: Results, whole: Group, quantity: Quantity) -> Figure | None:
    group = whole.of(row for row in whole.rows if quantity.span(row))
    spans = [span for row in group.rows if (span := quantity.span(row))]
    if not spans:
        return None
    one_batch = len(group.batches) == 1
    bars = any(span.low and span.high for span in spans)
    note = interval_note(group.rows, quantity.kind) if bars else ""
    captions = Captions(
        quantity.title.format(plain(group.subject)),
        subtitle(run, group, f"batch {group.batches[0]}" if one_batch else ""),
        footer(
            run,
            group,
            group.rows,
            *plain_means(group),
            note,
            left_out(len(whole.rows) - len(group.rows), "case", f"no {quantity.short}"),
        ),
    )
    return (dots if one_batch else _lines)(run, group, quantity, captions)


def _lines(run: Results, group: Group, quantity: Quantity, captions: Captions) -> Figure:
    style = styles(group, rank(group, quantity))
    made = sheet(
        captions,
        [2.3] * len(group.devices),
        len(group.modes),
        legend=_legend(group, style),
        legend_title="setting",
    )
    for device, mode, axes in titled_panels(made, run, group):
        rows = [row for row in group.rows if (row.device, row.mode) == (device, mode)]
        axes.set_yscale("log")
        axes.grid(visible=True)
        batch_axis(axes, group.batches)
        for setting in group.settings:
            points = _points([row for row in rows if group.setting(row) == setting], quantity)
            offset = _offset(setting, style, group.batches)
            points = [marks.CurvePoint(one.x * offset, one.span, one.hollow) for one in points]
            marks.interval_curve(axes, points, style[setting], label(setting))
        if not rows:
            marks.empty_panel(axes, "not measured")
    for device, (first, *_) in zip(group.devices, made.panels, strict=True):
        points = _points([row for row in group.rows if row.device == device], quantity)
        low, high = marks.log_limits([point.span for point in points])
        first.set_ylim(low, high)
        first.set_ylabel(quantity.axis)
        value_ticks(first.yaxis, low, high, quantity.unit)
    return made.fitted()


def _points(rows: Sequence[Row], quantity: Quantity) -> list[marks.CurvePoint]:
    return [
        marks.CurvePoint(float(row.batch or 0), span, hollow=bool(row.flags))
        for row in sorted(rows, key=lambda row: row.batch or 0)
        if (span := quantity.span(row))
    ]


def _offset(setting: Setting, style: Mapping[Setting, Style], batches: Sequence[int]) -> float:
    """Return a factor on x that puts the intervals side by side, within ±2.5 % of the axis."""
    named = [one for one, its in style.items() if its is not OTHER]
    if setting not in named or len(named) == 1:
        return 1.0
    span = math.log2(batches[-1] / batches[0])
    return float(2 ** (0.05 * span * (named.index(setting) / (len(named) - 1) - 0.5)))


def _legend(group: Group, style: Mapping[Setting, Style]) -> list[Line2D]:
    named = [setting for setting in group.settings if style[setting] is not OTHER]
    entries = [marks.legend_entry(style[setting], label(setting), line=True) for setting in named]
    others = len(group.settings) - len(named)
    if others:
        entries.append(marks.legend_entry(OTHER, number_of(others, "other setting"), line=True))
    return [*entries, *marks.flag_entry(group.rows)]
