"""Print a profile: sentences, and the slowest layers and operators of each case."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from bench.core import units
from bench.core.text import number_of
from bench.results.profile_tables import FUSED, LAYERS, MEMORY, OPERATORS, SUMMARY, Profile
from bench.verdict import tables
from bench.verdict.tables import safe
from bench.verdict.text_table import Column, TextTable

MOST = 10
MOST_NAMES = 4  # of operators or layers in a sentence
TRACE = "trace.json.gz"
SNAPSHOT = "memory_snapshot.pickle"  # of an allocator that keeps its history
WORTH_SAYING = 0.1  # share of the step from which on a layer's backward is named by itself
BOUND_BY = {
    "device": "bound by the device: only less or faster work on it helps",
    "launches": "bound by launches: the host issues work more slowly than the device does it "
    "({graphs}torch.compile, a larger batch)",
    "waits": "bound by waits: host and device take turns (look for .item(), copies to or from the "
    "host, GradScaler)",
    "host": "bound by the host, which launches or waits (only kernels tell these apart)",
}


def show(profile: Profile, console: Console) -> None:
    """Print one case, its tables in at most 100 columns."""
    where = "device" if profile.on_device else "host"
    console.print()
    console.print(safe(profile.case.case_id), soft_wrap=True, style="bold")
    for line in (*sentences(profile), *(f"note: {note}" for note in profile.notes)):
        tables.say(console, line)
    console.print()
    console.print(_layers(profile, where))
    console.print(_operators(profile, where))
    files = [
        TRACE,
        LAYERS,
        OPERATORS,
        *([FUSED] if profile.fused else []),
        *([MEMORY, "memory.png"] if profile.memory else []),
        *([SNAPSHOT] if (profile.folder / SNAPSHOT).is_file() else []),
        SUMMARY,
    ]
    tables.say(console, f"{profile.folder}/: {', '.join(files)}")


def sentences(profile: Profile) -> list[str]:
    """Return sentences: the slowest layers, the bottleneck, the profiler's cost, the memory."""
    where, whole_s = _whole(profile)
    own = [one for one in modules(profile.layers, where) if one.kind != "residual" and one.time_s]
    lines = []
    if own and whole_s:
        top = own[0]
        text = f"{_share(top.time_s, whole_s)} of the {_what(profile)} is in {_calls(top)}"
        if top.forward_s < top.backward_s >= WORTH_SAYING * whole_s:
            text += f", {_share(top.backward_s, whole_s)} in its backward"
        if len(own) > 1:
            text += f"; {_share(own[1].time_s, whole_s)} in {_calls(own[1])}"
        lines.append(text)
    lines.append(
        f"{units.seconds(profile.profiled_s)} a profiled step "
        f"({units.seconds(profile.unprofiled_s)} without the profiler); {_in_no_layer(profile)}"
    )
    if profile.fused:
        lines.append(fused(profile))
    if profile.device:
        lines.append(_bound(profile.device))
    if profile.memory:
        lines.append(_peak(profile.memory))
    return lines


@dataclass(slots=True)
class Module:
    """The sum over all calls of one module in a step, on the host or on the device."""

    name: str
    type: str
    kind: str
    calls: int = 0
    forward_s: float = 0.0
    backward_s: float = 0.0
    time_s: float = 0.0


def modules(layers: Iterable[Mapping[str, Any]], where: str) -> list[Module]:
    """Add up the calls of each module, the slowest first.

    layers: one row for each call.
    where:  `host` or `device`.
    """
    found: dict[str, Module] = {}
    for row in layers:
        name = row["module"]
        one = found.setdefault(name, Module(name, row["type"], row["kind"]))
        one.calls += 1
        one.forward_s += row[f"forward_{where}_s"] or 0.0
        one.backward_s += row[f"backward_{where}_s"] or 0.0
        one.time_s += row[f"{where}_s"] or 0.0
    return sorted(found.values(), key=lambda one: -one.time_s)


def fused(profile: Profile) -> str:
    """Return how many operators run as how many kernels, and what the slowest fused one does."""
    several = [row for row in profile.fused if row["kind"] == "fused"]
    operators = number_of(sum(len(row["operators"]) for row in profile.fused), "operator")
    calls = sum(row["calls"] or 1 for row in profile.fused)
    library = sum(row["calls"] or 1 for row in profile.fused if row["kind"] == "library")
    text = f"compiled: {operators} run as {number_of(calls, 'kernel')}"
    text += f" ({library} of libraries)" if library else ""
    if not several:
        return f"{text}; none is fused"
    top = several[0]
    names = [name.rpartition("::")[2] for name in dict.fromkeys(top["operators"])]
    time = f" ({units.seconds(top['time_s'])} in the {top['phase']})" if top["time_s"] else ""
    return (
        f"{text}; {_listed(names)} of {_listed(top['layers'])} are fused into {top['kernel']}{time}"
    )


