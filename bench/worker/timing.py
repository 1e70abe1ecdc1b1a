"""Time one step: warm it up, choose the calls per sample, take the samples.

The only module that reads a clock.  It knows nothing of torch, cases or files: the worker says
what to call, how to wait for the device, and how long it may take.
"""

import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self

from bench.records import Samples

wall_clock = time.perf_counter  # monotonic seconds; what else needs wall time takes it from here

MAX_CALLS = 2**20  # a million calls and still too short: the clock is broken
RESOLUTIONS_PER_SAMPLE = 1000  # so that the clock's step is 0.1 % of a sample at most
WINDOW_BLOCKS = 5  # a window of the warm-up: its median bears two outliers
WINDOW_S = 0.25  # fewer blocks where five would take longer than this
# Medians of five blocks of settled work agree within this on a machine whose blocks scatter by
# 5 % (SD 5 % x 1.25 / sqrt(5) = 3 %, so 5 % is 1.2 SD of the difference and is soon met); work
# that still warms up (clocks, allocator, caches) differs by tens of percent.
AGREE_RATIO = 0.05


class ClockError(Exception):
    """The clock does not advance, or runs backwards, so there is no duration to report."""


class Event(Protocol):
    """A moment in a device's queue."""

    def seconds_until(self, later: Self) -> float:
        """Device time from this event to a later one; only after the device was waited for."""


class TimedDevice(Protocol):
    """What timing asks of a device."""

    @property
    def synchronous(self) -> bool:
        """Work is done when its call returns, so that the host's clock may be read inside."""

    @property
    def has_events(self) -> bool:
        """Its events tell the time of the device, not of the host that hears of them."""

    def wait(self) -> None:
        """Return once the device is idle."""

    def event(self) -> Event:
        """Mark now in the device's queue."""


class TimedStep(Protocol):
    """What timing asks of a step."""

    @property
    def phases(self) -> tuple[str, ...]: ...

    @property
    def whole(self) -> str: ...

    def prepare(self, calls: int) -> int:
        """Fresh inputs for at most that many calls; returns for how many."""

    def __call__(self, mark: Callable[[], None] | None = None) -> None:
        """One call; `mark` is called between two phases."""


