"""Measures one case in this process, or finds its static metrics; writes the record to a file."""

import contextlib
import dataclasses
import dis
import errno
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from bench.core.allocator_advice import pressure
from bench.core.errors import NO_SPACE
from bench.core.protocol import Budget, Job, Request
from bench.core.records import (
    MISSED_BY_EVENTS,
    Case,
    Entry,
    Failure,
    Measurement,
    StaticMetrics,
    Status,
    to_line,
)
from bench.core.subject import parse
from bench.core.text import printable, shortened_line
from bench.host import rapl
from bench.worker.checks import finite
from bench.worker.checks.numerics import NumericsResult
from bench.worker.checks.values import NoReferenceError
from bench.worker.counting import meter
from bench.worker.device import cuda, gpu_monitor, nvidia, out_of_memory, reference_work
from bench.worker.device.device import Device, free_share, memory_pressure
from bench.worker.jobs import (
    count_static_metrics,
    interleaved,
    parts,
    prepare,
    profile,
    reference,
    transfer_times,
    verify,
)
from bench.worker.model import compile_tools, loss, torch_compile, weights
from bench.worker.model.build import SubjectError, SubjectRaised
from bench.worker.model.step_inputs import NoSteps, StepError, UnsupportedError
from bench.worker.process import limits
from bench.worker.timing import call_timing, contention
from bench.worker.timing.stopwatch import wall_clock

T = TypeVar("T")
MOST_TEXT = 300  # characters of a reason
NEARLY_FULL = 0.1  # share of a device's memory that is free at most
# The share of the time limit that a batch may need to fit: the process that measures it later may
# be slower, and its warm-up longer.
FITS_SHARE = 0.9
UNSUPPORTED = re.compile(
    r"Expected more than 1 value per channel"
    r"|not implemented for '|is not supported|not supported on|[Uu]nsupported (dtype|scalarType)"
    r"|Could not run '.*' with arguments"
)

NO_FORWARD = re.compile(r'missing the required "forward" function')
TORCH = Path(torch.__file__).parent

DiskTrouble = Literal["full", "file-too-large"]
DISK: Mapping[DiskTrouble, str] = {
    "full": NO_SPACE,
    "file-too-large": f"a case may write {limits.FILE_BYTES // 2**20} MiB to a file, or print them",
}


def into_log(request: Request) -> None:
    """Let what this process prints go to the log of its case."""
    log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target in (1, 2):
        os.dup2(log, target)
    os.close(log)


def begin(request: Request) -> None:
    """Set the limits of this process for its case."""
    assert request.parent is not None
    limits.begin_child(request.parent)
    case = request.case
    limits.limit_resources(on_cpu=case.device == "cpu", compiles=case.compile != torch_compile.OFF)


def run(request: Request) -> Entry:
    """Do the job, and write and return a record, complete or not at all, whatever happens.

    Raises OSError if it cannot be written.
    """
    own = os.getpid()
    entry: Entry | None = None
    caught: BaseException | None = None
    try:
        weights.use(request.weights)
        entry = JOBS[request.job](request)
    except BaseException as error:  # a subject may raise anything, SystemExit as well
        caught = error
    if os.getpid() != own:  # a copy that the subject made with os.fork: the record is not its own
        os._exit(0)
    try:
        limits.allow_writing()
    except BaseException:  # of a handler that the subject left: signals were not blocked yet
        limits.allow_writing()
    if entry is None:
        entry = _failure(request, caught)
    write(entry, Path(request.out))
    return entry


def _failure(request: Request, error: BaseException | None) -> Failure:
    assert error is not None
    with contextlib.suppress(BaseException):  # it may have replaced its streams
        traceback.print_exception(error)
    status, reason = describe(error, lambda: _nearly_full(request.case.device))
    return Failure(
        case=request.case,
        replicate=request.replicate,
        status=status,
        reason=reason,
        cause="disk-full" if _disk_trouble(error) == "full" else None,
    )


