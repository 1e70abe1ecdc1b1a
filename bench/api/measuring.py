"""Measure a model, a function or a training step in this process."""

import contextlib
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from bench.api import compiled, inputs, quiet, session
from bench.api.held import module_tensors, stepper_tensors
from bench.api.session import Loss, Optimizer, Session, SessionError, Work
from bench.api.settings import (
    SettingError,
    Settings,
    checked,
    checked_batch,
    unknown_keyword,
)
from bench.api.shown import table
from bench.api.values import Bytes, PerSecond, Seconds
from bench.core import units
from bench.core.axes import AS_BUILT
from bench.core.protocol import Budget
from bench.core.records import Case, Samples
from bench.worker.checks import finite, state
from bench.worker.device.device import open_device, wait_for
from bench.worker.metrics import peak_memory
from bench.worker.model import growth, torch_compile
from bench.worker.model.loss import FixedGradient
from bench.worker.model.step import TrainingStep
from bench.worker.model.step_inputs import StepError
from bench.worker.timing import call_timing, contention
from bench.worker.timing.stopwatch import wall_clock

USUAL = Budget()
IN_PROCESS = "in-process"  # the flag of every result of this door
WHY_IN_PROCESS = (
    "one process: another process may be faster or slower than the interval says; bench.run "
    "measures several"
)
# torch's words where a backward begins at more than one number.
NOT_A_NUMBER = "grad can be implicitly created only for scalar outputs"
SETTINGS = (
    *(one.name for one in fields(Settings)),
    *("loss", "optimizer", "batch", "keywords", "samples_s", "warmup_s"),
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Measured:
    """The cost of one call in this process.

    latency:      one call, the device idle before and after.
    pipelined:    one call of calls back to back.
    throughput:   batch / pipelined; of inputs with several sizes their mean.
    phases:       forward, backward and optimizer of a training; else the call alone.
    memory:       of one call; None = not counted here, and `doubts` says why.
    first_call_s: with compiling and the search for algorithms.
    flags:        `in-process` first.  doubts: the reasons for the others, in sentences.
    """

    name: str
    mode: str
    device: str
    batch: int | None
    settings: Mapping[str, str]
    latency: Seconds
    pipelined: Seconds
    throughput: PerSecond
    phases: Mapping[str, Seconds]
    memory: Bytes | None
    first_call_s: float
    flags: tuple[str, ...]
    doubts: tuple[str, ...]
    samples: tuple[Samples, ...] = field(default=())

    def __repr__(self) -> str:
        return f"<{self.name}, {self.mode}, {self._where}: {self.latency} [{self._flags}]>"

    @property
    def _where(self) -> str:
        batch = "" if self.batch is None else f"batch {self.batch}, "
        more = "".join(
            f", {k}={v}" for k, v in self.settings.items() if k not in ("mode", "device")
        )
        return f"{batch}{self.device}{more}"

    @property
    def _flags(self) -> str:
        return ", ".join(self.flags)

    def _repr_html_(self) -> str:
        rows = [
            ("latency", str(self.latency)),
            ("throughput", str(self.throughput)),
            *((name, str(one)) for name, one in self.phases.items() if len(self.phases) > 1),
            ("peak memory", "–" if self.memory is None else str(self.memory)),
            ("first call", units.seconds(self.first_call_s)),
        ]
        notes = [f"{self._flags}: {WHY_IN_PROCESS}", *self.doubts]
        return table(f"{self.name}, {self.mode}, {self._where}", ("", ""), rows, notes)


def measure(
    model: Callable[..., Any],
    /,
    *args: Any,
    mode: str | None = None,
    device: str | None = None,
    amp: str | None = None,
    memory_format: str | None = None,
    compile: str | bool | None = None,  # noqa: A002 - the name of the axis
    cudnn_benchmark: str | bool | None = None,
    tf32: str | bool | None = None,
    threads: int | str | None = None,
    grad_mode: str | None = None,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    batch: int | None = None,
    keywords: Mapping[str, Any] | None = None,
    samples_s: float = USUAL.samples_s,
    warmup_s: float = USUAL.warmup_s,
    **kwargs: Any,
) -> Measured:
    """Measure `model(*args, **kwargs)` in this process, and leave the process as it was.

    model:     a module, a compiled one, or any callable.  A callable that is not a module is
               called as it is, unless `mode` is given.
    args:      the inputs; a single generator or DataLoader gives inputs that take turns.
    mode:      `inference` (for modules, if it is not given) or `training`: a forward, a backward
               and an optimizer step that leaves the weights as they are.
    device … grad_mode: the axes of `bench run`.  If one is not given, it is as this process and
               this model have it.
    loss:      of the model's output, a tensor of one number; else a fixed gradient stands for it.
    optimizer: one that exists, or its class; else SGD.  Its learning rate is 0 meanwhile.
    batch:     items of one call; if it is not given, the first size of the first tensor.
    keywords:  keyword inputs whose names are those of settings.
    samples_s, warmup_s: seconds.

    Raises SessionError, SettingError, InputError, and what the model raises.
    """
    settings = checked(
        {
            "mode": mode,
            "device": device,
            "amp": amp,
            "memory_format": memory_format,
            "compile": compile,
            "cudnn_benchmark": cudnn_benchmark,
            "tf32": tf32,
            "threads": threads,
            "grad_mode": grad_mode,
        }
    )
    batch = checked_batch(batch)
    given = inputs.of(args, {**kwargs, **(keywords or {})})
    budget = budget_of(samples_s, warmup_s)
    opened = session.opened(
        {name_of(model): model}, given, settings, of_output=loss, optimizer=optimizer
    )
    with errors_explained(kwargs), opened as ready:
        return _measured(ready, ready.works[0], budget, batch)


def budget_of(samples_s: float, warmup_s: float) -> Budget:
    """Return the budget of a measurement.  Raises SettingError."""
    for name, value in (("samples_s", samples_s), ("warmup_s", warmup_s)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and value >= 0):
            raise SettingError(f"{name} is {value!r}: expected a number of seconds")
    if samples_s == 0:
        raise SettingError("samples_s is 0: expected a number of seconds above 0")
    return Budget(samples_s=samples_s, warmup_s=warmup_s)


def name_of(function: Any) -> str:
    """Return a short name: that of a function, or that of an object's class."""
    found = getattr(function, "__name__", None) or type(function).__name__
    return str(found)


@contextlib.contextmanager
def errors_explained(kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Turn what a step refuses into SessionError; add a hint to what a model itself raises."""
    try:
        yield
    except StepError as error:
        raise SessionError(str(error).replace("--grad-mode ", "grad_mode=")) from error
    except RuntimeError as error:
        if NOT_A_NUMBER in str(error):
            raise SessionError(
                "the loss is not one number, so there is no backward: let it end in .mean() or "
                ".sum()"
            ) from error
        raise
    except TypeError as error:
        for name in kwargs:
            if f"unexpected keyword argument {name!r}" in str(error):
                error.add_note(f"bench: {unknown_keyword(name, SETTINGS)}")
        raise


def _measured(ready: Session, work: Work, budget: Budget, batch: int | None) -> Measured:
    """batch: that was given; None = that of the inputs."""
    step = work.step
    begin_s = wall_clock()
    first_call_s = call_timing.first_call(step, ready.device)
    session.refuse_unstarted(work.name, step.output)
    ready.refuse_used_up()
    if hidden := ready.hidden_accelerator([step.output]):
        wait_for(hidden)
        first_call_s = wall_clock() - begin_s
        ready = ready.on(open_device(hidden))
    step.settle()
    step.prepare(1)
    frames, sizes = torch_compile.frames(), ready.sizes()
    infinite = finite.infinite_masks(step.output)
    meter = contention.Meter()
    timed = call_timing.measure(step, ready.device, budget, meter=meter)
    ready.refuse_used_up()
    doubts = Doubts()
    doubts.of_timing(timed, meter)
    grown = growth.grown(sizes, ready.sizes())
    doubts.of_calls(step.doubt, grown, torch_compile.frames() - frames)
    doubts.of_calls(ready.doubt, [], 0)
    items = items_of_call(ready.inputs.batches, doubts) if batch is None else batch
    doubts.sentences += finite.problems(step.output, infinite)
    require_settings(ready, work)
    peak = _memory(ready, work, doubts)
    by = {(one.phase, one.kind): Seconds.of(one.times_s) for one in timed.samples}
    kind = "latency" if (step.whole, "device") not in by else "device"
    pipelined = by[step.whole, "pipelined"]
    return Measured(
        name=work.name,
        mode=ready.mode,
        device=ready.device.name,
        batch=ready.batch if batch is None else batch,
        settings=ready.settings.given,
        latency=by[step.whole, "latency"],
        pipelined=pipelined,
        throughput=PerSecond.over(1 if items is None else items, pipelined),
        phases={name: by[name, kind] for name in step.phases if (name, kind) in by},
        memory=peak,
        first_call_s=first_call_s,
        flags=(IN_PROCESS, *sorted(doubts.flags)),
        doubts=tuple(doubts.sentences),
        samples=timed.samples,
    )


def items_of_call(batches: Sequence[int], doubts: "Doubts") -> float | None:
    """Return the items of a call: their mean, where inputs of unlike sizes take turns."""
    if not batches:
        return None
    items = statistics.fmean(batches)
    if len(set(batches)) > 1:
        sizes = ", ".join(map(str, dict.fromkeys(batches)))
        doubts.sentences.append(
            f"inputs of several sizes take turns ({sizes}): the throughput counts {items:.4g} "
            "items for each call, their mean"
        )
    return items


@dataclass(slots=True)
class Doubts:
    """Flags, and the reasons for them in sentences."""

    flags: set[str] = field(default_factory=set)
    sentences: list[str] = field(default_factory=list)

    def of_timing(self, timed: call_timing.Timing, meter: contention.Meter) -> None:
        if timed.missed_by_events is not None:
            self.sentences.append(f"there are host times alone: {timed.missed_by_events}")
        if not timed.settled:
            self.say("unsteady", "the times had not settled when the warm-up ended")
        if timed.moved is not None:
            word = "rose" if timed.moved > 0 else "fell"
            self.say("unsteady", f"the times {word} by {abs(timed.moved):.0%} during the samples")
        self.of_machine(meter)

    def of_machine(self, meter: contention.Meter) -> None:
        if meter.contended:
            self.say(
                "contended",
                "other work on this machine: threads waited for a processor during "
                f"{meter.contention_ratio or 0:.0%} of the time",
            )

    def of_calls(self, why: str | None, grown: list[str], frames: int) -> None:
        """Add doubts about the calls.

        grown:  names of objects that hold more after the samples.
        frames: number of frames that torch compiled during the samples.
        """
        if why:
            self.say("growing", why)
        if grown:
            names = ", ".join(one.partition(" ")[2] for one in grown[:3])
            self.say("growing", f"each call leaves more behind in {names}")
        if frames:
            self.say("unsteady", f"torch compiled {frames} times during the samples")

    def say(self, flag: str, sentence: str) -> None:
        self.flags.add(flag)
        self.sentences.append(sentence)


def require_settings(ready: Session, work: Work) -> None:
    """Raise SessionError where most of the work was not done as a setting asks for.

    The layers are looked at in a call of eager code: hooks do not see compiled code.
    """
    asked = ready.settings
    if said := compiled.problem(ready.compiling, work.step, work.eager):
        raise SessionError(said)
    if work.module is None or not (asked.amp or asked.memory_format):
        return
    work.eager.prepare(1)
    seen = state.layer_state(work.module, work.eager)
    case = Case(
        subject=work.name,
        mode=ready.mode,
        batch=ready.batch or 1,
        input="own",
        device=ready.device.name,
        dtype=AS_BUILT,
        amp=asked.amp or "off",
        memory_format=asked.memory_format or "contiguous",
        compile="off",
    )
    if found := state.problems(case, seen, {}):
        raise SessionError("; ".join(found))


def _memory(ready: Session, work: Work, doubts: Doubts) -> Bytes | None:
    step: Any = work.step  # its output is read-only to all others
    step.output = None
    step.prepare(1)
    for parameter in ready.held.parameters:
        parameter.grad = None
    weights = [one for module in ready.held.modules for one in module_tensors(module)]
    fixed = work.loss.held() if isinstance(work.loss, FixedGradient) else ()
    own = work.step.optimizer_state if isinstance(work.step, TrainingStep) else []
    state = [*own, *(one for each in ready.held.optimizers for one in stepper_tensors(each))]
    alive = peak_memory.storage_bytes(
        [*weights, *ready.held.tensors, *ready.inputs.tensors, *fixed, *state]
    )
    try:
        allocated = _allocated_bytes(ready, step)
    except peak_memory.MemoryCountError as error:
        doubts.sentences.append(f"the peak of the memory is unknown: {error}")
        return None
    return Bytes(alive + allocated, weights_bytes=peak_memory.storage_bytes(weights))


def _allocated_bytes(ready: Session, step: Callable[[], object]) -> int:
    """Return the most bytes that one call had allocated at once, beyond those from before it."""
    device = ready.device
    if device.type == "cpu":
        with quiet.profiler():
            return peak_memory.allocated_peak_bytes(step)
    device.wait()
    device.reset_peak()
    before = device.peak_bytes()  # held now, by anyone in this process
    step()
    device.wait()
    peak = device.peak_bytes()
    if before is None or peak is None:
        raise peak_memory.MemoryCountError(f"{device.name} does not count its memory")
    return peak - before
