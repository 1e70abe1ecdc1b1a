"""The speedup of the winner in fresh pairs, so that the selection does not flatter it."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.core import units
from bench.core.records import Case
from bench.stats.intervals import LEAST_REPLICATES, STOPPED_LEVEL, centre, t_quantile

LEAST_PAIRS, MOST_PAIRS = 5, 8
# Of a search: more of them narrow the interval, and take longer than the race
# (`python -m experiments.tune_proof`).
SEARCH_PAIRS = 4
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
    """Fresh pairs of some comparisons (a, b), by name; an interrupt keeps what was taken.

    most: pairs of each comparison.
    """

    compared: Mapping[str, tuple[Case, Case]]
    values: dict[str, list[float]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    most: int = MOST_PAIRS

    def run(self, take: TakePair, ended: Callable[[], bool]) -> None:
        """Take pairs until each comparison is precise, failed, or has `most` of them.

        ended: whether no further pair may begin.
        """
        for number in range(self.most):
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

    def of_second(self, near: float, *, simpler: bool) -> "Confirmation | None":
        """Return the pairs of the second best in the place of the winner, if it is to be named.

        It is named if they say that it is faster; a simpler one also if they cannot tell the two
        apart.

        near:    by less than this share two settings are the same to a user.
        simpler: whether the second best is the simpler setting.
        """
        told = self.of("second")
        if told is None or told.low is None or told.high is None:
            return None
        faster = told.high < 1 and told.ratio <= 1 / (1 + near)
        if not faster and not (simpler and told.low <= 1):
            return None
        return self._exchanged()

    def _exchanged(self) -> "Confirmation":
        """Return the pairs as if the second best were the winner.

        Its speedup over plain is that of the winner by that of the winner over it, pair by pair of
        the same number.
        """
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
