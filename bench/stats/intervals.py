"""Intervals over replicates, without scipy: the scheduler needs them between cases.

The unit is the replicate (a fresh interpreter), because samples of one process are not
independent: docs/trust.md, rule 7.  Durations are compared on logarithms, since noise multiplies.
"""

import functools
import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95  # of every two-sided interval that the suite prints
# Student's t with one degree of freedom is so wide that an interval of two says nothing: no speedup
# of fewer replicates has one.
LEAST_REPLICATES = 3
# Replicates are added while the interval over them is wide, so that the run stops where their
# spread happens to look small.  t at this level then reaches 95 %: `python -m
# experiments.coverage`.
STOPPED_LEVEL = 0.97


def log_interval(medians: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the replicates' centre: Student's t on the logs of their medians.

    It covers further replicates of the same run.  None with fewer than two replicates, or if an
    end overflows a float.  Raises ValueError for a median that is not above 0.
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
    """Return the geometric mean of the replicates' medians: the middle of their interval on logs.

    Raises ValueError for a median that is not above 0, and for an empty sequence.
    """
    if not medians:
        raise ValueError("no replicate has a median")
    # Relative to one of them, so that the centre of equal medians is exactly that median.
    middle = statistics.median_low(medians)
    start = math.log(middle)
    return middle * math.exp(math.fsum(math.log(one) - start for one in medians) / len(medians))


def relative_half_width(medians: Sequence[float]) -> float | None:
    """Return (high - low) / 2 / centre, which the stopping rule compares with the precision.

    It uses the replicates of this run only: more of them do not reduce the between-run SD.
    None if there is no interval.  Raises ValueError for a median that is not above 0.
    """
    interval = log_interval(medians)
    if interval is None:
        return None
    low, high = interval
    return (high - low) / 2 / centre(medians)


@functools.cache
def t_quantile(df: int, level: float = LEVEL) -> float:
    """Return t such that a Student's t of `df` degrees of freedom lies within ±t with `level`.

    Raises ValueError for df < 1.
    """
    from scipy import special  # slow to import: the start of a run does not wait for it

    if df < 1:
        raise ValueError(f"{df} degrees of freedom; there has to be 1")
    return float(special.stdtrit(df, (1 + level) / 2))
