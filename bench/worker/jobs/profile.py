"""Profiles one case with torch's profiler, in a process that takes no samples.

There are four passes over the same warm step: without the profiler (its cost, and on an accelerator
the times of host and device), with it (trace, layers, operators), with its memory events, and with
a count of FLOPs.  Everything is written to one folder beside the record.
"""

import contextlib
import dataclasses
import gc
import json
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.core.allocator_advice import fragmentation
from bench.core.protocol import Request
from bench.core.records import StaticMetrics
from bench.core.text import error_line
from bench.worker.device import torch_private
from bench.worker.jobs import prepare
from bench.worker.metrics import flops
from bench.worker.model import graph_breaks, layer_names, torch_compile
from bench.worker.model.step import warm_up_calls
from bench.worker.process import limits
from bench.worker.profiler import fused, memory_history, memory_trace, parts, trace_file
from bench.worker.profiler.calls import CallRecorder
from bench.worker.profiler.device import (
    Work,
    bottleneck,
    bottleneck_without_kernels,
    launched_within,
    owned_ns,
    waited_ns,
    work,
)
from bench.worker.profiler.events import Event, of_kineto
from bench.worker.profiler.operators import Cost, costs, kernels
from bench.worker.profiler.owners import (
    AUTOGRAD,
    OPTIMIZER,
    OUTSIDE,
    Owner,
    Timeline,
    middle,
    steps,
    timeline,
)
from bench.worker.profiler.parts import Part, PartCost
from bench.worker.profiler.ranges import NETWORK, Ranges
from bench.worker.timing import contention, stopwatch

TRACE, SNAPSHOT, FOUND = "trace.json.gz", "memory_snapshot.pickle", "found.json"
STEPS = 5  # the trace stays small enough to open
MIDDLE_STEPS = 3  # all figures are means over those of median length: means add up, medians do not
PREFAULT_BYTES = 2**28
WARM_STEPS = 1  # under the profiler, left out: its own buffers are made in it
RESIDUAL = (OUTSIDE, AUTOGRAD, OPTIMIZER)
PHASES = ("forward", "backward", "optimizer")


class ProfileError(RuntimeError):
    """The profiler recorded nothing; the message says what is missing."""


def folder_of(out: str) -> Path:
    """Return the folder for the files of a request."""
    return Path(out).with_suffix(".files")


def run(request: Request) -> StaticMetrics:
    """Do the job.  Raises the errors of building the case, and Invalid."""
    compiled_kernels = fused.Recorder()
    with compiled_kernels.on(request.case.compile):
        built = prepare.build(request)
        begun = prepare.begin(built)
        warm_up_calls(built.step)
    eager = built.step is built.eager
    folder = folder_of(request.out)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with prepare.no_recompiles(request.case):
        plain = without_profiler(built)
        ranges = Ranges(built.prepared.module if eager else None)
        load = contention.Meter()
        load.start()
        prof, events, profiled_s = traced(built, ranges)
        load.stop()
        memory_step = _memory_step(built, eager=eager)  # soon: it is in the same trace
        found = _analyse(events, ranges, plain, built)
        found["host"]["profiled_s"] = profiled_s
        found["fused"] = _fused(compiled_kernels, events, built)
        found["modules"] = calls_of_modules(built)
        history = _history(built, folder / SNAPSHOT)
    prepare.end(built, begun, plain["whole_s"])
    found |= {"case_id": request.case.case_id, "case": request.case.as_dict()}
    found |= _memory(memory_step) | _flops(built, found["operators"])
    found["counted"] = _counted(found, built)
    found["breaks"] = _breaks(built, found["counted"]["graph_breaks"])
    limits.allow_writing()  # a trace is larger than what a subject may write
    profiled = trace_file.Profiled(
        events=events,
        ranges=ranges,
        counted=middle(steps(events)[WARM_STEPS:], MIDDLE_STEPS),
        device=built.device.name,
        memory=memory_step,
    )
    try:
        of_trace = trace_file.write(prof.export_chrome_trace, folder / TRACE, profiled)
    except trace_file.TraceFileError as error:  # the tables are still worth having
        of_trace = [f"there is no trace: {error}"]
    found["contended"] = load.contended
    found["notes"] = [*_notes(found, built), *_of_threads(events, ranges), *of_trace, *history]
    (folder / FOUND).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
    return StaticMetrics(case=request.case, metrics={"profiled_s": profiled_s})