def write(entry: Entry, path: Path) -> None:
    """Write the record beside, then rename it: a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)  # a subject may have removed it
    beside = path.with_suffix(".tmp")
    beside.write_text(to_line(entry), encoding="utf-8")
    beside.rename(path)


def describe(
    error: BaseException, nearly_full: Callable[[], bool] = lambda: False
) -> tuple[Status, str]:
    """Return the status that an exception means, and its first line.

    nearly_full: whether the device has hardly any memory left.
    """
    name, text = printable(type(error).__name__), _error_text(error)
    short = shortened_line(text, MOST_TEXT)
    if trouble := _disk_trouble(error):
        return "error", f"{DISK[trouble]}: {name}: {short}"
    match error:
        case prepare.Invalid() | NoSteps():
            return "invalid", short
        case call_timing.TooSlowError():
            return "timeout", short
        case _ if lacks := _not_possible_here(error, text):
            return "unsupported", shortened_line(lacks, MOST_TEXT)
        case SystemExit() | KeyboardInterrupt():
            return "crash", f"{name}: {short}"
        case _ if memory := _out_of_memory(error, nearly_full):
            return "oom", shortened_line(memory, MOST_TEXT)
        case NotImplementedError() if _unsupported(error, text):
            return "unsupported", f"{name}: {short}"
        case StepError():
            return "error", f"{name}: {short}"
        case RuntimeError() | ValueError() if _unsupported(error, text):
            return "unsupported", short
        case SubjectError():
            return "error", short
        case _ if name == "FailOnRecompileLimitHit" or "fail_on_recompile" in text:
            return "invalid", f"recompiled inside the samples: {short}"
    return "error", f"{name}: {short}"


def _not_possible_here(error: BaseException, text: str) -> str | None:
    """Return what this machine or a mode lacks, and how to get it if that is known."""
    if isinstance(error, torch_compile.CompileUnavailable | UnsupportedError):
        return text
    lacks = compile_tools.named_in(text) if isinstance(error, RuntimeError) else None
    return None if lacks is None else f"{lacks.what}; {lacks.mend}"


def _out_of_memory(error: BaseException, nearly_full: Callable[[], bool]) -> str | None:
    """Return the line of the error that says so, or None."""
    if isinstance(error, SubjectRaised) and error.__cause__ is not None:
        return _error_text(error) if _out_of_memory(error.__cause__, nearly_full) else None
    found = out_of_memory.reason(error, _error_lines(error), nearly_full)
    return None if found is None else printable(found)


def _nearly_full(device_name: str) -> bool:
    share = None if device_name == "cpu" else free_share(device_name)
    return share is not None and share < NEARLY_FULL


def _unsupported(error: BaseException, text: str) -> bool:
    """Return whether torch cannot do it; a subject's own words do not count."""
    if isinstance(error, NotImplementedError):
        return _raised_by_torch(error) and not NO_FORWARD.search(text)
    return bool(UNSUPPORTED.search(text)) and _raised_by_torch(error)


def _raised_by_torch(error: BaseException) -> bool:
    """Return whether torch raised it, in Python or C++, and not a subject or a library."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return True
    code = last.tb_frame.f_code
    if Path(code.co_filename).is_relative_to(TORCH):
        return True
    # C++ has no frame: then the last one stands at a call, not at a statement that raises.
    return dis.opname[code.co_code[last.tb_lasti]] != "RAISE_VARARGS"


def _error_text(error: BaseException) -> str:
    """Return the text of an error on one line, printable."""
    return printable(" ".join(_error_lines(error).split()) or type(error).__name__)


def _error_lines(error: BaseException) -> str:
    """Return the text of an error; its __str__ is the subject's and may raise."""
    try:
        return "".join(str(error))
    except BaseException:
        return "its text cannot be shown"


