"""Times one step: warms it up, chooses the calls per sample, takes the samples.

It knows nothing of torch, cases or files.  The worker says what to call, how to wait for the
device, and how long it may take.
"""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.core.protocol import Budget
from bench.core.records import Samples
from bench.worker.timing import event_sight, settling
from bench.worker.timing.sampler import Meter, Sampler, alike
from bench.worker.timing.stopwatch import (
    ClockError,
    Stopwatch,
    TimedDevice,
    TimedStep,
    clock_resolution_s,
    wall_clock,
)

MAX_CALLS = 2**20  # a million calls and still too short: the clock is broken
RESOLUTIONS_PER_SAMPLE = 1000  # so that the clock's step is 0.1 % of a sample at most
WINDOW_S = 0.25  # a window has fewer blocks where WINDOW_BLOCKS would take longer than this
# Blocks are made longer once more where calls have become so much faster: the blocks before are
# then forgotten, and with them how slow it was.
RESIZE = 4
# Times that still fall when the warm-up's cap is reached get so many times the cap: what settles
# within 1 s from +50 % takes 4.4 s until it agrees with half of the time before.
FALLING = 4
LEAST_CALLS = 2  # of the warm-up itself: fewer cannot be told to agree
TIMEOUT_MARGIN = 1.5  # between what a case needs and the time limit that is proposed


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """The result of the warm-up."""

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
    moved: float | None  # through the samples: 0.1 = they rose by 10 %; None = they did not
    calls_made: int  # warm-up and samples
    calls_sampled: int  # of them, inside a sample
    timed_s: float  # warm-up and samples, without `between`
    warmup_s: float  # of that, the warm-up
    host_issue_s: float | None = None  # per call (`Sampler.host_issue_s`)
    missed_by_events: str | None = None  # why there are no device times, of a device with events


class TooSlowError(Exception):
    """The rest of the work would not end within the time limit of the case."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The time limit of the whole case, with building and warm-up."""

    start_s: float  # by the clock
    timeout_s: float
    least: Budget | None = None  # of which warm-up and samples must fit in; None: of the budget

    def refuse(self, now_s: float, call_s: float, calls: int) -> None:
        """Raise TooSlowError if so many more calls would take too long."""
        spent_s, needed_s = now_s - self.start_s, call_s * calls
        if spent_s + needed_s <= self.timeout_s:
            return
        enough_s = 10 * math.ceil((spent_s + needed_s) * TIMEOUT_MARGIN / 10)
        raise TooSlowError(
            f"a call takes {call_s:.3g} s: {spent_s:.0f} s were spent, and the {calls} calls that "
            f"are still needed would take {needed_s:.0f} s more; give --timeout {enough_s}, or a "
            "smaller batch"
        )


def first_call(
    step: TimedStep, device: TimedDevice, clock: Callable[[], float] = wall_clock
) -> float:
    """Return the seconds of the very first call, with context, lazy modules, tuning and compiling.

    It is a figure of its own; it is never a sample and never sizes one.
    """
    return Stopwatch(step, device, clock).latency_s()[0]


def warm_up(
    step: TimedStep,
    device: TimedDevice,
    budget: Budget,
    clock: Callable[[], float] = wall_clock,
    *,
    made: int = 0,
) -> Steady:
    """Call until the times have settled.

    made: real calls of this step in this process so far, which count as calls of the warm-up.

    Blocks of calls are timed.  After enough calls and time, the work is settled if the last window
    of blocks agrees with the one before and with that of half of the time.  Work that has not
    settled at the limit and still gets faster gets FALLING times the limit.  Raises ClockError.
    """
    watch = Stopwatch(step, device, clock)
    begin = clock()
    # Twenty blocks in the shortest warm-up: two windows, and room for the sizing of blocks.
    target_s = max(budget.sample_s, budget.warmup_s / 20)
    least = least_calls(budget, made)
    calls, blocks_s, sized = 1, list[float](), False
    while True:
        ready = step.prepare(calls)  # fewer where inputs of all calls would not fit in memory
        block_s = watch.span_s(ready) / ready
        least_s = target_s / RESIZE if sized else target_s
        full = sized = block_s * ready >= least_s or ready < calls
        if full:
            blocks_s.append(block_s)
        elif calls >= MAX_CALLS:
            raise ClockError(f"{MAX_CALLS} calls took less than {target_s} s: the clock is broken")
        else:
            calls *= 2
            blocks_s = [block_s]  # blocks of another size are not comparable
        spent_s = clock() - begin
        if watch.calls_made < least:
            continue
        window = min(settling.WINDOW_BLOCKS, max(1, int(WINDOW_S / (block_s * ready))))
        settled = full and spent_s >= budget.warmup_s and settling.settled(blocks_s, window)
        hopeful = settling.falling(blocks_s, window)
        cap_s = budget.warmup_cap_s * (FALLING if hopeful else 1)
        if settled or spent_s >= cap_s:
            return Steady(
                settled=settled,
                call_s=min(blocks_s),
                calls_made=watch.calls_made,
                timed_s=spent_s,
            )


def least_calls(budget: Budget, made: int) -> int:
    """Return the calls that a warm-up makes at least.  made: as `warm_up` counts them."""
    return max(min(LEAST_CALLS, budget.warmup_calls), budget.warmup_calls - made)


def calls_for(call_s: float, budget: Budget, resolution_s: float) -> int:
    """Return the calls per pipelined sample: long enough for the budget and for the clock."""
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
    made: int = 0,
    between: Callable[[], None] | None = None,
    meter: Meter | None = None,
    limit: Limit | None = None,
) -> Timing:
    """Warm `step` up and sample it within `budget`.

    step:         was called once before (`first_call`).
    clock:        monotonic seconds; tests pass a fake one.
    resolution_s: of the clock; None = find out.
    calls:        per pipelined sample where an earlier replicate has fixed them.
    made:         calls before this one, as `warm_up` counts them.
    between:      called after every `budget.block_s` of samples, outside them: the controls.
    meter:        runs during the samples alone, neither while warming up nor in `between`.
    limit:        of the case; samples that would exceed it are not begun.

    Raises ClockError, and TooSlowError.
    """
    if resolution_s is None:
        resolution_s = clock_resolution_s(clock)
    steady = warm_up(step, device, budget, clock, made=made)
    if calls is None:
        calls = calls_for(steady.call_s, budget, resolution_s)
    calls = step.prepare(calls)
    missed, tried = event_sight.missed_work(step, device, clock)
    events = device.has_events and missed is None
    if limit is not None:
        singles = 2 if events else 1
        in_a_round = 1 if alike(device, calls) else singles + calls
        whole = limit.least or budget
        warming = max(0, least_calls(whole, made) - steady.calls_made)
        limit.refuse(clock(), steady.call_s, warming + whole.min_samples * in_a_round)
    watch = Stopwatch(step, device, clock)
    sampler = Sampler(
        watch=watch, budget=budget, calls=calls, between=between, meter=meter, events=events
    )
    gc.collect()  # what the building left behind is not cleared away during a sample
    samples = sampler.take(steady.call_s)
    return Timing(
        samples=samples,
        calls_per_sample=calls,
        settled=steady.settled,
        moved=settling.moved([one.times_s for one in samples if one.phase == step.whole]),
        calls_made=steady.calls_made + tried + watch.calls_made,
        calls_sampled=sampler.calls_sampled,
        timed_s=steady.timed_s + sampler.spent_s,
        warmup_s=steady.timed_s,
        host_issue_s=sampler.host_issue_s,
        missed_by_events=missed,
    )
