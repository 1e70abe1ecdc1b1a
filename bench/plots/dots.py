"""Plots of one batch size: a row for each setting, with its value on the right."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from bench.compare.groups import PLAIN, Group, Setting, label
from bench.plots import marks
from bench.plots.captions import titled_panels
from bench.plots.quantity import Quantity, rank
from bench.plots.sheet import Captions, sheet
from bench.plots.style import BLUE, INK, Style
from bench.results.results import Results

MOST_ROWS = 40  # rows of a panel; more cannot be read on one page
PLAIN_STYLE, OTHER_STYLE = Style(INK, "o"), Style(BLUE, "s")


def dots(run: Results, group: Group, quantity: Quantity, captions: Captions) -> Figure:
    """Draw a panel for each mode and device, with a row for each setting.

    The group has a single batch size.
    """
    best = rank(group, quantity)
    ranked = sorted(group.settings, key=lambda setting: best.get(setting, math.inf))
    kept = ranked[:MOST_ROWS]
    if len(kept) < len(ranked):
        more = f"the {len(kept)} best of {len(ranked)} settings"
        if PLAIN in ranked and PLAIN not in kept:
            kept[-1] = PLAIN
            more = f"plain and the {len(kept) - 1} best of {len(ranked)} settings"
        captions = Captions(captions.title, f"{captions.subtitle} · {more}", captions.footer)
    measured = {
        device: {group.setting(r) for r in group.rows if r.device == device}
        for device in group.devices
    }
    shown = {
        device: [setting for setting in group.settings if setting in there and setting in kept]
        for device, there in measured.items()
    }
    made = sheet(
        captions,
        [marks.rows_height_in(len(settings)) for settings in shown.values()],
        len(group.modes),
        legend=marks.flag_entry(group.rows),
    )
    for device, mode, axes in titled_panels(made, run, group):
        here = group.of(r for r in group.rows if (r.device, r.mode) == (device, mode))
        marks.interval_rows(
            axes, _rows(here, shown[device], quantity), quantity.unit, quantity.axis
        )
    return made.fitted()


def _rows(group: Group, settings: Sequence[Setting], quantity: Quantity) -> list[marks.IntervalRow]:
    by_setting = {group.setting(row): row for row in group.rows}
    found = []
    for setting in settings:
        row = by_setting.get(setting)
        span = quantity.span(row) if row else None
        if row is None or span is None:
            found.append(marks.IntervalRow(label(setting)))
            continue
        style = OTHER_STYLE if setting else PLAIN_STYLE
        text, hollow = quantity.show(span.value), bool(row.flags)
        found.append(
            marks.IntervalRow(label(setting), span.value, span.low, span.high, text, style, hollow)
        )
    return found
