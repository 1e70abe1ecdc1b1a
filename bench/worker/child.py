"""Measure one case in this process, or find its facts; leave the record in a file.

The flow of a case reads from top to bottom in `_measure`.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.records import Case, Entry, Facts, Failure, Measurement, Status, to_line
from bench.worker import compiled, cuda, facts, limits, settings, state, telemetry, timing, tree
from bench.worker.device import Device, open_device
from bench.worker.step import InferenceStep, Step, StepError, TrainingStep
from bench.worker.subject import Prepared, prepare

SETTLE_CALLS = 3  # of compiled code, before recompiling is a fault; CUDA graphs record in them
NOT_WRITTEN = 74  # EX_IOERR of sysexits(3): the record has no place to go
OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory"
)
UNSUPPORTED = re.compile(
    r"Expected more than 1 value per channel"
    r"|not implemented for '|is not supported|not supported on|unsupported (dtype|scalarType)"
    r"|Could not run '.*' with arguments"
)


class Invalid(Exception):  # noqa: N818 - a verdict on the row, not an error of the program
    """What ran is not what was asked for; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a child is asked to do, as it comes through a pipe."""

    job: str  # measure | facts
    case: Case
    replicate: int
    calls: int | None  # calls per pipelined sample, frozen by an earlier replicate
    budget: Mapping[str, Any]  # of timing.Budget
    cache: str  # folder for what compiling leaves
    out: str  # the record goes here
    log: str  # standard output and error go here
    timeout_s: float
    threads: int | None = None  # as torch had them before any subject was imported

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Request":
        names = [field.name for field in dataclasses.fields(cls)]
        own = {name: fields[name] for name in names if name in fields}
        return cls(**{**own, "case": Case.of(fields["case"])})


def run(request: Request) -> None:
    """Do the job; whatever happens, a record is written, whole or not at all."""
    try:
        entry = _facts(request) if request.job == "facts" else _measure(request)
    except BaseException as error:  # a subject may raise anything, SystemExit as well
        with contextlib.suppress(OSError, ValueError):  # it may have closed its streams
            traceback.print_exc()
        status, reason = describe(error)
        entry = Failure(
            case=request.case, replicate=request.replicate, status=status, reason=reason
        )
    try:
        write(entry, Path(request.out))
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):
            print(f"{request.out}: {error.strerror}", file=sys.stderr)
        os._exit(NOT_WRITTEN)


def write(entry: Entry, path: Path) -> None:
    """Written beside, then renamed: a reader sees all of it or nothing."""
    beside = path.with_suffix(".tmp")
    beside.write_text(to_line(entry), encoding="utf-8")
    beside.rename(path)


def describe(error: BaseException) -> tuple[Status, str]:
    """The status that an exception means, and its first line."""
    text = " ".join(str(error).split()) or type(error).__name__
    short = text if len(text) <= 300 else text[:297] + "…"
    match error:
        case Invalid():
            return "invalid", short
        case StepError() if "GradScaler skipped" in text:
            return "invalid", short
        case compiled.CompileUnavailable():
            return "unsupported", short
        case MemoryError() | torch.OutOfMemoryError():
            return "oom", short
        case SystemExit() | KeyboardInterrupt():
            return "crash", f"{type(error).__name__}: {short}"
        case NotImplementedError():
            return "unsupported", f"{type(error).__name__}: {short}"
        case RuntimeError() | ValueError() if OUT_OF_MEMORY.search(text):
            return "oom", short
        case RuntimeError() | ValueError() if UNSUPPORTED.search(text):
            return "unsupported", short
        case _ if type(error).__name__ == "FailOnRecompileLimitHit" or "fail_on_recompile" in text:
            return "invalid", f"recompiled inside the samples: {short}"
    return "error", f"{type(error).__name__}: {short}"


def make_step(
    prepared: Prepared, module: nn.Module, case: Case, device_type: str, *, graphs: bool = False
) -> Step:
    """One real call of the case."""
    if case.mode == "inference":
        return InferenceStep(
            module,
            prepared.args,
            prepared.kwargs,
            device_type=device_type,
            amp=case.amp,
            restore=prepared.restore,
            cudagraphs=graphs,
        )
    return TrainingStep(
        module,
        prepared.args,
        prepared.kwargs,
        loss=prepared.loss,
        device_type=device_type,
        amp=case.amp,
        restore=prepared.restore,
        cudagraphs=graphs,
    )


@dataclass(frozen=True, slots=True)
class _Ready:
    """A case built under its settings."""

    device: Device
    prepared: Prepared
    step: Step  # what is timed
    eager: Step  # the same, not compiled
    graphs: bool
    threads: int  # as the settings left them, before the subject could


def _build(request: Request) -> _Ready:
    case = request.case
    device_type = case.device.partition(":")[0]
    if case.compile != compiled.OFF:
        compiled.prepare(Path(request.cache))
    if request.threads not in (None, torch.get_num_threads()):
        torch.set_num_threads(int(request.threads or 1))  # the import of some subject turned it
    settings.apply(case)
    threads = torch.get_num_threads()
    device = open_device(case.device)
    prepared = prepare(case)
    graphs = compiled.uses_cuda_graphs(case.compile, device_type)
    module = compiled.compile_module(prepared.module, case.compile, device_type)
    eager = make_step(prepared, prepared.module, case, device_type)
    step = (
        eager
        if module is prepared.module
        else make_step(prepared, module, case, device_type, graphs=graphs)
    )
    return _Ready(device, prepared, step, eager, graphs, threads)


def _measure(request: Request) -> Entry:
    case = request.case
    ready = _build(request)
    device, step, module = ready.device, ready.step, ready.prepared.module
    if case.cudnn_benchmark == "on":
        cuda.prime_cudnn(case.device)
    first_call_s = timing.first_call(step, device)
    step.settle()
    before = state.global_state(module, case.device.partition(":")[0])
    if case.compile == compiled.OFF:
        step.prepare(1)
        before |= state.layer_state(module, step)
    _refuse(state.problems(case, before, ready.threads))
    graphs = _settle_graphs(ready) if case.compile != compiled.OFF else None
    skipped = step.skipped_steps
    around = telemetry.snapshot()
    with _no_recompiles(case):
        budget = timing.Budget(**request.budget)
        times = timing.measure(step, device, budget, calls=request.calls)
    load = telemetry.difference(around, telemetry.snapshot())
    after = state.global_state(module, case.device.partition(":")[0])
    _refuse(state.problems(case, after, ready.threads))
    if step.skipped_steps > skipped:
        raise Invalid(f"GradScaler skipped {step.skipped_steps - skipped} steps while timed")
    found: dict[str, float] = {"first_call_s": first_call_s}
    extra_s = max(0.0, first_call_s - _steady_s(times, step.whole))
    if graphs is not None:
        found |= _compile_facts(ready, graphs, extra_s)
        before |= _eager_state(ready)
        _refuse(state.problems(case, before, ready.threads))
    elif case.cudnn_benchmark == "on" and _convolves(module):
        found["tuning_s"] = extra_s
    _refuse(_not_finite(step))
    if load.page_faults is not None and times.calls_made:
        found["page_faults"] = load.page_faults / times.calls_made
    if load.contention_ratio is not None:
        found["contention_ratio"] = load.contention_ratio
    flags = [] if times.settled else ["unsteady"]
    if load.contended:
        flags.append("contended")
    return Measurement(
        case=case,
        replicate=request.replicate,
        samples=times.samples,
        flags=tuple(flags),
        facts=found,
        state={**before, "end": after},
        timed_s=times.timed_s,
    )


def _no_recompiles(case: Case) -> contextlib.AbstractContextManager[Any]:
    """A recompile inside the samples raises instead of being timed."""
    if case.compile == compiled.OFF:
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("fail_on_recompile")
    return stance


@dataclass(frozen=True, slots=True)
class _Graphs:
    """What dynamo did in the first call, and in the calls after it that let it settle."""

    first: compiled.CompileState
    settled: compiled.CompileState


def _settle_graphs(ready: _Ready) -> _Graphs:
    """A few calls more: what a forward caches in its first call recompiles once, in the second."""
    first = compiled.read()
    for _ in range(SETTLE_CALLS):
        ready.step.prepare(1)
        ready.step()
    ready.device.wait()
    return _Graphs(first, compiled.read())


def _compile_facts(ready: _Ready, graphs: _Graphs, compiling_s: float) -> dict[str, float]:
    after = compiled.read()
    problem = compiled.problem(graphs.settled, after, cuda_graphs=ready.graphs)
    _refuse([problem] if problem else [])
    name = "compile_warm_s" if graphs.first.warm else "compile_cold_s"
    return {
        name: compiling_s,
        "graph_breaks": after.graph_breaks,
        "recompiles": graphs.settled.frames_total - graphs.first.frames_total,
    }


def _convolves(module: nn.Module) -> bool:
    """Whether cuDNN has anything to search for."""
    return any(isinstance(layer, state.CONVOLUTIONS) for layer in module.modules())


def _eager_state(ready: _Ready) -> dict[str, Any]:
    """dtypes and layouts of the layers, which hooks cannot see in compiled code.

    The module is called once more, not compiled, under the same settings; that compiled code
    did the same arithmetic shows in the dtypes of its output.
    """
    wanted = [str(one.dtype) for one in tree.tensors(ready.step.output)]
    ready.eager.prepare(1)
    try:
        seen = state.layer_state(ready.prepared.module, ready.eager)
    except (MemoryError, RuntimeError) as error:  # eager code takes more memory: no verdict
        return {"layers": f"not looked at: {error}"}
    eager = [str(one.dtype) for one in tree.tensors(ready.eager.output)]
    if wanted != eager:
        raise Invalid(f"compiled code puts out {wanted}, eager code {eager}")
    return seen


def _steady_s(times: timing.Timing, whole: str) -> float:
    """The fastest call of the whole, to be taken from the first one: seconds."""
    return min((min(one.times_s) for one in times.samples if one.phase == whole), default=0.0)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise Invalid("; ".join(problems))


def _not_finite(step: Step) -> list[str]:
    """Non-finite output never passes, however fast it came (rule 26)."""
    for tensor in tree.tensors(step.output):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return ["the output is not finite (NaN or infinity)"]
    return []


def _facts(request: Request) -> Facts:
    start = time.perf_counter()
    ready = _build(request)
    found, problems = facts.find(
        ready.step, ready.eager, ready.prepared, request.case, ready.device
    )
    finite = {name: value for name, value in found.items() if math.isfinite(value)}
    return Facts(
        case=request.case,
        facts=finite,
        problems=problems,
        wall_s=time.perf_counter() - start,
    )


def main() -> None:
    """A child in an interpreter of its own, where a fork would not do."""
    limits.die_with_parent()
    request = Request.of(json.loads(sys.stdin.read()))
    case = request.case
    limits.bound(on_cpu=case.device == "cpu", compiles=case.compile != compiled.OFF)
    run(request)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what a subject left behind must not delay the end


if __name__ == "__main__":
    main()