def without_profiler(built: prepare.BuiltCase, count: int = STEPS) -> dict[str, float]:
    """Return the seconds of the step without the profiler.

    whole_s: until the device is done; on an accelerator, of calls back to back, host_s to issue
    one, done_s until the device has done it, and event_s of it between two events, if any are used.
    """
    step, device, clock = built.step, built.device, stopwatch.wall_clock
    found = {"whole_s": statistics.median(steps_s(built, step, count))}
    if device.synchronous:
        return found
    calls = min(step.prepare(2 * STEPS), 2 * STEPS)
    events = [device.event(), device.event()] if device.has_events else []
    device.wait()
    for first in events[:1]:
        first.record()
    start_s = clock()
    for _ in range(calls):
        step()
    issued_s = clock() - start_s
    for last in events[1:]:
        last.record()
    device.wait()
    found |= {"host_s": issued_s / calls, "done_s": (clock() - start_s) / calls}
    if events:
        found["event_s"] = events[0].seconds_until(events[1]) / calls
    return found


def _prefault_memory() -> None:
    """Fault in fresh memory beforehand, which stays with the process (allocator=retained).

    The profiler's own buffers take the places that a step's blocks left, and push these to the
    heap's end.  Seen: 5 ms for one fresh block there, a third of a step of 15 ms, which would
    pass for work of whichever layer allocates it.
    """
    with contextlib.suppress(RuntimeError, MemoryError):  # as much as the case's limit allows
        torch.ones(PREFAULT_BYTES, dtype=torch.uint8)


def steps_s(
    built: prepare.BuiltCase, call: Callable[[], object], steps: int = STEPS
) -> list[float]:
    """Return the seconds of each step until the device is done.  It waits only between steps."""
    device, clock, times_s = built.device, stopwatch.wall_clock, list[float]()
    for _ in range(steps):
        built.step.prepare(1)
        device.wait()
        start_s = clock()
        call()
        device.wait()
        times_s.append(clock() - start_s)
    return times_s


def traced(
    built: prepare.BuiltCase, ranges: Ranges, count: int = STEPS
) -> tuple[Any, list[Event], float]:
    """Return the profiler, for its trace, what it saw, and the seconds of a step under it.

    These are of the same kind as those without it (`_without_profiler`): until the device is done.
    """
    activities = [ProfilerActivity.CPU]
    if built.device.synchronous:
        _prefault_memory()
    elif (own := torch_private.profiler_activity(built.device.type)) is not None:
        activities.append(own)
    collects = gc.isenabled()
    gc.disable()
    try:
        with ranges.on(), profile(activities=activities) as prof:
            times_s = steps_s(built, lambda: ranges.run(built.step), WARM_STEPS + count)
    finally:
        if collects:
            gc.enable()
    results = torch_private.recorded(prof)
    if results is None:
        raise ProfileError("torch's profiler recorded nothing")
    index = None if built.device.synchronous else int(built.device.name.partition(":")[2] or 0)
    return prof, of_kineto(results, index), statistics.median(times_s[WARM_STEPS:])


def _analyse(
    events: Sequence[Event], ranges: Ranges, plain: Mapping[str, float], built: prepare.BuiltCase
) -> dict[str, Any]:
    """Return all results of the trace, in seconds per step."""
    windows = middle(steps(events)[WARM_STEPS:], MIDDLE_STEPS)
    if not windows:
        raise ProfileError("torch's profiler lost the step")
    owners, done = timeline(events, ranges.rows), work(events)
    host = [owners.within(one.start_ns, one.end_ns) for one in windows]
    works = [launched_within(done, one.start_ns, one.end_ns) for one in windows]
    device = [owned_ns(each, owners) for each in works]
    found: dict[str, Any] = {
        "steps": len(windows),
        "host": {
            "whole_s": _mean_s(one.duration_ns for one in windows),
            "unprofiled_s": plain["whole_s"],
        },
        "layers": _rows(host, device, ranges, has_device=bool(done)),
        "parts": parts_of(events, ranges, windows, owners, works),
        "operators": _operators(events, windows, works),
        "kernels": _kernels(works),
        "device": None,
    }
    if built.device.synchronous:
        return found
    host_s, device_s = plain["host_s"], plain.get("event_s", plain["done_s"])
    busy_s = waited_s = None
    said = bottleneck_without_kernels(host_s, device_s)
    if done:
        busy_s = _mean_s(sum(each.values()) for each in device)
        waited_s = _mean_s(waited_ns(events, one.start_ns, one.end_ns) for one in windows)
        said = bottleneck(host_s, device_s, busy_s, waited_s, found["host"]["whole_s"])
    found["device"] = {
        "name": built.device.name,
        "host_s": host_s,
        "done_s": plain["done_s"],
        "event_s": plain.get("event_s"),
        "busy_s": busy_s,
        "waited_s": waited_s,
        **dataclasses.asdict(said),
    }
    return found


