"""The cases in which an accelerator's allocator holds much more memory than is in use."""

from collections.abc import Iterator

from bench.compare.groups import Group, label
from bench.core import units
from bench.core.allocator_advice import fragmentation
from bench.core.records import Row
from bench.insights.insight import Insight


def insights(group: Group) -> Iterator[Insight]:
    """Yield one sentence for each mode and device: its case with the most memory in fragments."""
    for device in group.devices:
        for mode in group.modes:
            rows = [row for row in group.rows if (row.mode, row.device) == (mode, device)]
            worst = max(rows, key=_more_bytes, default=None)
            if worst is not None and (text := _said(worst, device)):
                yield Insight(
                    kind="memory",
                    text=f"{group.name} {mode} at N={worst.batch}: {text}.",
                    evidence=f"{label(group.setting(worst))}: reserved "
                    f"{units.bytes_(worst.reserved_bytes)}, peak {units.bytes_(worst.peak_bytes)}",
                    case_ids=(worst.case_id,) if worst.case_id is not None else (),
                )


def _said(row: Row, device: str) -> str | None:
    if row.compile == "reduce-overhead":  # its peak is what is reserved for the graphs
        return None
    return fragmentation(device, row.peak_bytes, row.reserved_bytes)


def _more_bytes(row: Row) -> int:
    return (row.reserved_bytes or 0) - (row.peak_bytes or 0) if _said(row, str(row.device)) else 0
