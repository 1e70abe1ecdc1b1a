"""Counts over the samples of a case, beside the time: instructions, cycles, energy."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.host import counters
from bench.host.rapl import Rapl
from bench.worker.timing.contention import Meter
from bench.worker.timing.stopwatch import wall_clock

LEAST_S = 0.1  # RAPL is renewed every millisecond: over this time its error is below 1 %


@dataclass(slots=True)
class CountingMeter:
    """The meter of other work, and the processor's counters over the same blocks of samples."""

    load: Meter
    counters: counters.Counters | None
    counts: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        self.load.start()
        if self.counters:
            self.counters.start()

    def stop(self) -> None:
        if self.counters:
            for event, count in self.counters.stop().items():
                self.counts[event] = self.counts.get(event, 0.0) + count
        self.load.stop()

    def clear(self) -> None:
        """Forget all blocks so far."""
        self.load.blocks.clear()
        self.counts.clear()

    def columns(self, calls: int) -> dict[str, float]:
        """Return the columns of both by name.  calls: made during the blocks."""
        counted = {event: count / calls for event, count in self.counts.items() if calls and count}
        return self.load.columns(calls) | counted


def counters_here() -> counters.Counters | None:
    """Open the counters, before threads start; None where there are none."""
    try:
        return counters.opened()
    except counters.CountersError:
        return None


@dataclass(slots=True)
class PowerMeter:
    """The mean power of the packages between `start` and `stop`; nothing without RAPL."""

    rapl: Rapl | None
    clock: Callable[[], float] = wall_clock
    _before: tuple[float, float] | None = None
    _power_w: float | None = None

    def start(self) -> None:
        if self.rapl and (energy_j := self.rapl.energy_j()) is not None:
            self._before = self.clock(), energy_j

    def stop(self) -> None:
        if self.rapl is None or self._before is None:
            return
        at_s, before_j = self._before
        after_j, spent_s = self.rapl.energy_j(), self.clock() - at_s
        if after_j is not None and spent_s >= LEAST_S and after_j > before_j:
            self._power_w = (after_j - before_j) / spent_s

    def columns(self) -> dict[str, float]:
        return {} if self._power_w is None else {"power_w": self._power_w}
