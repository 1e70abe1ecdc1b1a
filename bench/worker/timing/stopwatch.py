"""Reads the clock around the calls of a step, with an idle device before and after.

Only this module reads a clock.  It knows nothing of torch, cases or files: the worker says what to
call and how to wait for the device.
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
    """A time in a device's queue."""

    def record(self) -> None:
        """Record this event again, now; this takes the host less time than a new event."""

    def seconds_until(self, later: Self) -> float:
        """Return the device's seconds from this event to a later one; wait for the device first."""


class TimedDevice(Protocol):
    """The part of a device that timing needs."""

    @property
    def synchronous(self) -> bool:
        """Return whether work is done when its call returns: the clock may be read inside."""

    @property
    def has_events(self) -> bool:
        """Return whether its events have the time of the device itself, not of the host."""

    def wait(self) -> None:
        """Return once the device is idle."""

    def event(self) -> Event:
        """Record an event in the device's queue now; it can be recorded again."""


class TimedStep(Protocol):
    """The part of a step that timing needs."""

    @property
    def phases(self) -> tuple[str, ...]: ...

    @property
    def whole(self) -> str: ...

    def prepare(self, calls: int) -> int:
        """Make fresh inputs for at most so many calls; return for how many."""

    def __call__(self, mark: Callable[[], None] | None = None) -> None:
        """Make one call; `mark` is called between two phases."""


def clock_resolution_s(clock: Callable[[], float] = wall_clock) -> float:
    """Return the seconds of the smallest step.  Raises ClockError if there is none."""
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
        """Return the seconds of prepared calls back to back."""
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
        """Return the seconds of one call, with an idle device before and after; then of its phases.

        marked: read the clock between phases; on a synchronous device only.
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
        """Return the device's seconds of one call by events, then of its phases.

        There is no wait before: events are in the queue, so earlier work is not between them.
        There is no wait inside: it would add idle time between two phases.  The events exist
        before: making one takes microseconds, in which a device that is faster than its host is
        idle.
        """
        self.step.prepare(1)
        self._make_events(len(self.step.phases) + 1)
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

    def both_s(self) -> tuple[float, float]:
        """Return the seconds of one call on an idle device, by the host's clock and by events."""
        self.step.prepare(1)
        self.calls_made += 1
        return self._between_events(self.step)

    def empty_s(self) -> float:
        """Return the host's seconds of two events and a wait, without a call between them."""
        return self._between_events(lambda: None)[0]

    def _between_events(self, work: Callable[[], object]) -> tuple[float, float]:
        self._make_events(2)
        first, last = self._events[:2]
        with no_garbage_collection():
            self.device.wait()
            begin = self.clock()
            first.record()
            work()
            last.record()
            self.device.wait()
            end = self.clock()
        return end - begin, first.seconds_until(last)

    def _make_events(self, count: int) -> None:
        while len(self._events) < count:
            self._events.append(self.device.event())


def _positive(duration_s: float) -> float:
    """Return the duration.  Raises ClockError if a call took no time at all, or less."""
    if duration_s <= 0:
        raise ClockError(f"a call took {duration_s} s: the clock does not advance")
    return duration_s


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Switch garbage collection off inside; restore it at the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
