"""One batch size only: every setting has a row of its own, with its value beside it."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from bench.read.plot_data import Group, Setting, label, panel_title
from bench.read.plot_marks import bounds, flag_handle, point, say
from bench.read.plot_quantity import Quantity, rank
from bench.read.plot_style import BLUE, INK, Look, Sheet, Words, label_in, legend, ruler, sheet
from bench.read.table import RunData
from bench.records import Row

MOST_ROWS = 40  # of a panel: more cannot be read on one page


def dots(run: RunData, group: Group, quantity: Quantity, words: Words) -> Sheet:
    """A panel per mode and device, a row per setting; the group has one batch size."""
    best = rank(group, quantity)
    shown = sorted(group.settings, key=lambda setting: best.get(setting, math.inf))[:MOST_ROWS]
    settings = [setting for setting in group.settings if setting in shown]
    height = 1.0 + 0.27 * len(settings)
    names = [label(setting) for setting in settings]
    if len(settings) < len(group.settings):
        more = f"the {len(settings)} best of {len(group.settings)} settings"
        words = Words(words.title, f"{words.subtitle} · {more}", words.footer)
    flagged = flag_handle(group.rows)
    page = sheet(
        words,
        len(group.devices),
        len(group.modes),
        panel_in=(4.4, height),
        label_in=label_in(names),
        legend_in=2.3 if flagged else 0.1,
    )
    for line, device in zip(page.panels, group.devices, strict=True):
        for axes, mode in zip(line, group.modes, strict=True):
            rows = [row for row in group.rows if (row.device, row.mode) == (device, mode)]
            axes.set_label(f"{mode} {device}")
            axes.set_title(panel_title(run, group, mode, device))
            axes.set_xlabel(quantity.axis)
            axes.grid(visible=True, axis="x")
            _dot_panel(axes, {group.setting(row): row for row in rows}, settings, quantity)
        line[0].set_yticks(range(len(settings)), names)
        line[0].set_ylim(len(settings) - 0.4, -0.6)
    legend(page, flagged)
    return page


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
    axes.set_xscale("log")
    low, high = bounds(list(there.values()), room=0.08)
    axes.set_xlim(low, high)
    ruler(axes.xaxis, low, high, quantity.show)
