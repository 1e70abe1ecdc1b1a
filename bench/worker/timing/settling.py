"""Tells whether times have settled, during the warm-up and over the samples.  Pure functions.

Slow settling looks the same from one moment to the next: it shows over half of the time.
"""

import itertools
import math
import statistics
from collections.abc import Sequence

WINDOW_BLOCKS = 5  # a window of the warm-up: its median bears two outliers
# Medians of five blocks of settled work agree within this on a machine whose blocks scatter by
# 5 % (SD 5 % x 1.25 / sqrt(5) = 3 %, so 5 % is 1.2 SD of the difference and is soon met); work
# that still warms up (clocks, allocator, caches) differs by tens of percent.
AGREE_RATIO = 0.05
# A longer warm-up compares longer windows, which scatter less: one block in so many.
WINDOW_SHARE = 8

STEPS = 10  # that the samples are cut into: one is then longer than most bursts of other work
MOVED_RATIO = 0.05  # from the first third of them to the last
DRIFTED_RATIO = 0.02  # where they rise or fall so evenly that the slope is twice as clear
# Student's t, two-sided level .002, by degrees of freedom (any table of its quantiles).  So strict
# since what disturbs a machine lasts longer than a step: `python -m experiments.settling`.
MOST_T = {2: 22.33, 3: 10.21, 4: 7.173, 5: 5.893, 6: 5.208, 7: 4.785, 8: 4.501}


def settled(blocks_s: Sequence[float], size: int = WINDOW_BLOCKS) -> bool:
    """Return whether the last window agrees with earlier ones, and the blocks neither rise nor
    fall.
    """
    return agree(blocks_s, size) and moved([blocks_s]) is None


def agree(blocks_s: Sequence[float], size: int = WINDOW_BLOCKS) -> bool:
    """Return whether the last window of `size` blocks agrees with the one before and an older one.

    The older one is of half of the time before, so that slow settling shows: a block hardly differs
    from the next one there.  AGREE_RATIO is allowed for windows of WINDOW_BLOCKS.  Smaller ones
    (slow calls) may differ by more, with the square root, as the median of fewer blocks scatters
    more.
    """
    if len(blocks_s) < 2 * size:
        return False
    allowed = AGREE_RATIO * math.sqrt(WINDOW_BLOCKS / min(size, WINDOW_BLOCKS))
    last, before = _median(blocks_s[-size:]), _median(blocks_s[-2 * size : -size])
    late, half = _late_and_half(blocks_s, size)
    return _close(last, before, allowed) and _close(late, half, allowed)


def falling(blocks_s: Sequence[float], size: int = WINDOW_BLOCKS) -> bool:
    """Return whether the last blocks are faster than those of half of the time before."""
    if len(blocks_s) < 2 * size:
        return False
    late, half = _late_and_half(blocks_s, size)
    return late < half


def _late_and_half(blocks_s: Sequence[float], size: int) -> tuple[float, float]:
    """Return medians of the last window, and of the one that ended at half of the time."""
    size = max(size, len(blocks_s) // WINDOW_SHARE)
    middle, spent_s, half_s = 0, 0.0, sum(blocks_s) / 2
    while spent_s < half_s:
        spent_s += blocks_s[middle]
        middle += 1
    middle = min(max(middle, size), len(blocks_s) - size)
    return _median(blocks_s[-size:]), _median(blocks_s[middle - size : middle])


def _median(blocks_s: Sequence[float]) -> float:
    return statistics.median(blocks_s)


def _close(one_s: float, other_s: float, allowed: float) -> bool:
    return abs(one_s - other_s) <= allowed * min(one_s, other_s)


def moved(kinds: Sequence[Sequence[float]]) -> float | None:
    """Return the rise of the times along their series, 0.1 = +10 %; None = none is shown.

    kinds: samples of each kind in the order in which they were taken; the kinds took turns.

    Times have moved if the last third differs from the first by more than MOVED_RATIO, and a line
    through all steps rises or falls beyond the scatter around it.  A DRIFTED_RATIO is enough if the
    line does so twice as clearly.  A step is the median of a part of the series, so that outliers
    do not count.
    """
    steps = _steps(kinds)
    freedom = len(steps) - 2
    if freedom not in MOST_T:
        return None
    third = max(1, len(steps) // 3)
    change = statistics.median(steps[-third:]) - statistics.median(steps[:third])
    if abs(change) <= math.log1p(DRIFTED_RATIO):
        return None
    line = statistics.linear_regression(range(len(steps)), steps)
    left = sum((y - line.intercept - line.slope * x) ** 2 for x, y in enumerate(steps))
    spread = len(steps) * (len(steps) ** 2 - 1) / 12  # of the numbers of the steps: sum of squares
    most = MOST_T[freedom] * math.sqrt(left / freedom / spread)
    large = abs(change) > math.log1p(MOVED_RATIO)
    return math.expm1(change) if abs(line.slope) > most * (1 if large else 2) else None


def _steps(kinds: Sequence[Sequence[float]]) -> list[float]:
    """Return the logarithms of the times minus those of their kind, along the series."""
    series = [times_s for times_s in kinds if times_s]
    count = min([STEPS, *(len(one) for one in series)]) if series else 0
    rows = []
    for times_s in series:
        usual = statistics.median(times_s)
        ends = [len(times_s) * place // count for place in range(count + 1)]
        pieces = [times_s[a:b] for a, b in itertools.pairwise(ends)]
        rows.append([math.log(statistics.median(piece) / usual) for piece in pieces])
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]
