"""Where the time goes: every layer's forward and backward."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.compare.groups import Group, Span, flags, groups
from bench.core import units
from bench.core.records import Row
from bench.core.text import plain
from bench.plots.captions import device_name, footer, subtitle
from bench.plots.layer_table import PHASES, TIMES, Table, layer_table, network_order
from bench.plots.marks import say
from bench.plots.sheet import Words, sheet, text_in
from bench.plots.style import BLUE, INK, ORANGE, NothingToDraw, ruler
from bench.results.results import Results

MOST_LAYERS = 40
COLORS = {"forward": BLUE, "backward": ORANGE}
HATCH = {"forward": "", "backward": "////"}


def layers(run: Results) -> dict[str, Figure]:
    """By subject and input.  Raises NothingToDraw."""
    drawn: dict[str, Figure] = {}
    for group in groups(run.rows, layers=True):
        tables = [found for device in group.devices if (found := layer_table(run, group, device))]
        if tables:
            drawn[group.name] = _figure(run, group, tables)
    if not drawn:
        raise NothingToDraw("no layer was measured (subjects SUBJECT/LAYER or SUBJECT/*)")
    return drawn


def _figure(run: Results, whole: Group, tables: Sequence[Table]) -> Figure:
    order = network_order(run, whole)
    rows = [row for table in tables for row in table.all_rows]
    group = whole.of(rows)
    shown = {table.device: _shown(table, order) for table in tables}
    most = max(len(table.layers) for table in tables)
    names = [table.shown(layer) for table in tables for layer in shown[table.device]]
    page = sheet(
        Words(
            f"Where does the time of {plain(group.subject)} go, layer by layer?",
            subtitle(
                run,
                group,
                _under(tables),
                f"the {MOST_LAYERS} slowest of {most} layers" if most > MOST_LAYERS else "",
            ),
            footer(
                run,
                whole.of(rows),
                rows,
                _note(tables),
            ),
        ),
        [1.05 + 0.27 * len(shown[table.device]) for table in tables],
        len(group.modes),
        panel_in=4.4,
        label_in=text_in(names),
        legend=_handles(rows),
    )
    for line, table in zip(page.panels, tables, strict=True):
        for axes, mode in zip(line, group.modes, strict=True):
            axes.set_label(f"{mode} {table.device}")
            title = "forward + backward" if mode == "training" else "forward"
            several = len(tables) > 1
            name = f", {device_name(run, group, table.device)}" if several else ""
            axes.set_title(f"{mode} ({title}){name}")
            _panel(axes, table, mode, shown[table.device])
        _frame(line, table, group.modes, shown[table.device])
    return page.figure


def _note(tables: Sequence[Table]) -> str:
    notes = ["%: share of all layers"]
    if any((span := t.span(row)) and span.low for t in tables for row in t.all_rows):
        notes.append("whiskers: 95 % interval of each phase")
    if any(t.counts.get(layer, 1) > 1 for t in tables for layer in t.layers):
        notes.append("×n: n equal layers, one of them measured and drawn, all in its share")
    return " · ".join(notes)


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
    of_mode = table.rows.get(mode, {})
    if not of_mode:
        say(axes, "not measured")
        return
    for at, layer in enumerate(shown):
        left = 0.0
        for phase in PHASES:
            row = of_mode.get(layer, {}).get(phase)
            span = table.span(row) if row else None
            if row and span:
                _bar(axes, at, left, span, phase, hollow=bool(row.flags))
                left += span.value
        if left:
            axes.annotate(
                f"{units.seconds(left)}  {_percent(table.share(mode, layer))}",
                (1.02, at),
                xycoords=("axes fraction", "data"),
                va="center",
                color=INK,
                annotation_clip=False,
            )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 else "<1 %"


def _bar(axes: Axes, at: int, left: float, span: Span, phase: str, *, hollow: bool) -> None:
    color = COLORS[phase]
    axes.barh(
        at,
        span.value,
        left=left,
        height=0.66,
        facecolor="white" if hollow else color,
        edgecolor=color if hollow else "white",
        linewidth=1.2 if hollow else 0.6,
        hatch="" if hollow else HATCH[phase],
    )
    if span.low is not None and span.high is not None:
        axes.hlines(at, left + span.low, left + span.high, color=INK, linewidth=0.9)


def _frame(line: Sequence[Axes], table: Table, modes: Sequence[str], shown: Sequence[str]) -> None:
    longest = max(table.total_s(mode, layer) for mode in table.rows for layer in shown)
    for axes in line[: len(modes)]:
        axes.set_xlim(0, longest * 1.12)
        ruler(axes.xaxis, 0, 0, units.seconds)
        axes.grid(visible=True, axis="x")
        axes.set_xlabel(f"{TIMES[table.column][2]} of one call")
    line[0].set_yticks(range(len(shown)), [table.shown(layer) for layer in shown])
    line[0].tick_params(axis="y", length=0)
    line[0].set_ylim(len(shown) - 0.4, -0.6)


def _handles(rows: Sequence[Row]) -> list[Patch]:
    there = {row.phase for row in rows}
    handles = [
        Patch(facecolor=COLORS[phase], edgecolor="white", hatch=HATCH[phase], label=phase)
        for phase in PHASES
        if phase in there
    ]
    names = flags(rows)
    if names:
        text = "hollow:\n" + ",\n".join(names)
        handles.append(Patch(facecolor="white", edgecolor=INK, label=text))
    return handles
