"""Percentiles of samples, and a test for two groups of replicates.

Pure and without scipy, so that a run can write its table at once when it ends.
"""

import math
from collections.abc import Sequence

import numpy as np

# Below it even the largest of n independent samples lies under the percentile in more than 5 % of
# all draws: 1 - p**n < 0.95, rounded up.  Samples of one process are alike, so that more of them
# say little of other processes: the percentile is that of the replicates that were measured.
# With fewer than n independent samples even the largest is below the percentile in more than 5 %
# of all draws: 1 - p**n < 0.95, rounded up.  Samples of one process are not independent, so the
# percentile describes only the replicates that were measured.
MIN_SAMPLES = {90: 29, 95: 59, 99: 299}

BIMODAL_MIN_REPLICATES = 5
BIMODAL_MIN_RATIO = 1.05  # closer groups do not matter


def percentile(samples: Sequence[float], p: int) -> float | None:
    """Return the p-th percentile, linear between ranks; None with fewer than MIN_SAMPLES.

    p: one of MIN_SAMPLES.
    """
    if len(samples) < MIN_SAMPLES[p]:
        return None
    return float(np.percentile(samples, p))


def bimodal(medians: Sequence[float]) -> bool:
    """Return whether the replicates' medians (above 0) fall into two groups of times.

    The sorted logs are cut at the largest gap that leaves two or more on either side.  The cut
    counts if the gap exceeds 5 % of time and 4 + 12 (5/n)^2.5 times the standard
    deviation that is left within the groups: simulated, at most 1 in 100 draws of normal, t3 or
    uniform noise does (at n = 5, 6, 8, 10 the 99 % points are 15.4, 10.6, 7.1, 5.3).
    """
    n = len(medians)
    if n < BIMODAL_MIN_REPLICATES:
        return False
    logs = sorted(map(math.log, medians))
    gap, cut = max((logs[k] - logs[k - 1], k) for k in range(2, n - 1))
    if gap <= math.log(BIMODAL_MIN_RATIO):
        return False
    within = math.sqrt((_squares(logs[:cut]) + _squares(logs[cut:])) / (n - 2))
    factor: float = 4 + 12 * (5 / n) ** 2.5
    return gap > factor * within


def _squares(values: Sequence[float]) -> float:
    """Return the sum of squared deviations from the mean."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)
