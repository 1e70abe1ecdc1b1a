"""Read the clock around the calls of a step, the device idle before and after.

The only module that reads a clock.  It knows nothing of torch, cases or files: the worker says
what to call and how to wait for the device.
"""

import gc
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self

wall_clock = time.perf_counter  # monotonic seconds; what else needs wall time takes it from here


class ClockError(Exception):
    """The clock does not advance, or runs backwards, so there is no duration to report."""


class Event(Protocol):
    """A moment in a device's queue."""

    def record(self) -> None:
        """Mark now instead; takes the host less than a new event does."""

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
        """Mark now in the device's queue, by an event that may be recorded again."""


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


def clock_resolution_s(clock: Callable[[], float] = wall_clock) -> float:
    """The smallest step seen between two readings: seconds.  Raises ClockError if there is none."""
    readings = [clock() for _ in range(10_000)]
    steps = [late - early for early, late in itertools.pairwise(readings) if late != early]
    if not steps or min(steps) < 0:
        raise ClockError("the clock did not advance, or ran backwards, over 10,000 readings")
    return min(steps)


@dataclass(slots=True)
class Stopwatch:
    """Reads the clock around calls, and counts them."""

    step: TimedStep
    device: TimedDevice
    clock: Callable[[], float]
    calls_made: int = 0
    issued_s: float = 0.0  # of the last span: until all calls were issued; 0 if synchronous
    _events: list[Event] = field(default_factory=list)

    def span_s(self, calls: int) -> float:
        """Seconds of prepared calls back to back."""
        with no_garbage_collection():
            # Wait at the two ends only: a wait between calls would empty the device's queue,
            # and the launch of each call would be timed instead of its work.
            self.device.wait()
            start = self.clock()
            for _ in range(calls):
                self.step()
            # On a synchronous device, whose samples hold one look at the clock, nothing is left.
            issued = start if self.device.synchronous else self.clock()
            self.device.wait()
            end = self.clock()
        self.issued_s = issued - start
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
            readings = [self.clock()]
            self.step(lambda: readings.append(self.clock()))
            readings.append(self.clock())
        self.calls_made += 1
        return [
            _positive(readings[-1] - readings[0]),
            *(b - a for a, b in itertools.pairwise(readings)),
        ]

    def device_s(self) -> list[float]:
        """Device seconds of one call by events, then of its phases.

        No wait before: events lie in the queue, so what was queued earlier is not between them.
        No wait inside: it would insert idle time between two phases.  The events are there before:
        making one takes microseconds, for which a device that is faster than its host is idle.
        """
        self.step.prepare(1)
        while len(self._events) <= len(self.step.phases):
            self._events.append(self.device.event())
        unused = iter(self._events)
        with no_garbage_collection():
            next(unused).record()
            self.step(lambda: next(unused).record())
            next(unused).record()
            self.device.wait()
        self.calls_made += 1
        events = self._events[: len(self._events) - len(list(unused))]
        phases = [a.seconds_until(b) for a, b in itertools.pairwise(events)]
        return [_positive(events[0].seconds_until(events[-1])), *phases]


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