def _disk_trouble(error: BaseException) -> DiskTrouble | None:
    """Return the disk trouble behind an error; a compiler's full cache is wrapped repeatedly."""
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None:
            break
        number = seen.errno if isinstance(seen, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in _error_text(seen):
            return "full"
        if number == errno.EFBIG:
            return "file-too-large"
        seen = seen.__cause__ or seen.__context__
    return None


@dataclasses.dataclass(slots=True)
class _Watched:
    """Meters of the samples, which forget an attempt that is made again."""

    device: Device
    counting: meter.CountingMeter
    power: meter.PowerMeter
    pressure_before: tuple[int, int] = (0, 0)

    def start(self) -> None:
        self.pressure_before = memory_pressure(self.device.name)
        self.power.start()

    def restart(self) -> None:
        """Free memory, and forget the first attempt."""
        self.device.empty_cache()
        self.counting.clear()
        self.start()

    def stop(self) -> str | None:
        """End the metering; say that the device's memory was nearly full, if it was."""
        self.power.stop()
        after = memory_pressure(self.device.name)
        before = self.pressure_before
        return pressure(after[0] - before[0], after[1] - before[1])


def _timed(
    built: prepare.BuiltCase,
    made: int,
    known: reference_work.Controls,
    watched: _Watched,
    limit: call_timing.Limit,
    room: Callable[[Exception], str | None],
) -> call_timing.Timing:
    """Take the samples, without the controls if memory ends while they hold some.

    made: calls of the step before.
    """
    request = built.request

    def take() -> call_timing.Timing:
        with prepare.no_recompiles(request.case):
            return call_timing.measure(
                built.step,
                built.device,
                request.budget,
                calls=request.calls,
                made=made,
                between=known,
                meter=watched.counting,
                limit=limit,
            )

    return with_room(take, known, room, watched.restart)


def _measure(request: Request, least: Budget | None = None) -> Entry:
    """Measure the case.  least: see `call_timing.Limit`."""
    limit = call_timing.Limit(wall_clock(), request.timeout_s, least)
    counters = meter.counters_here()  # before threads start: they are counted as well
    built = prepare.build(request)
    begun = prepare.begin(built)
    load = contention.Meter()
    counting = meter.CountingMeter(load, counters)
    power = meter.PowerMeter(rapl.opened() if built.device.synchronous else None)

    def room(error: Exception) -> str | None:
        return _out_of_memory(error, lambda: _nearly_full(request.case.device))

    known = reference_work.Controls(request.case.device, built.device, wall_clock, room)
    driver = gpu_monitor.GpuMonitor(nvidia.gpu_of(request.case.device))
    built.device.wait()
    driver.start()
    watched = _Watched(built.device, counting, power)
    watched.start()
    times = _timed(built, begun.calls, known, watched, limit, room)
    full = watched.stop()
    driver.stop()
    host = _host_metrics(built, times)
    moved = _transfers(built, room) if request.transfers else transfer_times.Moved()
    left_out = dict(moved.left_out)
    if known.left_out is not None:
        left_out["controls"] = known.left_out
    found, seen = prepare.end(built, begun, _steady_s(times, built.step.whole))
    if request.earlier_cases:  # what comes once in a process has come before
        found.pop("first_call_s")
        host.pop("process_start_s", None)
        seen["earlier_cases"] = request.earlier_cases
    seen |= driver.state()
    if times.missed_by_events is not None:
        seen[MISSED_BY_EVENTS] = times.missed_by_events
    doubts = doubts_of(times.settled, times.moved, seen, full)
    flags = [*doubts, *prepare.flags(seen)]
    if load.contended:
        flags.append("contended")
    flags += driver.flags()
    return Measurement(
        case=request.case,
        replicate=request.replicate,
        samples=times.samples + moved.samples,
        flags=tuple(dict.fromkeys(flags)),
        metrics=found
        | host
        | moved.metrics
        | driver.columns()
        | power.columns()
        | counting.columns(times.calls_sampled),
        state=seen
        | ({"doubts": doubts} if doubts else {})
        | ({"left_out": left_out} if left_out else {}),
        controls={name: tuple(times) for name, times in known.times_s.items()},
        controls_s=known.spent_s,
        timed_s=times.timed_s + moved.timed_s,
        warmup_s=times.warmup_s + moved.warmup_s,
        looking_s=begun.looking_s,
    )


def with_room(
    take: Callable[[], T],
    controls: reference_work.Controls,
    why_no_memory: Callable[[Exception], str | None],
    restart: Callable[[], None],
) -> T:
    """Take the samples; where memory ends while the controls hold some, take them again without.

    A case that fits alone is not to fail for what the suite adds.
    """
    try:
        return take()
    except Exception as error:
        why = why_no_memory(error)
        if why is None or not controls.give_way(f"the case needs their memory: {why}"):
            raise
    restart()  # not above: the traceback holds what the call had allocated
    return take()


def _host_metrics(built: prepare.BuiltCase, times: call_timing.Timing) -> dict[str, float]:
    """Return the host's time to open an accelerator, and to issue one call; nothing on a CPU.

    The second is unknown if the call waits for the device: the host then takes as long as the
    device.
    """
    if built.device.synchronous:
        return {}
    found = {"process_start_s": built.process_start_s}
    if times.host_issue_s is None:
        return found
    scaled = built.case.mode == "training" and built.case.amp == "float16"
    if scaled and parse(built.case.subject).layer is None:
        return found  # GradScaler reads a number of the device before each optimizer step
    built.step.prepare(1)
    waits = cuda.waits_for_device(built.case.device, built.step)
    return found if waits else {**found, "host_issue_s": times.host_issue_s}


def doubts_of(
    settled: bool, moved: float | None, state: Mapping[str, Any], full: str | None = None
) -> dict[str, str]:
    """Return the flags of the times with their reasons.

    moved: rise through the samples, as a ratio.
    state: of `prepare.end`, which may have some doubts itself.
    full:  says that the device's memory was nearly full.
    """
    said = [text for text in (dict(state.get("doubts", {})).get("unsteady"), full) if text]
    if moved is not None:
        verb = "rose" if moved > 0 else "fell"
        said.append(f"the times {verb} by {abs(moved):.0%} through the samples")
    elif not settled:
        said.append("the times had not settled when the warm-up ended")
    return {"unsteady": "; ".join(said)} if said else {}


def _transfers(
    built: prepare.BuiltCase, why_no_memory: Callable[[Exception], str | None]
) -> transfer_times.Moved:
    """Time the copies of a whole subject's data; the data of a layer is on the device already.

    In training only a loss comes back, which no user fetches at every step.
    """
    if built.device.synchronous or parse(built.case.subject).layer is not None:
        return transfer_times.Moved()
    inputs = (built.prepared.args, built.prepared.kwargs)
    outputs = built.step.output if built.case.mode == "inference" else ()
    try:
        every = transfer_times.copies(inputs, outputs, built.case.device)
    except Exception as error:  # the host has no room for them
        if why := why_no_memory(error):
            return transfer_times.Moved(left_out={"transfers": why})
        raise
    budget = transfer_times.budget(built.request.budget)
    return transfer_times.measure(every, built.device, budget=budget, why_no_memory=why_no_memory)


def _steady_s(times: call_timing.Timing, whole: str) -> float:
    """Return the seconds of the fastest call of the whole, to be subtracted from the first one."""
    return min((min(one.times_s) for one in times.samples if one.phase == whole), default=0.0)


def _static_metrics(request: Request) -> StaticMetrics:
    built = prepare.build(request)
    request.enter("while it was counted and held against its reference")
    kept, doubt = Path(request.out).with_suffix(".values"), None
    try:
        verify.keep_first_call(built, kept)
    except NoReferenceError as error:
        doubt = str(error)
    except Exception as error:  # a kind of tensor that cannot be kept; the rest is still found
        text = shortened_line(_error_text(error), 200)
        doubt = f"its values cannot be kept: {type(error).__name__}: {text}"
    found, problems = count_static_metrics.find(
        built.step,
        built.eager,
        built.prepared,
        request.case,
        built.device,
        energy_too=request.energy,
    )
    result = (
        NumericsResult(doubt=doubt)
        if doubt
        else verify.compare_with_reference(built, kept, request.reference)
    )
    found |= result.columns()
    if _trains_whole(request.case) and (said := loss.unused_loss(built.prepared.module)):
        problems["loss"] = said
    invalid = result.wrong
    if "output" not in result.errors and (infinite := finite.first_infinite(built.step.output)):
        invalid = (
            invalid or f"{infinite}, and no reference says that they are meant: {result.doubt}"
        )
    if result.doubt:
        problems["relative_error"] = result.doubt
    known = {name: value for name, value in found.items() if math.isfinite(value)}
    return StaticMetrics(case=request.case, metrics=known, problems=problems, invalid=invalid)


def _trains_whole(case: Case) -> bool:
    return case.mode == "training" and parse(case.subject).layer is None


def _reference(request: Request) -> StaticMetrics:
    """Write the float64 values of a whole subject to a file, or the reason why there are none."""
    path = Path(str(request.reference))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        reference.save(reference.of_whole(request.case, request.reference_s), path)
    except NoReferenceError as error:
        path.with_suffix(".txt").write_text(str(error), encoding="utf-8")
    return StaticMetrics(case=request.case, metrics={})


def _fits(request: Request) -> StaticMetrics:
    """Measure the case with one sample of each kind; it raises if memory ends.

    It also raises where the calls of the whole budget would exceed the time limit.  So a batch that
    fits can be measured.
    """
    short = dataclasses.replace(
        request.budget,
        warmup_s=0.0,
        warmup_calls=1,
        warmup_cap_s=0.0,
        samples_s=0.0,
        min_samples=1,
        max_samples=1,
    )
    timeout_s = FITS_SHARE * request.timeout_s
    tried = dataclasses.replace(request, job="measure", budget=short, timeout_s=timeout_s)
    _measure(tried, least=request.budget)
    return StaticMetrics(case=request.case, metrics={})


JOBS: Mapping[Job, Callable[[Request], Entry]] = {
    "measure": _measure,
    "static_metrics": _static_metrics,
    "profile": profile.run,
    "parts": parts.run,
    "reference": _reference,
    "turns": interleaved.run,
    "fits": _fits,
}


def main() -> None:
    """Run a child in an interpreter of its own, where a fork does not work."""
    request = Request.of_line(sys.stdin.read())
    begin(request)
    run(request)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what a subject left behind must not delay the end
