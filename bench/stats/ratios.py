"""Ratios of durations with their standard errors.  Pure functions of numbers.

All intervals are Student's t on natural logarithms, since noise multiplies.  Their coverage is
in docs/trust.md, "What an interval holds".
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import special

from bench.stats.intervals import LEVEL, t_quantile

ALPHA = 0.05  # of one-sided tests
POWER = 0.80


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the variance of a logarithm.

    df: degrees of freedom of its estimate; infinite = exactly known.
    """

    variance: float
    df: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A logarithm of a ratio, with its standard error.

    error: standard error of `log`; None = unknown (one replicate).
    df:    degrees of freedom of `error`.
    """

    log: float
    error: float | None
    df: float
    n: int  # replicates, of the smaller side

    @property
    def ratio(self) -> float:
        return _exp(self.log)

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Return the two-sided interval of the ratio; None where the error is unknown."""
        if self.error is None:
            return None
        half = quantile((1 + level) / 2, self.df) * self.error
        return _exp(self.log - half), _exp(self.log + half)

    def p_above(self, log_bound: float) -> float | None:
        """p of the one-sided t-test of H0: the log lies at or below `log_bound`."""
        if self.error is None:
            return None
        distance = log_bound - self.log
        if self.error == 0:  # all replicates are equal
            return 0.0 if distance < 0 else 1.0
        if math.isinf(self.df):
            return float(special.ndtr(distance / self.error))
        return float(special.stdtr(self.df, distance / self.error))

    def p_below(self, log_bound: float) -> float | None:
        """p of the one-sided t-test of H0: the log lies at or above `log_bound`."""
        return self.reciprocal().p_above(-log_bound)

    @property
    def p_of_no_difference(self) -> float | None:
        """p of the two-sided test of H0: the ratio is 1."""
        above, below = self.p_above(0.0), self.p_below(0.0)
        return None if above is None or below is None else min(1.0, 2 * min(above, below))

    def reciprocal(self) -> "Estimate":
        """Return the estimate of the reciprocal ratio."""
        return Estimate(-self.log, self.error, self.df, self.n)


def quantile(p: float, df: float) -> float:
    """Return the quantile of Student's t; `df` can be a fraction (Welch) or infinite (normal)."""
    return float(special.ndtri(p) if math.isinf(df) else special.stdtrit(df, p))


def paired(base: Mapping[int, float], value: Mapping[int, float]) -> Estimate | None:
    """Estimate base / value from the replicates that both have; None if they share none.

    Two cases of one replicate ran under the same conditions, so common effects cancel in the
    ratio of that replicate.
    """
    shared = sorted(base.keys() & value.keys())
    if not shared:
        return None
    logs = [math.log(base[one]) - math.log(value[one]) for one in shared]
    n = len(logs)
    error = statistics.stdev(logs) / math.sqrt(n) if n > 1 else None
    return Estimate(math.fsum(logs) / n, error, n - 1, n)


def combined(log: float, parts: Sequence[Part], n: int) -> Estimate:
    """Add the variances; degrees of freedom by Welch (1947) and Satterthwaite (1946)."""
    total = math.fsum(part.variance for part in parts)
    if total == 0:
        return Estimate(log, 0.0, math.fsum(part.df for part in parts), n)
    # Shares of the total are squared, because squares of tiny variances would underflow.
    scatter = math.fsum((part.variance / total) ** 2 / part.df for part in parts)
    return Estimate(log, math.sqrt(total), 1 / scatter if scatter else math.inf, n)


@dataclass(frozen=True, slots=True)
class Centre:
    """The mean of the logs of one side's replicate medians."""

    log: float
    variance: float | None  # of that mean; None = unknown
    n: int
    nodes: int | None = None  # machines that measured, if several: `variance` is over them

    @property
    def part(self) -> Part | None:
        """The variance, as far as the replicates of one run can see it."""
        independent = self.n if self.nodes is None else self.nodes
        return None if self.variance is None else Part(self.variance, independent - 1)


def centre(medians: Sequence[float]) -> Centre:
    """Return the centre of one or more durations above 0."""
    logs = [math.log(median) for median in medians]
    n = len(logs)
    return Centre(math.fsum(logs) / n, statistics.variance(logs) / n if n > 1 else None, n)


def centre_over_nodes(medians: Sequence[float], nodes: Sequence[str]) -> Centre:
    """Return the centre of durations that several machines of one kind measured.

    nodes: the machine of each duration, two or more different ones.

    The replicates of one machine share its luck, so the machines are the independent ones: the
    variance of a mean of clusters (Liang & Zeger 1986), with K / (K - 1) for K machines.
    """
    logs = [math.log(median) for median in medians]
    mean = math.fsum(logs) / len(logs)
    sums: dict[str, float] = {}
    for node, log in zip(nodes, logs, strict=True):
        sums[node] = sums.get(node, 0.0) + log - mean
    k = len(sums)
    variance = math.fsum(one**2 for one in sums.values()) / len(logs) ** 2 * k / (k - 1)
    return Centre(mean, variance, len(logs), nodes=k)


def centre_of_interval(median: float, low: float | None, high: float | None, n: int) -> Centre:
    """Return the centre from an interval over the replicates, without the samples.

    The inverse of `intervals.log_interval`; without an interval only the median is known.
    """
    if low is None or high is None or n < 2:
        return Centre(math.log(median), None, n)
    half = (math.log(high) - math.log(low)) / 2
    log = (math.log(high) + math.log(low)) / 2
    return Centre(log, (half / t_quantile(n - 1)) ** 2, n)


def welch(base: Centre, value: Centre, between: Part | None = None) -> Estimate:
    """Estimate base / value without shared replicates and with unequal variances (Welch 1947).

    between: the between-run part; None if both are from one run.
    """
    log, n = base.log - value.log, min(base.n, value.n)
    if base.part is None or value.part is None:
        return Estimate(log, None, 0, n)
    return combined(log, [base.part, value.part, *([between] if between else [])], n)


def prediction(history: Sequence[float], value: float) -> Estimate:
    """Estimate value / history's centre; the error is that of the prediction of one more run.

    history: the figure in earlier runs, two or more, above 0.
    s·√(1 + 1/K) with K - 1 degrees of freedom: the t prediction interval.
    """
    logs = [math.log(one) for one in history]
    k = len(logs)
    error = statistics.stdev(logs) * math.sqrt(1 + 1 / k)
    return Estimate(math.log(value) - math.fsum(logs) / k, error, k - 1, k)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for the number of tests: family-wise error rate (Holm 1979).

    An unknown p-value, None, stays unknown and is no test.
    """
    known = sorted((p, at) for at, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    before = 0.0
    for rank, (p, at) in enumerate(known):
        corrected[at] = before = max(before, min(1.0, (len(known) - rank) * p))
    return corrected


def _exp(log: float) -> float:
    """Return exp(log), or infinity where it overflows; two replicates can lead to that."""
    return math.exp(log) if log < 709 else math.inf
