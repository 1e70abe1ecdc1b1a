"""The speedup of the winner in fresh pairs, so that the selection does not flatter it.  Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats.intervals import LEAST_REPLICATES, centre, log_interval


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


def confirmed(values: Sequence[float]) -> Confirmed | None:
    """From log(candidate time / baseline time) of each pair; None without any."""
    if not values:
        return None
    ratios = [math.exp(-one) for one in values]
    enough = len(ratios) >= LEAST_REPLICATES
    low, high = (enough and log_interval(ratios)) or (None, None)
    return Confirmed(centre(ratios), low, high, len(ratios))
