"""The speedup of the winner in fresh pairs, so that the selection does not flatter it."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.core import units
from bench.core.records import Case
from bench.stats.intervals import LEAST_REPLICATES, STOPPED_LEVEL, centre, t_quantile

LEAST_PAIRS, MOST_PAIRS = 5, 8
# Half width of an interval on logs at which no more pairs are taken: absolute, or as a share of the
# speedup's log.  1.5× ± 5 % says all that a user needs.
PRECISE, PRECISE_SHARE = 0.02, 0.125

# number of the pair, comparisons → log(time of b / time of a) of each; None where it failed
TakePair = Callable[[int, Sequence[tuple[Case, Case]]], list[float | None]]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Baseline time / candidate time over fresh pairs, with its 95 % interval.

    low, high: None with fewer than LEAST_REPLICATES pairs.
    """

    ratio: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def faster(self) -> bool:
        return self.low is not None and self.low > 1.0

    @property
    def text(self) -> str:
        """`1.40× (1.24–1.58)`, or `1.40× (2 replicates)`."""
        return units.speedup_with_interval(self.ratio, self.low, self.high, self.pairs)


def confirmed(values: Sequence[float]) -> Confirmed | None:
    """Return the speedup by log(candidate / baseline) of each pair's times; None without pairs."""
    if not values:
        return None
    ratio = centre([math.exp(-one) for one in values])
    half = _half(values)
    if half is None:
        return Confirmed(ratio, None, None, len(values))
    return Confirmed(ratio, ratio * math.exp(-half), ratio * math.exp(half), len(values))


def _half(values: Sequence[float]) -> float | None:
    """Return half width of the interval on logs.

    The pairs end where their spread is small, perhaps by chance: STOPPED_LEVEL.
    """
    n = len(values)
    if n < LEAST_REPLICATES:
        return None
    return t_quantile(n - 1, STOPPED_LEVEL) * statistics.stdev(values) / math.sqrt(n)


@dataclass
class Confirmation:
    """Fresh pairs of some comparisons (a, b), by name; an interrupt keeps what was taken."""

    compared: Mapping[str, tuple[Case, Case]]
    values: dict[str, list[float]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def run(self, take: TakePair, ended: Callable[[], bool]) -> None:
        """Take pairs until each comparison is precise, failed, or has MOST_PAIRS.

        ended: whether no further pair may begin.
        """
        for number in range(MOST_PAIRS):
            left = [name for name in self.compared if self._open(name)]
            if not left or ended():
                return
            found = take(number, [self.compared[name] for name in left])
            for name, value in zip(left, found, strict=True):
                if value is None:
                    self.failed.add(name)
                else:
                    self.values.setdefault(name, []).append(value)

    def _open(self, name: str) -> bool:
        values = self.values.get(name, [])
        if name in self.failed:
            return False
        half = _half(values) if len(values) >= LEAST_PAIRS else None
        if half is None:
            return True
        return half > max(PRECISE, PRECISE_SHARE * abs(statistics.fmean(values)))

    def of(self, name: str) -> Confirmed | None:
        """Return the speedup of b over a; None without a pair."""
        return confirmed(self.values.get(name, []))

    def of_second(self, near: float) -> "Confirmation | None":
        """Return the pairs of the second best in the place of the winner, if they say it is faster.

        near: by less than this share two settings are the same to a user.

        The speedup of the second best over plain is that of the winner by that of the winner over
        the second best, pair by pair of the same number.
        """
        told = self.of("second")
        if told is None or told.high is None or told.high >= 1 or told.ratio > 1 / (1 + near):
            return None
        second, winner = self.compared["second"]
        of_winner = self.values["second"]
        compared, values = {"second": (winner, second)}, {"second": [-one for one in of_winner]}
        if "plain" in self.values:
            compared["plain"] = self.compared["plain"][0], second
            both = zip(self.values["plain"], of_winner, strict=False)
            values["plain"] = [over_plain - over_second for over_plain, over_second in both]
        elif "plain" not in self.compared:  # plain was the winner
            compared["plain"], values["plain"] = (winner, second), values["second"]
        return Confirmation(compared, values)
