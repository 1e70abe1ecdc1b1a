"""Tests over pairs: the trimmed mean, the signed ranks, and both together.  Pure functions.

A neighbour on the host that slows one process of a pair for a while leaves pairs far out on either
side: a trimmed mean (Yuen 1974) bears these.  Processes that are fast or slow by chance, in one of
two modes, leave pairs in three heaps: there ranks (Wilcoxon 1945) tell more.  A Cauchy combination
of both p-values (Liu & Xie 2020) has nearly the power of the better of the two, and is nearly a
p-value where it is small, whatever their dependence.
"""

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache

from bench.stats.ratios import Estimate

# Of the pairs at either end, left out of the mean.  Of fewer pairs every one is needed.
TRIMMED = 0.2
LEAST_TRIMMED = 8
EXACT_RANKS = 60  # pairs; of more the sum of ranks is as good as normal
SMALLEST_P = 1e-15  # a float's own limit: the tangent of what is nearer to 0 or 1 is noise


def cut_of(pairs: int) -> int:
    """How many of them the mean leaves out at either end."""
    return int(TRIMMED * pairs) if pairs >= LEAST_TRIMMED else 0


def estimate(values: Sequence[float], cut: int | None = None) -> Estimate | None:
    """Trimmed mean over pairs, its error from the winsorized ones; None where there is no pair.

    cut: how many are left out at either end; None = what so many pairs can spare.
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
    """p of H0: the pairs lie at or below `bound`; None where one pair or none says nothing."""
    found = estimate(values)
    by_mean = None if found is None else found.p_above(bound)
    return None if by_mean is None else combined(by_mean, rank_p(values, bound))


def rank_p(values: Sequence[float], bound: float) -> float:
    """One-sided p of the signed ranks; pairs at the bound count against."""
    distances = [value - bound for value in values]
    ranks = midranks([abs(one) for one in distances])
    above = math.fsum(rank for rank, one in zip(ranks, distances, strict=True) if one > 0)
    return rank_sum_p(len(values), above)


def midranks(values: Sequence[float]) -> list[float]:
    """From 1; equal values share the mean of theirs."""
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
    """P of a sum of ranks that is as large, where each pair is on either side by chance."""
    if pairs <= EXACT_RANKS:
        return rank_tail(pairs)[math.floor(above)]  # half a rank: the larger p
    mean, variance = pairs * (pairs + 1) / 4, pairs * (pairs + 1) * (2 * pairs + 1) / 24
    return statistics.NormalDist().cdf((mean - above + 0.5) / math.sqrt(variance))


@lru_cache(maxsize=EXACT_RANKS + 1)
def rank_tail(pairs: int) -> tuple[float, ...]:
    """P(sum ≥ w) for w = 0, 1, …: the sums of all subsets of 1 … pairs, counted."""
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
    """The mean of their Cauchy deviates, as a p-value."""
    bounded = [min(max(p, SMALLEST_P), 1 - SMALLEST_P) for p in ps]
    deviate = math.fsum(math.tan((0.5 - p) * math.pi) for p in bounded) / len(bounded)
    return math.atan2(1.0, deviate) / math.pi
