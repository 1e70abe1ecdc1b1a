"""How precise a case is after so many replicates: the runner asks between cases.

The unit is the replicate (a fresh interpreter): pooled samples cover 70 % where 95 % is
promised.  Durations are compared on logarithms, since noise multiplies.
"""

import functools
import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95  # of every two-sided interval that the suite prints
# Replicates are added while the interval over them is wide, so that the run stops where their
# spread happens to look small.  t at this level then reaches 95 %: `python -m
# experiments.coverage`.
STOPPED_LEVEL = 0.97


def log_interval(medians: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the replicates' centre: Student's t on the logs of their medians.

    It holds what further replicates of the same run would give.  None with fewer than two
    replicates, or where no float holds an end.  Raises ValueError for a median that is not above 0.
    """
    if len(medians) < 2:
        return None
    logs = [math.log(median) for median in medians]
    centre = math.fsum(logs) / len(logs)
    half = t_quantile(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    if max(abs(centre - half), abs(centre + half)) > 700:  # exp() ends at 709
        return None
    return math.exp(centre - half), math.exp(centre + half)


def centre(medians: Sequence[float]) -> float:
    """The geometric mean of the replicates' medians: the middle of their interval on logs.

    Raises ValueError for a median that is not above 0, and where there is none.
    """
    if not medians:
        raise ValueError("no replicate has a median")
    # From one of them on, so that the centre of equal ones is what each of them is.
    middle = statistics.median_low(medians)
    start = math.log(middle)
    return middle * math.exp(math.fsum(math.log(one) - start for one in medians) / len(medians))


def relative_half_width(medians: Sequence[float]) -> float | None:
    """(high - low) / 2 / centre: what the stopping rule holds against the precision asked for.

    Of the replicates of this run alone: more of them do not narrow what runs differ by.
    None where there is no interval.  Raises ValueError for a median that is not above 0.
    """
    interval = log_interval(medians)
    if interval is None:
        return None
    low, high = interval
    return (high - low) / 2 / centre(medians)


@functools.cache
def t_quantile(df: int, level: float = LEVEL) -> float:
    """t such that a Student's t of `df` degrees of freedom lies within ±t with `level`.

    Raises ValueError for df < 1.
    """
    from scipy import special  # slow to import: the start of a run does not wait for it

    if df < 1:
        raise ValueError(f"{df} degrees of freedom; there has to be 1")
    return float(special.stdtrit(df, (1 + level) / 2))
