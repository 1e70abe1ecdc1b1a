"""The cases in which the host, and not the device, decides how long a call takes."""

from collections.abc import Iterator, Sequence

from bench.compare.groups import PLAIN, Group, label
from bench.core import units
from bench.core.records import Row
from bench.insights.insight import Insight, listed


def insights(group: Group) -> Iterator[Insight]:
    """Yield one sentence for each mode and device that has such cases in eager mode."""
    for device in group.devices:
        for mode in group.modes:
            rows = _rows(group, mode, device)
            if rows:
                yield _of_rows(group, mode, device, rows)


def _rows(group: Group, mode: str, device: str) -> list[Row]:
    """Return one launch-bound row for each batch size, that of the plain setting if possible."""
    found: dict[int, Row] = {}
    for row in sorted(group.rows, key=lambda row: (row.batch or 0, len(group.setting(row)))):
        here = (row.mode, row.device, row.compile) == (mode, device, "off")
        if here and "launch-bound" in row.flag_names and row.host_issue_s and row.pipelined_s:
            found.setdefault(int(row.batch or 0), row)
    return list(found.values())


def _of_rows(group: Group, mode: str, device: str, rows: Sequence[Row]) -> Insight:
    sizes = [f"N={row.batch}" for row in rows]
    host = [_host(row, "" if len(rows) == 1 else f" at N={row.batch}") for row in rows]
    graphs = " or compile=reduce-overhead" if device.startswith("cuda") else ""
    return Insight(
        kind="launch",
        text=f"{group.name} {mode} at {listed(sizes)} is launch-bound on {device}: the host takes "
        f"{listed(host)}; try a larger batch{graphs}.",
        evidence="; ".join(
            f"N={row.batch}: {label(group.setting(row))}"
            for row in rows
            if group.setting(row) != PLAIN
        ),
        case_ids=tuple(row.case_id for row in rows if row.case_id is not None),
    )


def _host(row: Row, where: str) -> str:
    issue, call = units.seconds(row.host_issue_s), units.seconds(row.pipelined_s)
    return f"{issue} to issue {call} of work{where}"
