"""The speedup of the winner in fresh pairs, so that the selection does not flatter it.  Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats.intervals import LEVEL, t_quantile

LEAST_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Baseline time / candidate time over fresh pairs, with its 95 % interval.

    low, high: None with fewer than LEAST_PAIRS pairs.
    """

    ratio: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def faster(self) -> bool:
        return self.low is not None and self.low > 1.0


def confirmed(values: Sequence[float]) -> Confirmed | None:
    """From log(candidate time / baseline time) of each pair; None without any."""
    if not values:
        return None
    centre = -statistics.fmean(values)
    if len(values) < LEAST_PAIRS:
        return Confirmed(math.exp(centre), None, None, len(values))
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = t_quantile(len(values) - 1, LEVEL) * error
    return Confirmed(
        math.exp(centre), math.exp(centre - half), math.exp(centre + half), len(values)
    )
