"""Takes the samples of a warm step: single calls, calls back to back, device times."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from bench.core.protocol import Budget
from bench.core.records import Samples
from bench.worker.timing.stopwatch import Stopwatch, TimedDevice

CACHES_S = 0.05  # a call as long as this does not feel in what state the caches were


class Meter(Protocol):
    """Counts other work while samples are taken."""

    def start(self) -> None:
        """Begin a block of samples."""

    def stop(self) -> None:
        """End it."""


def alike(device: TimedDevice, calls: int) -> bool:
    """Return whether a pipelined sample of so many calls is nothing else than a single call.

    Calls so long that one fills a sample, on a device without a queue: both kinds wait for nothing
    and time one call, so one sample serves for both.
    """
    return calls == 1 and device.synchronous and not device.has_events


@dataclass(slots=True, kw_only=True)
class Sampler:
    """Takes the samples of all kinds in turn, so that drift affects them alike."""

    watch: Stopwatch
    budget: Budget
    calls: int  # per pipelined sample
    between: Callable[[], None] | None
    meter: Meter | None
    events: bool  # whether the device's own times are taken as well
    spent_s: float = 0.0
    calls_sampled: int = 0
    latency: list[list[float]] = field(default_factory=list)
    pipelined: list[float] = field(default_factory=list)
    device: list[list[float]] = field(default_factory=list)
    # Seconds of the host per call, until a single call, or calls back-to-back, were issued.
    issued_alone_s: list[float] = field(default_factory=list)
    issued_s: list[float] = field(default_factory=list)

    def take(self, call_s: float) -> tuple[Samples, ...]:
        """Take all samples; `call_s` is the approximate time of a call, for planning only."""
        budget, clock = self.budget, self.watch.clock
        kinds = 1 if self._alike else 3 if self.events else 2
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
                if call_s < CACHES_S:
                    self.watch.step.prepare(1)
                    self.watch.span_s(1)  # untimed: what ran between has cooled the caches
        return self._records()

    @contextmanager
    def _metered(self) -> Iterator[None]:
        """Run a block of samples with the meter on."""
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
            if not watch.device.synchronous:
                self.issued_alone_s.append(watch.issued_s)
        if self._alike:
            self.pipelined = [times[0] for times in self.latency]
        elif len(self.pipelined) < most:
            ready = watch.step.prepare(self.calls)
            self.pipelined.append(watch.span_s(ready) / ready)
            if not watch.device.synchronous:
                self.issued_s.append(watch.issued_s / ready)
        if self.events:
            for _ in range(min(singles, most - len(self.device))):
                self.device.append(watch.device_s())

    @property
    def _alike(self) -> bool:
        """Return whether a sample serves for both kinds."""
        return alike(self.watch.device, self.calls)

    @property
    def host_issue_s(self) -> float | None:
        """Return the host's seconds per call until all calls were issued; None if the host computes
        itself.

        It is that of calls back to back, or of a single call if this is less: a full queue (1024
        launches on CUDA) stops the host until the device has caught up.
        """
        if not self.issued_s or not self.issued_alone_s:
            return None
        return min(statistics.median(self.issued_s), statistics.median(self.issued_alone_s))

    @property
    def _marked(self) -> bool:
        """Return whether the host's clock is read between phases: on a synchronous device only."""
        return self.watch.device.synchronous and len(self.watch.step.phases) > 1

    def _enough(self) -> bool:
        kinds = [len(self.latency), len(self.pipelined)]
        if self.events:
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
    """Return samples by phase from rows of whole, first phase, second phase, …: seconds."""
    columns = zip(*times, strict=True)
    next(columns)  # the whole
    return [_samples(name, kind, column) for name, column in zip(phases, columns, strict=True)]


def _samples(phase: str, kind: str, times_s: Iterable[float], calls: int = 1) -> Samples:
    return Samples(phase=phase, kind=kind, calls_per_sample=calls, times_s=tuple(times_s))
