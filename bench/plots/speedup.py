"""The plot of the speedup of each setting over the plain one, all else equal."""

import math
from collections.abc import Sequence
from itertools import groupby

from matplotlib.figure import Figure

from bench.compare.groups import Direction, Group, Setting, Span, flags, groups, label
from bench.compare.setting_speedup import SettingSpeedup, against_plain
from bench.core import units
from bench.core.text import plain
from bench.plots import marks
from bench.plots.captions import by_group, footer, plain_means, subtitle, titled_panels
from bench.plots.sheet import Captions, sheet
from bench.plots.style import BLUE, FAINT, GREY, ORANGE, VERMILION, Style
from bench.results.results import Results

MOST_ROWS = 45  # rows of a panel; more cannot be read on one page
DIRECTIONS = {
    Direction.FASTER: (Style(BLUE, ">"), "faster"),
    Direction.SLOWER: (Style(VERMILION, "<"), "slower"),
    Direction.UNCLEAR: (Style(GREY, "o"), "no difference found"),
    Direction.UNKNOWN: (Style(ORANGE, "D"), "too few replicates"),
}

Line = tuple[int, Setting]  # batch and setting: a row of the panel


def gain(run: Results) -> dict[str, Figure]:
    """Return the figures by subject and input.  Raises NothingToDraw."""
    medians = run.medians
    return by_group(
        groups(run.rows),
        lambda group: _figure(run, group, list(against_plain(group, medians))),
        "no setting was measured beside the plain one, all else equal",
    )


def _figure(run: Results, whole: Group, ratios: Sequence[SettingSpeedup]) -> Figure | None:
    if not ratios:
        return None
    used = [row for one in ratios for row in one.rows]
    group = whole.of(used)
    lines = {
        device: _lines(group, [one for one in ratios if one.device == device])
        for device in group.devices
    }
    left_out = len({(r.device, r.batch, r.setting) for r in ratios}) - sum(map(len, lines.values()))
    more = f"the {MOST_ROWS} largest effects, {left_out} more not shown" if left_out else ""
    paired = {one.method for one in ratios} <= {"paired"}
    note = "bars: 95 % interval over replicates, each for itself" + ", paired by replicate" * paired
    there = {one.direction for one in ratios}
    made = sheet(
        Captions(
            f"Speedup: how much faster or slower each setting makes {plain(group.subject)}",
            subtitle(run, group, "speedup: time of the plain setting / time of the setting", more),
            footer(
                run,
                group,
                used,
                *plain_means(group),
                note if any(one.span.low for one in ratios) else "",
            ),
        ),
        [marks.rows_height_in(len(_rows(its, []))) for its in lines.values()],
        len(group.modes),
        legend=[
            *(
                marks.legend_entry(*own)
                for direction, own in DIRECTIONS.items()
                if direction in there
            ),
            *marks.flag_entry(used),
        ],
    )
    for device, mode, axes in titled_panels(made, run, group):
        here = [one for one in ratios if (one.device, one.mode) == (device, mode)]
        rows = _rows(lines[device], here)
        spans = [Span(row.value, row.low, row.high) for row in rows if row.value is not None]
        low, high = marks.log_limits([*spans, Span(1.0)], margin=0.08)
        limits = min(low, 1 / 1.15), max(high, 1.15)
        marks.interval_rows(axes, rows, "×", "◀ slower     speedup over plain     faster ▶", limits)
        if spans:
            axes.axvline(1, color=FAINT, linewidth=1.2)
    return made.fitted()


def _lines(group: Group, ratios: Sequence[SettingSpeedup]) -> list[Line]:
    """Return the rows by batch, then setting; only the largest effects if there are too many."""
    effect: dict[Line, float] = {}
    for one in ratios:
        key = (one.batch, one.setting)
        effect[key] = max(effect.get(key, 0.0), abs(math.log(one.span.value)))
    kept = sorted(effect, key=lambda line: -effect[line])[:MOST_ROWS]
    order = group.settings
    return sorted(kept, key=lambda line: (line[0], order.index(line[1])))


def _rows(lines: Sequence[Line], ratios: Sequence[SettingSpeedup]) -> list[marks.IntervalRow]:
    """Return the rows of a panel; each batch has a heading above its settings."""
    found = {(one.batch, one.setting): one for one in ratios}
    rows: list[marks.IntervalRow] = []
    for batch, its in groupby(lines, key=lambda line: line[0]):
        rows.append(marks.IntervalRow(f"batch {batch}", heading=True))
        rows += [_row(label(line[1]), found.get(line)) for line in its]
    return rows


def _row(name: str, one: SettingSpeedup | None) -> marks.IntervalRow:
    if one is None:
        return marks.IntervalRow(name)
    span, (style, _) = one.span, DIRECTIONS[one.direction]
    text, hollow = units.speedup(span.value), bool(flags(one.rows))
    return marks.IntervalRow(name, span.value, span.low, span.high, text, style, hollow)