def parts_of(
    events: Sequence[Event],
    ranges: Ranges,
    windows: Sequence[Event],
    owners: Timeline,
    works: Sequence[Sequence[Work]],
) -> dict[str, Any]:
    """Return the parts of a step: means over the windows, and the order of the operators."""
    each = []
    for window, done in zip(windows, works, strict=True):
        inside = [one for one in events if window.start_ns <= one.start_ns < window.end_ns]
        marked = [(one, row) for one in inside if (row := ranges.rows.get(one.name))]
        each.append(parts.of_window(inside, owners, window, done, marked))
    first = [one for one in events if windows[0].start_ns <= one.start_ns < windows[0].end_ns]
    has_device = any(works)
    return {
        "rows": [
            _part(part, [one.get(part, PartCost()) for one in each], has_device=has_device)
            for part in dict.fromkeys(part for one in each for part in one)
        ],
        "order": [[*owner, names] for owner, names in parts.in_order(first, owners).items()],
        "modules": {one.row: [one.module, one.type] for one in ranges.seen.values()},
    }


def _part(part: Part, seen: Sequence[PartCost], *, has_device: bool) -> dict[str, Any]:
    kernels = {}
    for name in dict.fromkeys(name for one in seen for name in one.kernels):
        own = [one.kernels.get(name, (0, 0)) for one in seen]
        kernels[name] = [statistics.median_low([n for n, _ in own]), _mean_s(ns for _, ns in own)]
    return {
        "layer": part.row,
        "phase": part.phase,
        "operator": part.operator,
        "within": next((one.within for one in seen if one.within), ""),
        "calls": statistics.median_low([one.calls for one in seen]),
        "events": statistics.fmean(one.events for one in seen),
        "host_s": _mean_s(one.host_ns for one in seen),
        "least_s": min(one.device_ns if has_device else one.host_ns for one in seen) / 1e9,
        "device_s": _mean_s(one.device_ns for one in seen) if has_device else None,
        "kernels": kernels,
    }


def calls_of_modules(built: prepare.BuiltCase) -> list[dict[str, Any]]:
    """Return the details of each call of a module, from one more call, not compiled."""
    recorder, ranges = CallRecorder(), Ranges(built.prepared.module)
    ranges.on_call, ranges.on_output = recorder.begins, recorder.ends
    built.eager.prepare(1)
    try:
        with ranges.on():
            ranges.run(built.eager)
    except (MemoryError, RuntimeError):  # eager code takes more memory than compiled code
        return []
    return [dataclasses.asdict(one) for one in recorder.found.values()]


def _counted(found: Mapping[str, Any], built: prepare.BuiltCase) -> dict[str, float | None]:
    """Return figures of one step that do not depend on time; None if one is unknown."""
    memory = found["memory"]
    known = built.step is built.eager and memory is not None
    return {
        "operators": sum(row["calls"] for row in found["operators"]),
        "flops": found["flops_total"],
        "graph_breaks": _graph_breaks() if built.step is not built.eager else None,
        "allocations": memory["allocations"] if memory else None,
        "allocated_bytes": sum(own for own, _ in found["allocated"].values()) if known else None,
        "peak_bytes": memory["peak_bytes"] if memory else None,
    }


def _breaks(built: prepare.BuiltCase, count: float | None) -> list[dict[str, Any]]:
    """Return the places of graph breaks; none if torch cannot say."""
    if not count:
        return []
    prepared = built.prepared
    training = built.case.mode == "training"
    try:
        return graph_breaks.find(prepared.module, prepared.args, prepared.kwargs, training=training)
    except Exception:  # the rest of the profile is still worth having
        return []


def _graph_breaks() -> int:
    """Return how often a graph was broken; a frame that was given up counts as well."""
    seen = torch_compile.read()
    return seen.graph_breaks + seen.frames_total - seen.frames_ok


