"""One batch size only: every setting has a row of its own, with its value beside it."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.groups import Group, Setting, label
from bench.core.records import Row
from bench.plots.captions import panel_title
from bench.plots.marks import bounds, flag_handle, point, say
from bench.plots.quantity import Quantity, rank
from bench.plots.sheet import Words, sheet, text_in
from bench.plots.style import BLUE, INK, Look, ruler
from bench.results.results import Results

MOST_ROWS = 40  # of a panel: more cannot be read on one page


def dots(run: Results, group: Group, quantity: Quantity, words: Words) -> Figure:
    """A panel per mode and device, a row per setting; the group has one batch size."""
    best = rank(group, quantity)
    kept = sorted(group.settings, key=lambda setting: best.get(setting, math.inf))[:MOST_ROWS]
    if len(kept) < len(group.settings):
        more = f"the {len(kept)} best of {len(group.settings)} settings"
        words = Words(words.title, f"{words.subtitle} · {more}", words.footer)
    shown = {
        device: [
            setting
            for setting in group.settings
            if setting in kept
            and any(r.device == device and group.setting(r) == setting for r in group.rows)
        ]
        for device in group.devices
    }
    page = sheet(
        words,
        [1.0 + 0.27 * len(settings) for settings in shown.values()],
        len(group.modes),
        panel_in=4.4,
        label_in=text_in([label(setting) for setting in kept]),
        legend=flag_handle(group.rows),
    )
    for line, (device, settings) in zip(page.panels, shown.items(), strict=True):
        for axes, mode in zip(line, group.modes, strict=True):
            rows = [row for row in group.rows if (row.device, row.mode) == (device, mode)]
            axes.set_label(f"{mode} {device}")
            axes.set_title(panel_title(run, group, mode, device))
            axes.set_xlabel(quantity.axis)
            axes.grid(visible=True, axis="x")
            _dot_panel(axes, {group.setting(row): row for row in rows}, settings, quantity)
        line[0].set_yticks(range(len(settings)), [label(setting) for setting in settings])
        line[0].tick_params(axis="y", length=0)
        line[0].set_ylim(len(settings) - 0.4, -0.6)
    return page.figure


def _dot_panel(
    axes: Axes, rows: Mapping[Setting, Row], settings: Sequence[Setting], quantity: Quantity
) -> None:
    there = {s: span for s, row in rows.items() if s in settings and (span := quantity.span(row))}
    if not there:
        say(axes, "not measured")
        return
    for setting, span in there.items():
        at = settings.index(setting)
        look = Look(INK if not setting else BLUE, "o", "-")
        if span.low and span.high:
            axes.hlines(at, span.low, span.high, color=look.color, linewidth=1.2)
        axes.plot(span.value, at, **point(look, hollow=bool(rows[setting].flags)))
        axes.annotate(
            quantity.show(span.value),
            (1.02, at),
            xycoords=("axes fraction", "data"),
            va="center",
            color=look.color,
            annotation_clip=False,
        )
    low, high = bounds(list(there.values()), room=0.08)
    axes.set_xlim(low, high)
    axes.set_xscale("log")
    ruler(axes.xaxis, low, high, quantity.show)
