"""Compare callables that take turns in this process, and their outputs."""

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.api import inputs, outputs, session
from bench.api.measuring import (
    IN_PROCESS,
    USUAL,
    WHY_IN_PROCESS,
    Doubts,
    budget_of,
    errors_explained,
    require_settings,
)
from bench.api.outputs import Output
from bench.api.session import Loss, Optimizer, Session, SessionError, Work
from bench.api.settings import checked, checked_batch
from bench.api.shown import table
from bench.api.values import Seconds, Speedup
from bench.core.protocol import Budget
from bench.stats import intervals, ratios
from bench.worker.checks import finite
from bench.worker.device.device import open_device
from bench.worker.jobs.interleaved import InterleavedSampler
from bench.worker.model import growth, torch_compile
from bench.worker.timing import call_timing, contention
from bench.worker.timing.stopwatch import wall_clock

# Turns of each callable.  The t quantile of 9 degrees of freedom is near its end (2.26 against
# 1.96), and a turn still takes some 60 ms of the usual budget.
LEAST_ROUNDS = 10
MOST_ROUNDS = 40
LEAST_TURN_S = 0.005  # of calls in one turn, beyond the clock's resolution and a scheduler's tick
MOST_CALLS = 1_000  # in one turn
SEED = 0  # of the order of turns


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Compared:
    """Times of several callables, and the speedup of each over the first.

    base:     the name of the first.
    times:    by name: one call, the device idle before and after.
    speedups: by name, without the base: time of the base / time of it, over the turns.  All
              intervals hold together with 95 %.
    outputs:  by name, without the base: how its output differs from that of the base.
    flags, doubts: as those of `Measured`; `outputs-differ` is explained in `outputs`.
    """

    base: str
    mode: str
    device: str
    batch: int | None
    settings: Mapping[str, str]
    times: Mapping[str, Seconds]
    speedups: Mapping[str, Speedup]
    outputs: Mapping[str, Output]
    turns: int
    flags: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def speedup(self) -> Speedup:
        """Return the speedup of the second callable.  Raises SessionError if there are more."""
        if len(self.speedups) != 1:
            raise SessionError(
                f"{len(self.times)} callables were compared: choose one of "
                f"speedups[{'], speedups['.join(map(repr, self.speedups))}]"
            )
        return next(iter(self.speedups.values()))

    @property
    def same_outputs(self) -> bool:
        """Return whether all outputs are those of the base but for rounding."""
        return all(one.same for one in self.outputs.values())

    @property
    def sentences(self) -> list[str]:
        """The results: one sentence for each callable, then the doubts."""
        return [self._sentence(name) for name in self.speedups] + list(self.doubts)

    def _sentence(self, name: str) -> str:
        one, output = self.speedups[name], self.outputs[name]
        if one.low is not None and one.low > 1:
            said = f"{name} is faster than {self.base}: {one}"
        elif one.high is not None and one.high < 1:
            said = f"{name} is slower than {self.base}: {one}"
        else:
            said = f"no difference in time between {name} and {self.base} was found: {one}"
        return f"{said}; {output}"

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {one}" for name, one in self.speedups.items())
        differ = "" if self.same_outputs else "; outputs differ"
        return f"<against {self.base}: {found}{differ} [{', '.join(self.flags)}]>"

    def _repr_html_(self) -> str:
        rows = [
            (
                name,
                str(time_s),
                str(self.speedups[name]) if name in self.speedups else "",
                str(self.outputs[name]) if name in self.outputs else "",
            )
            for name, time_s in self.times.items()
        ]
        batch = "" if self.batch is None else f"batch {self.batch}, "
        notes = [f"{', '.join(self.flags)}: {WHY_IN_PROCESS}", *self.doubts]
        head = ("", "latency", f"speedup over {self.base}", "output")
        return table(f"{self.mode}, {batch}{self.device}", head, rows, notes)


def compare(
    functions: Mapping[str, Callable[..., Any]],
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
) -> Compared:
    """Compare callables that take turns in random order in this process.

    functions: by name; the first is the base.  Modules run as in `measure`.  If one of them is
               another callable, all are called as they are, unless `mode` is given.
    samples_s: seconds of samples of each callable.

    All else is as in `measure`, and holds for each callable.  Each is given the same inputs, and
    the outputs of one call are compared, with the same random numbers, buffers and attributes.

    Raises SessionError, SettingError, InputError, and what the callables raise.
    """
    if not isinstance(functions, Mapping) or len(functions) < 2:
        raise SessionError(
            'give two or more callables by name: bench.compare({"eager": f, "compiled": g}, x)'
        )
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
    opened = session.opened(functions, given, settings, of_output=loss, optimizer=optimizer)
    budget = budget_of(samples_s, warmup_s)
    with errors_explained(kwargs), opened as ready:
        return _compared(ready, budget, ready.batch if batch is None else batch)


