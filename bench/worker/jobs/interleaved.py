"""One side of a pair: it is built and warmed up, then takes samples when it has a turn.

The parent starts each turn through a named pipe, and gets the end of the turn through another
(`bench.ab.interleave`).  Between turns this process is blocked in a read, and the other side has
the machine.
"""

import dataclasses
import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from bench import start
from bench.core.protocol import (
    NoMoreTurns,
    Proof,
    Request,
    Turn,
    TurnTaken,
    Warm,
    order_of_line,
    to_line,
)
from bench.core.records import MISSED_BY_EVENTS, Measurement, Samples
from bench.core.subject import parse
from bench.worker.jobs import prepare
from bench.worker.timing import call_timing, contention, event_sight, sampler, stopwatch

PAUSE_S = 0.02  # libgomp's threads of the other side spin on for 10 ms
UNTIMED_CALLS = 2  # caches are the other side's, and one's own threads sleep
MOST_TURN_S = 0.4  # of samples, where a turn that suits the other side is long here
BLOCKS = 5  # of calls back to back, a turn: as many calls together as the single ones
LEAST_IN_BLOCK = 2  # calls: one alone has nothing to hide its launches behind


class TurnsError(Exception):
    """The parent is gone."""


class InterleavedSampler:
    """Takes samples of the whole call and of its phases from the same calls."""

    def __init__(
        self,
        step: stopwatch.TimedStep,
        device: stopwatch.TimedDevice,
        meter: sampler.Meter,
        clock: Callable[[], float] = stopwatch.wall_clock,
        pause: Callable[[float], None] = time.sleep,
        *,
        host_clock: bool = False,
    ) -> None:
        """Prepare the sampler.

        step:       warm.
        meter:      runs during the samples only.
        pause:      sleeps so many seconds.
        host_clock: measure the whole call only, to compare with another kind of device.
        """
        self._watch = stopwatch.Stopwatch(step, device, clock)
        self._pause = pause
        self._meter = meter
        self.calls_sampled = 0
        # Events are used if they can be trusted, as in `timing`; else the host's clock, and inside
        # the step only if work is done when its call returns.
        self._has_events = self._events = device.has_events and not host_clock
        self._marked = device.synchronous and len(step.phases) > 1 and not host_clock
        # A wait inside a call costs a device what it had queued, which single calls do not see.
        self._in_a_row = not device.synchronous and not host_clock
        self._step = step

    @property
    def _phases(self) -> tuple[str, ...]:
        shown = len(self._step.phases) > 1 and (self._events or self._marked)
        return (self._step.whole, *(self._step.phases if shown else ()))

    def turn(self, calls: int, samples: int, *, host_times: bool = False) -> list[Samples]:
        """Take the samples of one turn: at most so many, each the mean of `calls` single calls.

        On an accelerator it then takes as many calls back to back, in a few blocks of one sample
        each.

        host_times: the device's events are not used, since they do not see all work of one side.
        """
        self._events = self._has_events and not host_times
        watch = self._watch
        self._pause(PAUSE_S)
        for _ in range(UNTIMED_CALLS):
            watch.latency_s()
        rows: list[list[float]] = []
        made = watch.calls_made
        self._meter.start()
        end_s = watch.clock() + MOST_TURN_S
        while len(rows) < samples and (not rows or watch.clock() < end_s):
            each = [self._single_call() for _ in range(calls)]
            rows.append([sum(column) / calls for column in zip(*each, strict=True)])
        in_a_row = self._back_to_back(calls * samples) if self._in_a_row else []
        self._meter.stop()
        self.calls_sampled += watch.calls_made - made
        kind = "device" if self._events else "latency"
        return [
            *(
                Samples(phase=phase, kind=kind, calls_per_sample=calls, times_s=tuple(times_s))
                for phase, times_s in zip(self._phases, zip(*rows, strict=True), strict=True)
            ),
            *in_a_row,
        ]

    def _back_to_back(self, calls: int) -> list[Samples]:
        """Take so many calls, or at least two in each block that there is time for."""
        wanted = max(LEAST_IN_BLOCK, calls // BLOCKS)
        times_s: list[float] = []
        end_s = self._watch.clock() + MOST_TURN_S
        while len(times_s) < BLOCKS and (not times_s or self._watch.clock() < end_s):
            wanted = self._step.prepare(wanted)  # fewer where inputs of all would not fit
            times_s.append(self._watch.span_s(wanted) / wanted)
        whole = self._phases[0]
        return [
            Samples(phase=whole, kind="pipelined", calls_per_sample=wanted, times_s=tuple(times_s))
        ]

    def _single_call(self) -> list[float]:
        """Return the seconds of the whole call, then of its phases."""
        if self._events:
            return self._watch.device_s()[: len(self._phases)]
        return self._watch.latency_s(marked=self._marked)


class Channel(AbstractContextManager["Channel"]):
    """Two named pipes to the parent (`bench.core.protocol`)."""

    def __init__(self, prefix: str) -> None:
        """prefix: their names without `.orders` and `.answers`."""
        self._answers = Path(f"{prefix}.answers").open("w", encoding="utf-8")  # noqa: SIM115
        self._orders = Path(f"{prefix}.orders").open(encoding="utf-8")  # noqa: SIM115

    def send(self, what: Warm | TurnTaken) -> None:
        self._answers.write(to_line(what))
        self._answers.flush()

    def turns(self) -> Iterator[Turn]:
        """Yield the turns until the parent ends them.  Blocks.  Raises TurnsError."""
        for line in iter(self._orders.readline, ""):
            order = order_of_line(line)
            if isinstance(order, NoMoreTurns):
                return
            yield order
        raise TurnsError("the parent ended before the pair did")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._answers.close()
        self._orders.close()


def run(request: Request) -> Measurement:
    """Return the samples, a record for each turn and phase in the order of the turns.

    Raises the errors of building, warming up or verifying the case.
    """
    built = prepare.build(request)
    begun = prepare.begin(built)
    load = contention.Meter()
    taken: list[Samples] = []
    with prepare.no_recompiles(request.case), Channel(str(request.pipes)) as channel:
        steady = call_timing.warm_up(built.step, built.device, request.budget)
        one = InterleavedSampler(built.step, built.device, load, host_clock=request.host_clock)
        gc.collect()  # what the building left behind is not cleared away during a sample
        seen = proof(parse(request.case.subject).module)
        missed, _ = event_sight.missed_work(built.step, built.device)
        channel.send(Warm(call_s=steady.call_s, proof=seen, missed_by_events=missed))
        for turn in channel.turns():
            taken += one.turn(turn.calls, turn.samples, host_times=turn.host_times)
            channel.send(TurnTaken())
    whole = [
        min(samples.times_s)
        for samples in taken
        if samples.phase == built.step.whole and samples.kind != "pipelined"
    ]
    found, state = prepare.end(built, begun, min(whole, default=0.0))
    state |= {} if missed is None else {MISSED_BY_EVENTS: missed}
    growing = prepare.flags(state)
    flags = [] if steady.settled and not growing else ["unsteady", *growing]
    return Measurement(
        case=request.case,
        replicate=request.replicate,
        samples=tuple(taken),
        flags=tuple([*flags, "contended"] if load.contended else flags),
        metrics=found | load.columns(one.calls_sampled),
        state={**state, "proof": dataclasses.asdict(seen)},
    )


def proof(module: str) -> Proof:
    """Return the code that this process runs: the subject's file, and all files that are no
    library's.

    Files of the interpreter, of its libraries and of this suite are left out.  Installed packages
    are named as well: one may be a copy of the variant's own.
    """
    suite, libraries = Path(start.SUITE).resolve(), Path(torch.__file__).parents[1]
    own = [Path(one).resolve() for one in (sys.prefix, sys.base_prefix, libraries, suite)]
    by_name = {
        name: path for name, one in list(sys.modules.items()) if (path := _file(one)) is not None
    }
    files = {
        str(path)
        for path in by_name.values()
        if not any(path.is_relative_to(folder) for folder in own)
    }
    subject = _file(sys.modules.get(module))
    return Proof(
        subject=str(subject) if subject else None,
        files=tuple(sorted(files)),
        packages=packages(
            {name: path for name, path in by_name.items() if not path.is_relative_to(suite)}
        ),
        python=sys.executable,
        torch=torch.__version__,
    )


def packages(modules: Mapping[str, Path]) -> dict[str, str]:
    """Return the files of the outermost modules, by their path below the folder of the import.

    `ns/mylib/__init__.py`.  modules: by name; Python's own are left out.
    """
    found = {}
    for name, file in modules.items():
        parts = name.split(".")
        inside = any(".".join(parts[:end]) in modules for end in range(1, len(parts)))
        below = Path(*parts, "__init__.py") if file.name == "__init__.py" else Path(*parts)
        below = below.with_suffix(".py")
        if not inside and parts[0] not in sys.stdlib_module_names and file.match(str(below)):
            found[below.as_posix()] = str(file)
    return found


def _file(module: Any) -> Path | None:
    """Return the file of a module; an entry of sys.modules may be any object."""
    name = getattr(module, "__file__", None)
    return Path(name).resolve() if isinstance(name, str) else None
