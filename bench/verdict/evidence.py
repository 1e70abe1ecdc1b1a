"""Tests over pairs: the trimmed mean, the signed ranks, and both combined.  Pure functions.

Other work on the host slows one process of a pair for a while, which gives outliers on both sides;
a trimmed mean (Yuen 1974) is robust against them.  Some processes are fast or slow by chance, in
one of two modes, which gives three clusters of pairs; ranks (Wilcoxon 1945) have more power there.
The Cauchy combination of both p-values (Liu & Xie 2020) has nearly the power of the better of the
two.  If it is small, it is nearly a valid p-value, whatever the dependence of the two.
"""

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache

from bench.stats.ratios import Estimate

TRIMMED = 0.2  # the share of the pairs that the mean leaves out at each end
LEAST_TRIMMED = 8  # fewer pairs are not trimmed, since each is needed
EXACT_RANKS = 60  # pairs; with more, the sum of ranks is close to normal
SMALLEST_P = 1e-15  # nearer to 0 or 1, the tangent is only rounding error


def cut_of(pairs: int) -> int:
    """Return how many pairs the mean leaves out at each end."""
    return int(TRIMMED * pairs) if pairs >= LEAST_TRIMMED else 0


def estimate(values: Sequence[float], cut: int | None = None) -> Estimate | None:
    """Return the trimmed mean over pairs; None if there are no pairs.

    Its standard error comes from the winsorized values.

    cut: number of pairs that are left out at each end; None: as in `cut_of`.
    """
    n = len(values)
    if not n:
        return None
    cut = cut_of(n) if cut is None else cut
    kept = sorted(values)[cut : n - cut]
    error = None
    if len(kept) > 1:
        winsorized = [*[kept[0]] * cut, *kept, *[kept[-1]] * cut]
        squares = statistics.variance(winsorized) * (n - 1)
        error = math.sqrt(squares / (len(kept) * (len(kept) - 1)))
    return Estimate(math.fsum(kept) / len(kept), error, len(kept) - 1, n)


def p_above(values: Sequence[float], bound: float) -> float | None:
    """Return p of H0: the pairs lie at or below `bound`; None for fewer than two pairs."""
    found = estimate(values)
    by_mean = None if found is None else found.p_above(bound)
    return None if by_mean is None else combined(by_mean, rank_p(values, bound))


def rank_p(values: Sequence[float], bound: float) -> float:
    """Return the one-sided p-value of the signed ranks; pairs at the bound count for H0."""
    distances = [value - bound for value in values]
    ranks = midranks([abs(one) for one in distances])
    above = math.fsum(rank for rank, one in zip(ranks, distances, strict=True) if one > 0)
    return rank_sum_p(len(values), above)


def midranks(values: Sequence[float]) -> list[float]:
    """Return the ranks, from 1; equal values get the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in range(start, end + 1):
            ranks[order[place]] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def rank_sum_p(pairs: int, above: float) -> float:
    """Return the probability of a rank sum of at least `above` if each sign is random."""
    if pairs <= EXACT_RANKS:
        return rank_tail(pairs)[math.floor(above)]  # a half rank is rounded to the larger p
    mean, variance = pairs * (pairs + 1) / 4, pairs * (pairs + 1) * (2 * pairs + 1) / 24
    return statistics.NormalDist().cdf((mean - above + 0.5) / math.sqrt(variance))


@lru_cache(maxsize=EXACT_RANKS + 1)
def rank_tail(pairs: int) -> tuple[float, ...]:
    """Return P(sum ≥ w) for w = 0, 1, …, by counting the sums of all subsets of 1 … pairs."""
    counts = [1]
    for rank in range(1, pairs + 1):
        longer = [*counts, *[0] * rank]
        for place, count in enumerate(counts):
            longer[place + rank] += count
        counts = longer
    tail, at_least = 0, list[float]()
    for count in reversed(counts):
        tail += count
        at_least.append(tail / 2**pairs)
    return tuple(reversed(at_least))


def combined(*ps: float) -> float:
    """Return the Cauchy combination of p-values."""
    bounded = [min(max(p, SMALLEST_P), 1 - SMALLEST_P) for p in ps]
    deviate = math.fsum(math.tan((0.5 - p) * math.pi) for p in bounded) / len(bounded)
    return math.atan2(1.0, deviate) / math.pi