def _rows(
    host: Sequence[Mapping[Owner, int]],
    device: Sequence[Mapping[Owner, int]],
    ranges: Ranges,
    *,
    has_device: bool,
) -> list[dict[str, Any]]:
    """Return the layers in the order of their calls, then the rest: together they are the whole
    step.
    """
    called = {owner.row: None for one in host for owner in one}
    graphs = [row for row in called if row not in ranges.seen and row not in RESIDUAL]
    residual = [row for row in RESIDUAL if row in called]
    rows = []
    for name in (*ranges.seen, *graphs, *residual):
        row: dict[str, Any] = {"layer": name, **_kind(name, ranges)}
        for where, times in (("host", host), ("device", device)):
            known = where == "host" or has_device
            for phase in PHASES:
                own = [one.get(Owner(name, phase), 0) for one in times]
                row[f"{phase}_{where}_s"] = _mean_s(own) if known else None
            all_ = (sum(ns for owner, ns in one.items() if owner.row == name) for one in times)
            row[f"{where}_s"] = _mean_s(all_) if known else None
        rows.append(row)
    return rows


def _kind(name: str, ranges: Ranges) -> dict[str, str]:
    """Return layer (calls no other) or module (its own code, beside the layers that it calls)."""
    if name in RESIDUAL:
        return {"module": name, "type": "", "kind": "residual"}
    if seen := ranges.seen.get(name):
        kind = "layer" if seen.is_leaf else "module"
        return {"module": seen.module, "type": seen.type, "kind": kind}
    return {"module": name, "type": "", "kind": "graph"}


def _operators(
    events: Sequence[Event], windows: Sequence[Event], works: Sequence[Sequence[Work]]
) -> list[dict[str, Any]]:
    each = [
        costs([one for one in events if window.start_ns <= one.start_ns < window.end_ns], done)
        for window, done in zip(windows, works, strict=True)
    ]
    names = dict.fromkeys(name for one in each for name in one)
    has_device = any(works)
    rows = []
    for name in names:
        seen = [one.get(name, Cost()) for one in each]
        row: dict[str, Any] = {
            "operator": name,
            "calls": statistics.median_low([one.calls for one in seen]),
            "self_host_s": _mean_s(one.self_host_ns for one in seen),
            "host_s": _mean_s(one.host_ns for one in seen),
        }
        if has_device:
            row["self_device_s"] = _mean_s(one.self_device_ns for one in seen)
            row["device_s"] = _mean_s(one.device_ns for one in seen)
        rows.append(row)
    by = "self_device_s" if has_device else "self_host_s"
    return sorted(rows, key=lambda row: -row[by])


def _kernels(works: Sequence[Sequence[Work]]) -> list[dict[str, Any]]:
    each = [kernels(one) for one in works]
    rows = []
    for key in dict.fromkeys(key for one in each for key in one):
        seen = [one.get(key, (0, 0)) for one in each]
        calls = statistics.median_low([count for count, _ in seen])
        time_s = _mean_s(time_ns for _, time_ns in seen)
        rows.append({"kernel": key[0], "operator": key[1], "calls": calls, "device_s": time_s})
    return sorted(rows, key=lambda row: -row["device_s"])


def _fused(
    seen: fused.Recorder, events: Sequence[Event], built: prepare.BuiltCase
) -> list[dict[str, Any]]:
    """Return the kernels of compiled code with their operators; none where nothing is compiled."""
    own = layer_names.aliases(built.prepared.module)
    seen.shown = lambda name: (layer_names.alias(name, own) or name) if name else NETWORK
    windows, done = middle(steps(events)[WARM_STEPS:], MIDDLE_STEPS), work(events)
    works = [launched_within(done, one.start_ns, one.end_ns) for one in windows]
    return seen.rows(windows, events, works)


def _memory_step(built: prepare.BuiltCase, *, eager: bool) -> memory_trace.MemoryStep | None:
    """Record a step with its memory events; None where it would allocate nothing."""
    if torch_compile.uses_cuda_graphs(built.case.compile, built.device.type):
        return None  # a replay allocates nothing
    module = built.prepared.module if eager else None
    device = torch.device(built.device.name)
    return memory_trace.record(built.step, built.prepared, module, device)


