"""The plot of the time of each layer, forward and backward."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.compare.groups import Group, Span, flags, groups
from bench.core import units
from bench.core.records import Row
from bench.core.text import plain
from bench.plots import marks
from bench.plots.captions import by_group, footer, left_out, subtitle, titled_panels
from bench.plots.layer_table import PHASES, TIMES, Table, layer_table, network_order
from bench.plots.sheet import Captions, sheet
from bench.plots.style import BLUE, INK, ORANGE, Style
from bench.results.results import Results

MOST_LAYERS = 40
COLORS = {"forward": BLUE, "backward": ORANGE}
HATCHES = {"forward": "", "backward": "////"}
NO_MARKER = Style(INK, "")  # not needed, since the end of the bars is the value


def layers(run: Results) -> dict[str, Figure]:
    """Return the figures by subject and input.  Raises NothingToDraw."""
    return by_group(
        groups(run.rows, layers=True),
        lambda group: _figure(run, group),
        "no layer was measured (subjects SUBJECT/LAYER or SUBJECT/*)",
    )


def _figure(run: Results, whole: Group) -> Figure | None:
    tables = [one for device in whole.devices if (one := layer_table(run, whole, device))]
    if not tables:
        return None
    order = network_order(run, whole)
    rows = [row for table in tables for row in table.all_rows]
    group = whole.of(rows)
    shown = {table.device: _shown(table, order) for table in tables}
    most = max(len(table.layers) for table in tables)
    more = f"the {MOST_LAYERS} slowest of {most} layers" if most > MOST_LAYERS else ""
    made = sheet(
        Captions(
            f"Time per layer: where {plain(group.subject)} spends its time",
            subtitle(run, group, _under(tables), more),
            footer(run, group, rows, *_notes(tables)),
        ),
        [marks.rows_height_in(len(shown[table.device])) for table in tables],
        len(group.modes),
        legend=_legend(rows),
    )
    by_device = {table.device: table for table in tables}
    for device, mode, axes in titled_panels(made, run, group, _phases):
        _panel(axes, by_device[device], mode, shown[device])
    return made.fitted()


def _phases(mode: str) -> str:
    return "forward + backward" if mode == "training" else "forward"


def _notes(tables: Sequence[Table]) -> list[str]:
    notes = ["%: share of all layers"]
    if any((span := t.span(row)) and span.low for t in tables for row in t.all_rows):
        notes.append("black lines: 95 % interval of each phase")
    if any(t.counts.get(layer, 1) > 1 for t in tables for layer in t.layers):
        notes.append("×n: n equal layers, one of them measured and drawn, all in its share")
    notes += [left_out(one.without, "layer", f"no {TIMES[one.column][2]}") for one in tables]
    return notes


def _under(tables: Sequence[Table]) -> str:
    said = {f"batch {table.batch}, {table.setting}" for table in tables}
    if len(said) == 1:
        return said.pop()
    return "; ".join(f"{t.device}: batch {t.batch}, {t.setting}" for t in tables)


def _shown(table: Table, order: Mapping[str, int]) -> list[str]:
    def cost_s(layer: str) -> float:
        return max(table.total_s(mode, layer) for mode in table.rows)

    kept = sorted(table.layers, key=cost_s, reverse=True)[:MOST_LAYERS]
    return sorted(kept, key=lambda layer: order.get(layer, len(order)))


def _panel(axes: Axes, table: Table, mode: str, shown: Sequence[str]) -> None:
    """Draw a row for each layer, with its phases as stacked bars."""
    longest = max(table.total_s(mode, layer) for mode in table.rows for layer in shown)
    xlabel = f"{TIMES[table.column][2]} of one call (median)"
    rows = [_row(table, mode, layer) for layer in shown]
    marks.interval_rows(axes, rows, "s", xlabel, (0.0, longest * 1.12))
    for y, layer in enumerate(shown):
        left_s = 0.0
        for phase in PHASES:
            row = table.rows.get(mode, {}).get(layer, {}).get(phase)
            span = table.span(row) if row else None
            if row and span:
                _bar(axes, y, left_s, span, phase, hollow=bool(row.flags))
                left_s += span.value


def _row(table: Table, mode: str, layer: str) -> marks.IntervalRow:
    if not (total_s := table.total_s(mode, layer)):
        return marks.IntervalRow(table.shown(layer))
    text = f"{units.seconds(total_s)}  {_percent(table.share(mode, layer))}"
    return marks.IntervalRow(table.shown(layer), total_s, text=text, style=NO_MARKER)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 else "<1 %"


def _bar(axes: Axes, y: int, left_s: float, span: Span, phase: str, *, hollow: bool) -> None:
    color = COLORS[phase]
    axes.barh(
        y,
        span.value,
        left=left_s,
        height=0.66,
        facecolor="white" if hollow else color,
        edgecolor=color if hollow else "white",
        linewidth=1.2 if hollow else 0.6,
        hatch="" if hollow else HATCHES[phase],
    )
    if span.low is not None and span.high is not None:
        axes.hlines(y, left_s + span.low, left_s + span.high, color=INK, linewidth=0.9)


def _legend(rows: Sequence[Row]) -> list[Patch]:
    there = {row.phase for row in rows}
    entries = [
        Patch(facecolor=COLORS[phase], edgecolor="white", hatch=HATCHES[phase], label=phase)
        for phase in PHASES
        if phase in there
    ]
    if names := flags(rows):
        text = marks.wrapped("hollow: " + ", ".join(names))
        entries.append(Patch(facecolor="white", edgecolor=INK, label=text))
    return entries
