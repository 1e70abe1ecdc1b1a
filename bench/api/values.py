"""Figures with their intervals, each in one unit that its attributes name."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bench.core import units
from bench.stats.intervals import log_interval

# Consecutive samples are alike.  The medians of ten stretches are less so: batch means, the
# textbook way to an interval of a series (Law: Simulation Modeling and Analysis, chapter 9).
STRETCHES = 10


@dataclass(frozen=True, slots=True)
class Value:
    """A median and its 95 % interval; None = unknown.

    The interval is one of samples within this process.  Another process may lie outside it.
    """

    median: float
    low: float | None = None
    high: float | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return self._shown(self.median)
        return f"{self._shown(self.median)} ({self._shown(self.low)} to {self._shown(self.high)})"

    def _repr_html_(self) -> str:
        return str(self)

    def _shown(self, number: float) -> str:
        return units.count(number)

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """Return the median of one or more samples above 0, in the order of time."""
        middle, spread = statistics.median(samples), _spread(samples)
        return cls(middle) if spread is None else cls(middle, middle / spread, middle * spread)


def _spread(samples: Sequence[float]) -> float | None:
    """Return the factor from the middle of the interval to its ends; None if it is unknown."""
    count = min(STRETCHES, len(samples))
    ends = [len(samples) * place // count for place in range(count + 1)]
    medians = [statistics.median(samples[a:b]) for a, b in itertools.pairwise(ends)]
    interval = log_interval(medians)
    return None if interval is None else math.sqrt(interval[1] / interval[0])


@dataclass(frozen=True, slots=True, repr=False)
class Seconds(Value):
    """A duration in seconds."""

    @property
    def median_s(self) -> float:
        return self.median

    @property
    def low_s(self) -> float | None:
        return self.low

    @property
    def high_s(self) -> float | None:
        return self.high

    def _shown(self, number: float) -> str:
        return units.seconds(number)


@dataclass(frozen=True, slots=True, repr=False)
class PerSecond(Value):
    """Items of the batch per second, or calls per second where there is no batch."""

    @property
    def median_per_s(self) -> float:
        return self.median

    @property
    def low_per_s(self) -> float | None:
        return self.low

    @property
    def high_per_s(self) -> float | None:
        return self.high

    def _shown(self, number: float) -> str:
        return units.count(number, "/s")

    @classmethod
    def over(cls, items: float, time: Seconds) -> Self:
        """Return items per second, from the number of items and the time of one call."""
        low = None if time.high is None else items / time.high
        high = None if time.low is None else items / time.low
        return cls(items / time.median, low, high)


@dataclass(frozen=True, slots=True, repr=False)
class Bytes(Value):
    """Most memory that one call holds: its weights, its inputs, and what it allocates.

    A count of one call, so it has no interval.
    """

    weights_bytes: int = 0  # parameters and buffers

    @property
    def median_bytes(self) -> float:
        return self.median

    @property
    def low_bytes(self) -> float | None:
        return self.low

    @property
    def high_bytes(self) -> float | None:
        return self.high

    @property
    def peak_bytes(self) -> int:
        return int(self.median)

    def _shown(self, number: float) -> str:
        return units.bytes_(number)


@dataclass(frozen=True, slots=True, repr=False)
class Speedup(Value):
    """Time of the base / time of another: 1.3 = 30 % more calls in the same time.

    level: of its interval.
    """

    level: float = 0.95

    @property
    def ratio(self) -> float:
        return self.median

    def _shown(self, number: float) -> str:
        return units.speedup(number)