def _memory(step: memory_trace.MemoryStep | None) -> dict[str, Any]:
    """Return the series and the peak, and by operator the bytes that it allocated."""
    if step is None:
        return {"memory": None, "allocated": {}}
    used = step.usage
    start_ns = used.times_ns[0]
    return {
        "memory": {
            "times_s": [(time_ns - start_ns) / 1e9 for time_ns in used.times_ns],
            "bytes": {name: list(values) for name, values in used.bytes_by_category.items()},
            "peak": used.peak,
            "peak_bytes": used.peak_bytes,
            "allocations": used.allocations,
            "alive": [dataclasses.asdict(block) for block in used.alive[: memory_trace.MOST_ALIVE]],
        },
        "allocated": used.allocated,
    }


def _history(built: prepare.BuiltCase, file: Path) -> list[str]:
    """Write what the accelerator's allocator did in one step, where it keeps that; return notes."""
    step, device, notes = built.step, built.device, list[str]()
    if device.synchronous:
        return notes

    def call() -> None:
        step.prepare(1)
        step()
        device.wait()

    device.wait()
    device.empty_cache()
    device.reset_peak()

    module = getattr(torch, device.type, None)
    try:
        with limits.large_files():
            memory_history.write(getattr(module, "memory", None), call, file)
    except Exception as error:  # the rest of the profile is still worth having
        said = error_line(error, 300) or type(error).__name__
        notes.append(f"the history of the allocator could not be kept: {said}")
    if not torch_compile.uses_cuda_graphs(built.case.compile, device.type):
        reserved = device.reserved_peak_bytes()
        notes += filter(None, [fragmentation(device.name, device.peak_bytes(), reserved)])
    return notes


def _flops(built: prepare.BuiltCase, operators: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return FLOPs by operator, a note on operators without, and the sum, if all are known.

    Compiled code has none.
    """
    if built.step is not built.eager:
        return _no_flops("compiled code hides its operators")
    try:
        counted, hidden = flops.by_operator(built.eager)
    except Exception as error:  # the rest of the profile is still worth having
        return _no_flops(error_line(error, 300))
    there = {row["operator"] for row in operators}
    lost = [name for name, count in counted.items() if count and name not in there]
    notes = []
    if hidden:
        notes.append(f"FLOPs of {', '.join(hidden)} are not known, as these hide their work")
    if lost:
        notes.append(f"FLOPs of {', '.join(lost)} are in no row: the trace has no such operators")
    total = None if hidden else sum(counted.values())
    return {"flops": counted, "flops_notes": notes, "flops_total": total}


def _no_flops(why: str) -> dict[str, Any]:
    notes = [f"FLOPs by operator are not known: {why}"]
    return {"flops": {}, "flops_notes": notes, "flops_total": None}


def _notes(found: Mapping[str, Any], built: prepare.BuiltCase) -> list[str]:
    """Return notes for the reader of the figures."""
    notes = []
    if found["contended"]:
        notes.append("other work on the machine took a part of the processors: the times are long")
    if built.step is not built.eager:
        notes.append(
            "compiled: inside a graph there are no layers, so a graph is one row and only what the "
            "backward needs counts as activation"
        )
    notes += found["flops_notes"]
    if found["memory"] is None:
        notes.append("CUDA graphs allocate nothing when replayed: no memory over time")
    if not built.device.synchronous and not found["kernels"]:
        notes.append(_unseen(built.device.type, built.device.name, events=built.device.has_events))
    return notes


def _unseen(type_: str, name: str, *, events: bool) -> str:
    """Return the note on a device whose kernels are in no table.  events: these time its step."""
    if torch_private.profiler_activity(type_) is None:
        why = "torch's profiler has nothing that sees them"
    elif torch_private.is_outside_torch(type_):
        why = "its backend gives torch's profiler none"
    else:
        why = "torch's profiler saw no work there"
    timed = "events time" if events else "the host's clock times"
    return (
        f"kernels of {name} cannot be seen, as {why}: layers and operators have host times, "
        f"and {timed} the step as a whole"
    )


def _of_threads(events: Sequence[Event], ranges: Ranges) -> list[str]:
    """Return a note on layers without events: the profiler sees no thread of a network's own."""
    there = {ranges.rows[one.name] for one in events if one.name in ranges.rows}
    unseen = list(dict.fromkeys(one.module for row, one in ranges.seen.items() if row not in there))
    if not unseen:
        return []
    more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
    said = f"{unseen[0]}{more} ran in a thread that torch's profiler does not see"
    return [f"{said}: the time and the operators count for the module that waited"]


def _mean_s(times_ns: Iterable[int]) -> float:
    return statistics.fmean(times_ns) / 1e9
