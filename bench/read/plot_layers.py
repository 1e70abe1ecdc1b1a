"""Where the time goes: every layer's forward and backward."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench import units
from bench.read.plot_data import (
    Group,
    Span,
    device_name,
    finite,
    flags,
    footer,
    groups,
    label,
    records,
    split,
    subtitle,
)
from bench.read.plot_marks import say
from bench.read.plot_sheet import Words, sheet, text_in
from bench.read.plot_style import (
    BLUE,
    INK,
    ORANGE,
    NothingToDraw,
    plain,
    ruler,
)
from bench.read.table import RunData
from bench.records import Row

MOST_LAYERS = 40
PHASES = ("forward", "backward")
COLORS = {"forward": BLUE, "backward": ORANGE}
HATCH = {"forward": "", "backward": "////"}
TIMES = {  # column, its interval's ends, what it is
    "latency_median_s": ("latency_low_s", "latency_high_s", "latency"),
    "device_s": ("", "", "device time"),
}


@dataclass(frozen=True)
class Table:
    """The layers of one device: what one batch size and one setting say.

    rows:   mode → layer → phase → its row.
    counts: how many equal layers one stands for; absent: one.
    """

    device: str
    batch: int
    setting: str
    column: str
    rows: Mapping[str, Mapping[str, Mapping[str, Row]]]
    counts: Mapping[str, int]

    def span(self, row: Row) -> Span | None:
        """The time of a phase, in seconds."""
        low, high, _ = TIMES[self.column]
        value = finite(getattr(row, self.column))
        if value is None:
            return None
        if not low:
            return Span(value)
        return Span(value, finite(getattr(row, low)), finite(getattr(row, high)))

    def total_s(self, mode: str, layer: str) -> float:
        """Forward and backward together."""
        spans = (self.span(row) for row in self.rows[mode].get(layer, {}).values())
        return math.fsum(span.value for span in spans if span)

    def share(self, mode: str, layer: str) -> float:
        """Of the time of all layers, equal ones counted as often as they are there."""

        def all_s(name: str) -> float:
            return self.total_s(mode, name) * self.counts.get(name, 1)

        return all_s(layer) / math.fsum(all_s(name) for name in self.rows[mode])

    def shown(self, layer: str) -> str:
        """Its name, and ×3 where it stands for three equal ones."""
        count = self.counts.get(layer, 1)
        return plain(layer, 44) + (f" ×{count}" if count > 1 else "")

    @property
    def layers(self) -> set[str]:
        return {layer for of_mode in self.rows.values() for layer in of_mode}

    @property
    def all_rows(self) -> list[Row]:
        return [row for m in self.rows.values() for phases in m.values() for row in phases.values()]


def layers(run: RunData) -> dict[str, Figure]:
    """By subject and input.  Raises NothingToDraw."""
    drawn: dict[str, Figure] = {}
    for group in groups(records(run.rows), layers=True):
        tables = [found for device in group.devices if (found := _table(run, group, device))]
        if tables:
            drawn[f"{group.subject} {group.input}"] = _figure(run, group, tables)
    if not drawn:
        raise NothingToDraw("no layer was measured (subjects SUBJECT/LAYER or SUBJECT/*)")
    return drawn


def _table(run: RunData, group: Group, device: str) -> Table | None:
    """At the setting nearest to plain and the largest batch that have most layers."""
    rows = [row for row in group.rows if row.device == device and row.phase in PHASES]
    column = _column(rows, device)
    rows = [row for row in rows if finite(getattr(row, column)) is not None]
    if not rows:
        return None
    order = group.settings
    counts: dict[tuple[int, int], set[tuple[str | None, str | None]]] = {}
    for row in rows:
        key = (-order.index(group.setting(row)), int(row.batch or 0))
        counts.setdefault(key, set()).add((row.subject, row.mode))
    best = max(counts, key=lambda key: (len(counts[key]), key))
    setting, batch = order[-best[0]], best[1]
    table: dict[str, dict[str, dict[str, Row]]] = {}
    for row in rows:
        if group.setting(row) == setting and row.batch == batch:
            layer = split(row.subject or "")[1] or ""
            of_layer = table.setdefault(str(row.mode), {}).setdefault(layer, {})
            of_layer[str(row.phase)] = row
    return Table(device, batch, label(setting), column, table, _counts(run, group))


def _column(rows: Sequence[Row], device: str) -> str:
    """Accelerators by events: a host time of a phase would be launch time."""
    by_event = sum(finite(row.device_s) is not None for row in rows)
    by_host = sum(finite(row.latency_median_s) is not None for row in rows)
    return "device_s" if device != "cpu" and by_event >= by_host else "latency_median_s"


def _listed(run: RunData, subject: str) -> list[Mapping[str, Any]]:
    """The subject's layers in the order of its calls, as run.json lists them."""
    known = run.run.get("layers")
    found = known.get(subject) if isinstance(known, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _order(run: RunData, group: Group) -> dict[str, int]:
    """The network's own order; layers that run.json does not list come last."""
    found: dict[str, int] = {}
    for layer in _listed(run, group.subject):
        for name in (layer.get("alias"), layer.get("name")):
            found.setdefault(str(name), len(found))
    for row in group.rows:
        found.setdefault(split(row.subject or "")[1] or "", len(found))
    return found


def _counts(run: RunData, group: Group) -> dict[str, int]:
    """How many equal layers a measured one stands for."""
    return {
        str(layer.get("alias") or layer.get("name")): 1 + len(layer.get("same_as") or ())
        for layer in _listed(run, group.subject)
    }


def _figure(run: RunData, whole: Group, tables: Sequence[Table]) -> Figure:
    order = _order(run, whole)
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