class Meter(Protocol):
    """Counts what else happens while samples are taken."""

    def start(self) -> None:
        """A block of samples begins."""

    def stop(self) -> None:
        """It has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long one case may be measured in one replicate.

    A slow call exceeds it: three calls of warm-up and `min_samples` of each kind are always
    made, so a call of 0.5 s takes 1.5 s + 5 x 2 x 0.5 s (on an accelerator with events 3 x).
    """

    warmup_s: float = 0.2  # thrown away: clocks, caches and the allocator settle
    warmup_calls: int = 3
    warmup_cap_s: float = 1.5  # not settled by then: measured all the same, and said
    sample_s: float = 0.005  # shortest pipelined sample: drowns the clock's own cost
    samples_s: float = 0.6  # for the samples of all kinds together
    min_samples: int = 5  # of each kind
    max_samples: int = 200  # of each kind
    block_s: float = 0.1  # of samples between two calls of `between`


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """What the warm-up found."""

    settled: bool
    call_s: float  # fastest block, per call, pipelined
    calls_made: int
    timed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The samples of one replicate of a case."""

    samples: tuple[Samples, ...]
    calls_per_sample: int  # of the pipelined ones
    settled: bool  # False: the times still moved when the warm-up's cap was reached
    calls_made: int  # warm-up and samples
    calls_sampled: int  # of them, inside a sample
    timed_s: float  # warm-up and samples, without `between`


def clock_resolution_s(clock: Callable[[], float] = wall_clock) -> float:
    """The smallest step seen between two looks: seconds.  Raises ClockError if there is none."""
    looks = [clock() for _ in range(10_000)]
    steps = [late - early for early, late in itertools.pairwise(looks) if late != early]
    if not steps or min(steps) < 0:
        raise ClockError("the clock did not advance, or ran backwards, over 10,000 looks")
    return min(steps)


def first_call(
    step: TimedStep, device: TimedDevice, clock: Callable[[], float] = wall_clock
) -> float:
    """Seconds of the very first call: context, lazy modules, tuning and compiling included.

    A figure of its own; it is never a sample and never sizes one.
    """
    return Stopwatch(step, device, clock).latency_s()[0]


def warm_up(
    step: TimedStep,
    device: TimedDevice,
    budget: Budget,
    clock: Callable[[], float] = wall_clock,
) -> Steady:
    """Call until the times have settled.

    Blocks of calls are timed; once enough calls and time are spent, the work is settled when
    the medians of the last two windows of blocks agree.  Raises ClockError.
    """
    watch = Stopwatch(step, device, clock)
    begin = clock()
    # Twenty blocks in the shortest warm-up: two windows, and room for the sizing of blocks.
    target_s = max(budget.sample_s, budget.warmup_s / 20)
    calls, blocks_s = 1, list[float]()
    while True:
        ready = step.prepare(calls)  # fewer where inputs of all calls would not fit in memory
        block_s = watch.span_s(ready) / ready
        full = block_s * ready >= target_s or ready < calls
        if full:
            blocks_s.append(block_s)
        elif calls >= MAX_CALLS:
            raise ClockError(f"{MAX_CALLS} calls took less than {target_s} s: the clock is broken")
        else:
            calls *= 2
            blocks_s = [block_s]  # blocks of another size are not comparable
        spent_s = clock() - begin
        if watch.calls_made < budget.warmup_calls:
            continue
        window = min(WINDOW_BLOCKS, max(1, int(WINDOW_S / (block_s * ready))))
        settled = full and spent_s >= budget.warmup_s and agree(blocks_s, window)
        if settled or spent_s >= budget.warmup_cap_s:
            return Steady(
                settled=settled,
                call_s=min(blocks_s),
                calls_made=watch.calls_made,
                timed_s=spent_s,
            )


def agree(blocks_s: list[float], size: int = WINDOW_BLOCKS) -> bool:
    """Whether the medians of the last two windows of `size` blocks differ by little.

    Allowed are AGREE_RATIO for windows of WINDOW_BLOCKS, and more for smaller ones (slow calls)
    with the square root, as the scatter of a median of fewer blocks grows.
    """
    if len(blocks_s) < 2 * size:
        return False
    last = statistics.median(blocks_s[-size:])
    before = statistics.median(blocks_s[-2 * size : -size])
    allowed = AGREE_RATIO * math.sqrt(WINDOW_BLOCKS / size)
    return abs(last - before) <= allowed * min(last, before)


def calls_for(call_s: float, budget: Budget, resolution_s: float) -> int:
    """Calls per pipelined sample: long enough for the budget and for the clock."""
    shortest_s = max(budget.sample_s, RESOLUTIONS_PER_SAMPLE * resolution_s)
    if call_s <= 0 or shortest_s / call_s > MAX_CALLS:
        raise ClockError(f"one call takes {call_s} s by the clock: it does not advance")
    # The quotient of two floats may lie a hair above a whole number: 5 ms / 5 µs is 1000 calls.
    return max(1, math.ceil(shortest_s / call_s - 1e-9))


def measure(
    step: TimedStep,
    device: TimedDevice,
    budget: Budget,
    clock: Callable[[], float] = wall_clock,
    *,
    resolution_s: float | None = None,
    calls: int | None = None,
    between: Callable[[], None] | None = None,
    meter: Meter | None = None,
) -> Timing:
    """Warm `step` up and sample it within `budget`.

    step:         was called once before (`first_call`).
    clock:        monotonic seconds; tests pass a fake one.
    resolution_s: of the clock; None = find out.
    calls:        per pipelined sample where an earlier replicate has fixed them.
    between:      called after every `budget.block_s` of samples, outside them: the controls.
    meter:        runs during the samples alone, neither while warming up nor in `between`.

    Raises ClockError.
    """
    if resolution_s is None:
        resolution_s = clock_resolution_s(clock)
    steady = warm_up(step, device, budget, clock)
    if calls is None:
        calls = calls_for(steady.call_s, budget, resolution_s)
    calls = step.prepare(calls)
    watch = Stopwatch(step, device, clock)
    sampler = _Sampler(watch=watch, budget=budget, calls=calls, between=between, meter=meter)
    gc.collect()  # what the building left behind is not cleared away during a sample
    samples = sampler.take(steady.call_s)
    return Timing(
        samples=samples,
        calls_per_sample=calls,
        settled=steady.settled,
        calls_made=steady.calls_made + watch.calls_made,
        calls_sampled=sampler.calls_sampled,
        timed_s=steady.timed_s + sampler.spent_s,
    )


@dataclass(slots=True)
class Stopwatch:
    """Reads the clock around calls, and counts them."""

    step: TimedStep
    device: TimedDevice
    clock: Callable[[], float]
    calls_made: int = 0

    def span_s(self, calls: int) -> float:
        """Seconds of prepared calls back to back."""
        with no_garbage_collection():
            # Wait at the two ends only: a wait between calls would empty the device's queue,
            # and the launch of each call would be timed instead of its work.
            self.device.wait()
            start = self.clock()
            for _ in range(calls):
                self.step()
            self.device.wait()
            end = self.clock()
        self.calls_made += calls
        return _positive(end - start)

    def latency_s(self, *, marked: bool = False) -> list[float]:
        """Seconds of one call, the device idle before and after; then of its phases if marked.

        marked: on a synchronous device alone, where there is nothing to wait for.
        """
        self.step.prepare(1)
        if not marked:
            return [self.span_s(1)]
        with no_garbage_collection():
            looks = [self.clock()]
            self.step(lambda: looks.append(self.clock()))
            looks.append(self.clock())
        self.calls_made += 1
        return [_positive(looks[-1] - looks[0]), *(b - a for a, b in itertools.pairwise(looks))]

    def device_s(self) -> list[float]:
        """Device seconds of one call by events, then of its phases.

        No wait before: events lie in the queue, so what was queued earlier is not between them.
        No wait inside: it would insert idle time between two phases.
        """
        self.step.prepare(1)
        with no_garbage_collection():
            events = [self.device.event()]
            self.step(lambda: events.append(self.device.event()))
            events.append(self.device.event())
            self.device.wait()
        self.calls_made += 1
        phases = [a.seconds_until(b) for a, b in itertools.pairwise(events)]
        return [_positive(events[0].seconds_until(events[-1])), *phases]


@dataclass(slots=True, kw_only=True)
class _Sampler:
    """Takes the samples of all kinds in turn, so that drift hits them alike."""

    watch: Stopwatch
    budget: Budget
    calls: int  # per pipelined sample
    between: Callable[[], None] | None
    meter: Meter | None
    spent_s: float = 0.0
    calls_sampled: int = 0
    latency: list[list[float]] = field(default_factory=list)
    pipelined: list[float] = field(default_factory=list)
    device: list[list[float]] = field(default_factory=list)

    def take(self, call_s: float) -> tuple[Samples, ...]:
        """All samples; `call_s` is about what a call takes, for planning only."""
        budget, clock = self.budget, self.watch.clock
        kinds = 3 if self.watch.device.has_events else 2
        # A pipelined sample of short calls takes as long as many single ones: take several of
        # these a round, as many as fill max_samples, but no longer than the pipelined one.
        rounds = budget.samples_s / (kinds * self.calls * call_s)
        rounds = min(budget.max_samples, max(budget.min_samples, rounds))
        singles = min(self.calls, math.ceil(budget.max_samples / rounds))
        while not self._enough():
            with self._metered():
                block_end_s = clock() + budget.block_s
                while not self._enough():
                    start = clock()
                    self._round(singles)
                    now = clock()
                    self.spent_s += now - start
                    if now >= block_end_s:
                        break
            if self.between is not None:
                self.between()
                self.watch.step.prepare(1)
                self.watch.span_s(1)  # untimed: what ran between has cooled the caches
        return self._records()

    @contextmanager
    def _metered(self) -> Iterator[None]:
        """A block of samples."""
        made = self.watch.calls_made
        if self.meter is not None:
            self.meter.start()
        try:
            yield
        finally:
            if self.meter is not None:
                self.meter.stop()
        self.calls_sampled += self.watch.calls_made - made

    def _round(self, singles: int) -> None:
        watch, most = self.watch, self.budget.max_samples
        for _ in range(min(singles, most - len(self.latency))):
            self.latency.append(watch.latency_s(marked=self._marked))
        if len(self.pipelined) < most:
            ready = watch.step.prepare(self.calls)
            self.pipelined.append(watch.span_s(ready) / ready)
        if watch.device.has_events:
            for _ in range(min(singles, most - len(self.device))):
                self.device.append(watch.device_s())

    @property
    def _marked(self) -> bool:
        """Between phases the host's clock means something on a synchronous device alone."""
        return self.watch.device.synchronous and len(self.watch.step.phases) > 1

    def _enough(self) -> bool:
        kinds = [len(self.latency), len(self.pipelined)]
        if self.watch.device.has_events:
            kinds.append(len(self.device))
        if min(kinds) >= self.budget.max_samples:
            return True
        return min(kinds) >= self.budget.min_samples and self.spent_s >= self.budget.samples_s

    def _records(self) -> tuple[Samples, ...]:
        whole, phases = self.watch.step.whole, self.watch.step.phases
        records = [_samples(whole, "latency", [times[0] for times in self.latency])]
        if self._marked:
            records += _by_phase(phases, "latency", self.latency)
        records.append(_samples(whole, "pipelined", self.pipelined, self.calls))
        if self.device:
            records.append(_samples(whole, "device", [times[0] for times in self.device]))
            if len(phases) > 1:
                records += _by_phase(phases, "device", self.device)
        return tuple(records)


def _by_phase(phases: tuple[str, ...], kind: str, times: list[list[float]]) -> list[Samples]:
    """times: rows of whole, first phase, second phase, …: seconds."""
    columns = zip(*times, strict=True)
    next(columns)  # the whole
    return [_samples(name, kind, column) for name, column in zip(phases, columns, strict=True)]


def _samples(phase: str, kind: str, times_s: Iterable[float], calls: int = 1) -> Samples:
    return Samples(phase=phase, kind=kind, calls_per_sample=calls, times_s=tuple(times_s))


def _positive(duration_s: float) -> float:
    """Raises ClockError where a call took no time at all, or less."""
    if duration_s <= 0:
        raise ClockError(f"a call took {duration_s} s: the clock does not advance")
    return duration_s


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """None inside; as it was outside, where what calls leave behind is collected in time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
