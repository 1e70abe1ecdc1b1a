"""The layers of a run as a table: the cost of each at one batch size and setting."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.compare.groups import Group, Span, finite, label, split
from bench.core.records import Row
from bench.core.text import plain
from bench.results.results import Results

PHASES = ("forward", "backward")
TIMES = {  # by column: the ends of its interval, and its name
    "latency_median_s": ("latency_low_s", "latency_high_s", "latency"),
    "device_s": ("", "", "device time"),
}


@dataclass(frozen=True)
class Table:
    """The layers of one device, at one batch size and setting.

    rows:   mode → layer → phase → its row.
    counts: the number of equal layers that a row represents; absent: one.
    without: the number of layers that were measured and have no such time.
    """

    device: str
    batch: int
    setting: str
    column: str
    rows: Mapping[str, Mapping[str, Mapping[str, Row]]]
    counts: Mapping[str, int]
    without: int = 0

    def span(self, row: Row) -> Span | None:
        """Return the time of a phase, in seconds."""
        low, high, _ = TIMES[self.column]
        value = finite(getattr(row, self.column))
        if value is None:
            return None
        if not low:
            return Span(value)
        return Span(value, finite(getattr(row, low)), finite(getattr(row, high)))

    def total_s(self, mode: str, layer: str) -> float:
        """Return the time of forward and backward together, in seconds."""
        spans = (self.span(row) for row in self.rows.get(mode, {}).get(layer, {}).values())
        return math.fsum(span.value for span in spans if span)

    def share(self, mode: str, layer: str) -> float:
        """Return the share of the time of all layers; equal layers count as often as they occur."""

        def all_s(name: str) -> float:
            return self.total_s(mode, name) * self.counts.get(name, 1)

        return all_s(layer) / math.fsum(all_s(name) for name in self.rows[mode])

    def shown(self, layer: str) -> str:
        """Return the label of a layer: its name, with ×3 if it represents three equal ones."""
        count = self.counts.get(layer, 1)
        return plain(layer, 44) + (f" ×{count}" if count > 1 else "")

    @property
    def layers(self) -> set[str]:
        return {layer for of_mode in self.rows.values() for layer in of_mode}

    @property
    def all_rows(self) -> list[Row]:
        return [row for m in self.rows.values() for phases in m.values() for row in phases.values()]


def layer_table(run: Results, group: Group, device: str) -> Table | None:
    """Return the table at one setting and batch size.

    They are those with the most layers, then with the setting nearest to plain, then with the
    largest batch.
    """
    every = [row for row in group.rows if row.device == device and row.phase in PHASES]
    column = _column(every, device)
    rows = [row for row in every if finite(getattr(row, column)) is not None]
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
    here = (row for row in every if (group.setting(row), row.batch) == (setting, batch))
    measured = {split(row.subject or "")[1] or "" for row in here}
    shown = {layer for of_mode in table.values() for layer in of_mode}
    without = len(measured - shown)
    return Table(device, batch, label(setting), column, table, _counts(run, group), without)


def _column(rows: Sequence[Row], device: str) -> str:
    """Return the column of the times; on an accelerator, the host's time is only the launch."""
    by_event = sum(finite(row.device_s) is not None for row in rows)
    by_host = sum(finite(row.latency_median_s) is not None for row in rows)
    return "device_s" if device != "cpu" and by_event >= by_host else "latency_median_s"


def network_order(run: Results, group: Group) -> dict[str, int]:
    """Return the layers in the order of their calls; those not in run.json come last."""
    found: dict[str, int] = {}
    for layer in run.description.layers.get(group.subject, ()):
        for name in (layer.row_name, layer.name):
            found.setdefault(name, len(found))
    for row in group.rows:
        found.setdefault(split(row.subject or "")[1] or "", len(found))
    return found


def _counts(run: Results, group: Group) -> dict[str, int]:
    """Return, by layer, the number of equal layers that it represents."""
    layers = run.description.layers_by_name.get(group.subject, {})
    return {name: layer.all_calls for name, layer in layers.items()}