def _compared(ready: Session, budget: Budget, batch: int | None) -> Compared:
    doubts = Doubts()
    found = [_output(ready, one) for one in ready.works]
    if hidden := ready.hidden_accelerator(one.step.output for one in ready.works):
        ready = ready.on(open_device(hidden))
    for work in ready.works:
        session.refuse_unstarted(work.name, work.step.output)
    ready.refuse_used_up()
    steady = [_warm(ready, one, budget, doubts) for one in ready.works]
    frames, sizes = torch_compile.frames(), ready.sizes()
    infinite = [finite.infinite_masks(one.step.output) for one in ready.works]
    race = Race([(one.name, one.step) for one in ready.works], ready, budget)
    taken = race.run(steady)
    ready.refuse_used_up()
    doubts.of_machine(race.meter)
    grown = growth.grown(sizes, ready.sizes())
    doubts.of_calls(ready.doubt, grown, torch_compile.frames() - frames)
    for work, masks in zip(ready.works, infinite, strict=True):
        doubts.of_calls(work.step.doubt, [], 0)
        said = finite.problems(work.step.output, masks)
        doubts.sentences += [f"{work.name}: {one}" for one in said]
        require_settings(ready, work)
    base, *others = (one.name for one in ready.works)
    pairs = zip(others, found[1:], strict=True)
    compared = {name: outputs.compared(found[0], one) for name, one in pairs}
    if not all(one.same for one in compared.values()):
        doubts.flags.add("outputs-differ")
    return Compared(
        base=base,
        mode=ready.mode,
        device=ready.device.name,
        batch=batch,
        settings=ready.settings.given,
        times={name: Seconds.of(times_s) for name, times_s in taken.items()},
        speedups={name: speedup(taken[base], taken[name], len(others)) for name in others},
        outputs=compared,
        turns=len(taken[base]),
        flags=(IN_PROCESS, *sorted(doubts.flags)),
        doubts=tuple(doubts.sentences),
    )


def speedup(base_s: Sequence[float], other_s: Sequence[float], of: int) -> Speedup:
    """Return base / other over pairs of turns, with an interval that holds for `of` at once.

    Bonferroni: each of `of` intervals has a share of the 5 %.
    """
    level = 1 - (1 - intervals.LEVEL) / of
    found = ratios.paired(dict(enumerate(base_s)), dict(enumerate(other_s)))
    if found is None:
        raise SessionError("no turns were taken")
    low, high = found.interval(level) or (None, None)
    return Speedup(found.ratio, low, high, level)


def _output(ready: Session, work: Work) -> outputs.Given:
    """Return the output of one call, from the same numbers and random state for every callable."""
    ready.restorer.renew()
    return outputs.of_call(work, ready.device.wait, ready.random_types)


def _warm(ready: Session, work: Work, budget: Budget, doubts: Doubts) -> float:
    """Return the seconds of a call once it is warm."""
    work.step.settle()
    steady = call_timing.warm_up(work.step, ready.device, budget)
    if not steady.settled:
        doubts.say("unsteady", f"the times of {work.name} had not settled after the warm-up")
    return steady.call_s


@dataclass(slots=True)
class Race:
    """Lets the callables take turns, in another order in each round."""

    steps: Sequence[tuple[str, Any]]
    ready: Session
    budget: Budget
    meter: contention.Meter = field(default_factory=contention.Meter)

    def run(self, steady_s: Sequence[float]) -> dict[str, list[float]]:
        """Return by name the median of the calls of each turn: seconds, in the order of rounds.

        steady_s: about what a call of each takes.
        """
        samplers = [
            InterleavedSampler(
                step, self.ready.device, self.meter, pause=lambda _: None, host_clock=True
            )
            for _, step in self.steps
        ]
        turn_s = max(LEAST_TURN_S, self.budget.samples_s / MOST_ROUNDS)
        calls = [min(MOST_CALLS, max(1, math.ceil(turn_s / one_s))) for one_s in steady_s]
        order, shuffled = list(range(len(samplers))), random.Random(SEED)
        taken: list[list[float]] = [[] for _ in samplers]
        end_s = wall_clock() + self.budget.samples_s * len(samplers)
        while len(taken[0]) < LEAST_ROUNDS or (
            len(taken[0]) < MOST_ROUNDS and wall_clock() < end_s
        ):
            shuffled.shuffle(order)
            for place in order:
                whole = samplers[place].turn(1, calls[place])[0]
                taken[place].append(statistics.median(whole.times_s))
        return {name: times for (name, _), times in zip(self.steps, taken, strict=True)}
