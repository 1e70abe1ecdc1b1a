"""The tests of `bench.verdict.evidence` and the looks at a suspect, for thousands of cases at once.

`bench.verdict.paired_test` decides.  The functions here serve to simulate how often it would
decide so.  `tests/experiments/test_replay.py` compares the two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr

from bench.verdict.evidence import EXACT_RANKS, SMALLEST_P, cut_of, rank_tail
from bench.verdict.looks import ALPHA, Look

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimates:
    """An array of `bench.stats.ratios.Estimate`."""

    log: Floats
    error: Floats
    df: int

    def p_above(self, bound: float) -> Floats:
        """Return the p-value of H0: the log lies at or below the bound."""
        distance = bound - self.log
        with np.errstate(divide="ignore", invalid="ignore"):
            p = stdtr(self.df, distance / self.error)
        return np.where(self.error == 0, np.where(distance < 0, 0.0, 1.0), p)

    def p_below(self, bound: float) -> Floats:
        """Return the p-value of H0: the log lies at or above the bound."""
        return Estimates(-self.log, self.error, self.df).p_above(-bound)


def estimates(values: Floats, cut: int | None = None) -> Estimates:
    """Return the trimmed means and their errors.

    values: shape (…, pairs), at least two pairs.
    cut:    pairs that are left out at each end; None: as in `cut_of`.
    """
    n = values.shape[-1]
    cut = cut_of(n) if cut is None else cut
    kept = np.sort(values, -1)[..., cut : n - cut]
    k = n - 2 * cut
    winsorized = np.clip(values, kept[..., :1], kept[..., -1:])
    squares = ((winsorized - winsorized.mean(-1, keepdims=True)) ** 2).sum(-1)
    return Estimates(kept.mean(-1), np.sqrt(squares / (k * (k - 1))), k - 1)


def rank_p(values: Floats, bound: float) -> Floats:
    """Return the one-sided p-values of the signed ranks.

    values: shape (…, pairs), without ties in the distance from the bound.
    """
    n = values.shape[-1]
    distance = values - bound
    order = np.argsort(np.abs(distance), -1)
    above = ((np.take_along_axis(distance, order, -1) > 0) * np.arange(1, n + 1)).sum(-1)
    if n <= EXACT_RANKS:
        chances: Floats = np.asarray(rank_tail(n), np.float64)
        exact: Floats = chances[above]
        return exact
    mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
    return np.asarray(ndtr((mean - above + 0.5) / math.sqrt(variance)))


def p_above(values: Floats, bound: float) -> Floats:
    """Return the p-values of the trimmed mean and the signed ranks combined."""
    deviates: Any = sum(
        np.tan((0.5 - np.clip(p, SMALLEST_P, 1 - SMALLEST_P)) * np.pi)
        for p in (estimates(values).p_above(bound), rank_p(values, bound))
    )
    return np.asarray(np.arctan2(1.0, deviates / 2) / np.pi)


def best_of_looks(values: Floats, bound: float, looks: Sequence[Look]) -> Floats:
    """Return the smallest p-value of the looks, each divided by its share of ALPHA.

    values: shape (…, pairs).
    """
    ps = [p_above(values[..., : look.pairs], bound) * ALPHA / look.share for look in looks]
    least: Floats = np.minimum(1.0, np.min(ps, axis=0))
    return least