def _listed(names: Sequence[str]) -> str:
    """Return at most MOST_NAMES names as text."""
    shown, more = list(names[:MOST_NAMES]), len(names) - MOST_NAMES
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _calls(one: Module) -> str:
    return f"the {one.calls} calls of {one.name}" if one.calls > 1 else one.name


def _in_no_layer(profile: Profile) -> str:
    """Return the share of the host's time outside all layers, by its use, the largest first."""
    rest = [row for row in profile.layers if row["kind"] == "residual" and row["host_s"]]
    rest.sort(key=lambda row: -row["host_s"])
    parts = [f"{row['layer'].strip('()')} {_share(row['host_s'], profile.whole_s)}" for row in rest]
    to = f" ({', '.join(parts)})" if parts else ""
    return f"{_share(profile.residual_s, profile.whole_s)} of the host's time in no layer{to}"


def _bound(device: Mapping[str, Any]) -> str:
    whole = ("until done", "done_s") if device["event_s"] is None else ("events", "event_s")
    times = ", ".join(
        f"{name} {units.seconds(device[key])}"
        for name, key in (("host", "host_s"), whole, ("kernels", "busy_s"))
        if device[key] is not None
    )
    said = BOUND_BY.get(device["bound_by"], "bound by neither")
    graphs = "CUDA graphs, " if device["name"].startswith("cuda") else ""
    return f"{said.format(graphs=graphs)}: {device['why']} ({times})"


def _peak(memory: Mapping[str, Any]) -> str:
    parts = {name: values[memory["peak"]] for name, values in memory["bytes"].items()}
    shown = sorted(parts.items(), key=lambda part: -part[1])
    listed = ", ".join(f"{units.bytes_(size)} {name}" for name, size in shown if size)
    return f"peak {units.bytes_(memory['peak_bytes'])}: {listed}"


def _what(profile: Profile) -> str:
    step = "step" if profile.case.mode == "training" else "forward"
    if profile.on_device:
        return f"device's time in the {step}"
    return step if _on_cpu(profile) else f"host's time in the {step}"


def _on_cpu(profile: Profile) -> bool:
    return profile.case.device.partition(":")[0] == "cpu"


def _whole(profile: Profile) -> tuple[str, float]:
    busy_s = profile.busy_s
    return ("host", profile.whole_s) if busy_s is None else ("device", busy_s)


def _share(part_s: float | None, whole_s: float) -> str:
    return f"{100 * (part_s or 0.0) / whole_s:.0f} %" if whole_s else "–"


def _layers(profile: Profile, where: str) -> TextTable:
    ordered = modules(profile.layers, where)
    names = ("calls", "forward", "backward", "together", "share")
    table = TextTable(
        f"the slowest layers, {where} time per step",
        (
            Column("layer", wraps=True),
            Column("type", wraps=True),
            *(Column(name, right=True) for name in names),
        ),
    )
    whole_s = _whole(profile)[1]
    for one in ordered[:MOST]:
        table.add(
            one.name,
            one.type,
            str(one.calls) if one.kind != "residual" else "",
            *(units.seconds(t) if t else "" for t in (one.forward_s, one.backward_s, one.time_s)),
            _share(one.time_s, whole_s),
        )
    if rest := ordered[MOST:]:
        rest_s = math.fsum(one.time_s for one in rest)
        shown = units.seconds(rest_s), _share(rest_s, whole_s)
        table.add(f"{len(rest)} more", "", "", "", "", *shown)
    return table


def _operators(profile: Profile, where: str) -> TextTable:
    names = ("calls", "self", "total", "share", "allocates", "FLOP")
    table = TextTable(
        f"the slowest operators, {where} time per step",
        (Column("operator", wraps=True), *(Column(name, right=True) for name in names)),
    )
    whole_s = _whole(profile)[1]
    for row in profile.operators[:MOST]:
        table.add(
            row["operator"],
            str(row["calls"]),
            units.seconds(row[f"self_{where}_s"]),
            units.seconds(row[f"{where}_s"]),
            _share(row[f"self_{where}_s"], whole_s),
            units.bytes_(row["allocated_bytes"]) if row["allocated_bytes"] else "",
            units.count(row["flops"]) if row["flops"] else "",
        )
    return table
