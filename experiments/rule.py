"""Apply the rule of `bench ab` to thousands of suites at once: stages, looks, the family.

The functions that decide are those of `bench.verdict.paired_test`, one case at a time; a replay of
1,600 suites takes these a quarter of an hour.  `tests/experiments/test_replay.py` holds the two
against one another.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.verdict.evidence import cut_of
from bench.verdict.looks import (
    ALPHA,
    FIRST_ALPHA,
    FIRST_LOOK,
    FIRST_PAIRS,
    LEAST_FRESH,
    planned,
    taken,
)
from bench.verdict.paired_test import MEAN_ALPHA, SAME_ALPHA, SUSPECT_P
from bench.verdict.rule_arrays import Flags, Floats, best_of_looks, estimates, p_above

Counts = NDArray[np.int64]
INCONCLUSIVE, REGRESSED, IMPROVED, SAME = range(4)
NAMES = ("INCONCLUSIVE", "REGRESSED", "IMPROVED", "SAME")


@dataclass(frozen=True, slots=True)
class Values:
    """Values of the pairs of one stage: (suites, cases, pairs).

    centres, means: of the middle of their samples, and of their means.
    """

    centres: Floats
    means: Floats

    def upto(self, pairs: int) -> "Values":
        return Values(self.centres[..., :pairs], self.means[..., :pairs])

    def of(self, chosen: Flags) -> "Values":
        """Return the values of the chosen cases: (chosen cases, pairs)."""
        return Values(self.centres[chosen], self.means[chosen])


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcomes of each case in each suite: (suites, cases)."""

    verdicts: Counts  # places in NAMES
    first: Counts  # pairs
    fresh: Counts


def judge(
    first: Values,
    fresh: Values,
    threshold: float,
    ended: NDArray[np.float64] | None = None,
) -> Outcome:
    """Decide.  first: FIRST_PAIRS of each case.  fresh: FRESH_PAIRS; suspects use what they need.

    ended: (suites), the part of a suite's comparisons after which its budget ends; None = never.
    """
    bound = math.log1p(threshold)
    clear = _same(first.upto(FIRST_LOOK), bound) & ~_suspects(
        first.centres[..., :FIRST_LOOK], bound
    )
    firsts = np.where(clear, FIRST_LOOK, first.centres.shape[-1])
    chosen = _suspects(first.centres, bound) & ~clear
    family = np.maximum(chosen.sum(-1), 1)[:, None]
    stops, settled = _stops(fresh.centres, chosen, family, bound)
    if ended is None:
        return _verdicts(first, fresh, bound, firsts, stops, settled & chosen, clear)
    wanted = firsts.sum(-1) + stops.sum(-1)
    most = np.floor(ended * (wanted + 1)).astype(int)
    got_first = _reached(firsts, most)
    got_fresh = _reached(stops, most - firsts.sum(-1))
    whole = got_fresh == stops
    return _verdicts(first, fresh, bound, got_first, got_fresh, settled & whole & chosen, clear)


def _same(values: Values, bound: float) -> Flags:
    def within(found: Floats, cut: int | None, alpha: float) -> Flags:
        one = estimates(found, cut)
        return np.asarray(np.maximum(one.p_below(bound), one.p_above(-bound)) < alpha)

    return np.asarray(
        within(values.centres, None, SAME_ALPHA)
        & within(values.centres, 0, MEAN_ALPHA)
        & within(values.means, None, MEAN_ALPHA)
    )


def _suspects(values: Floats, bound: float) -> Flags:
    n = values.shape[-1]
    if n == 0:
        return np.zeros(values.shape[:-1], bool)
    if n == 1:  # says nothing of chance
        return np.asarray(values[..., 0] > bound / 2)
    found = estimates(values, max(1, cut_of(n)) if n >= FIRST_PAIRS else 0)
    return np.asarray((found.log > bound / 2) & (found.p_above(0.0) < SUSPECT_P))


def _stops(
    fresh: Floats, chosen: Flags, family: NDArray[np.int64], bound: float
) -> tuple[Counts, Flags]:
    """Return after how many fresh pairs a case stops, and whether a look was clear by then."""
    stops = np.where(chosen, fresh.shape[-1], 0)
    done, worst = ~chosen, np.ones(chosen.shape)
    for look in planned(fresh.shape[-1]):
        seen = fresh[..., : look.pairs]
        worst = np.minimum(worst, p_above(seen, bound) * ALPHA / look.share)
        below = estimates(seen).p_below(bound)
        now = ~done & ((worst <= ALPHA / family) | (below < look.hopeless))
        stops = np.where(now, look.pairs, stops)
        done = done | now
    return stops, done


def _reached(wanted: Counts, most: NDArray[np.int64]) -> Counts:
    """Return how many of `most` pairs each case gets, measured in turns, one per case."""
    rounds = np.arange(int(wanted.max(initial=0)))[None, :, None] < wanted[:, None, :]
    place = np.cumsum(rounds.reshape(len(wanted), -1), -1).reshape(rounds.shape)
    return np.asarray((rounds & (place <= most[:, None, None])).sum(1))


def _verdicts(
    first: Values,
    fresh: Values,
    bound: float,
    firsts: Counts,
    freshes: Counts,
    settled: Flags,
    clear: Flags,
) -> Outcome:
    """Decide.  firsts, freshes: pairs of each case.  settled, clear: it was clear at a look."""
    clear = clear & (firsts >= FIRST_LOOK)
    again = freshes >= LEAST_FRESH
    family = again.sum(-1)
    log, same = np.full(firsts.shape, np.nan), np.zeros(firsts.shape, bool)
    better, worse, early = (np.ones(firsts.shape) for _ in range(3))
    suspect = np.zeros(firsts.shape, bool)

    def each(counts: Counts, within: Flags, act: Callable[[int, Flags], None]) -> None:
        for count in np.unique(counts[within]):
            act(int(count), within & (counts == count))

    def of_first(count: int, chosen: Flags) -> None:
        seen = first.upto(count).of(chosen)
        suspect[chosen] = _suspects(seen.centres, bound)
        if count >= 2:
            log[chosen] = estimates(seen.centres).log
            same[chosen] = _same(seen, bound)
        if count >= FIRST_PAIRS:
            early[chosen] = np.minimum(1.0, p_above(seen.centres, bound) * ALPHA / FIRST_ALPHA)
            better[chosen] = p_above(-seen.centres, bound)

    def of_fresh(count: int, chosen: Flags) -> None:
        seen = fresh.upto(count).of(chosen)
        log[chosen] = estimates(seen.centres).log
        same[chosen] = _same(seen, bound)
        better[chosen] = p_above(-seen.centres, bound)
        for was in (True, False):
            part = chosen & (settled == was)
            if part.any():
                values = fresh.upto(count).of(part).centres
                worse[part] = best_of_looks(values, bound, taken(count, settled=was))

    each(firsts, np.ones(firsts.shape, bool), of_first)
    each(freshes, again, of_fresh)
    waiting = suspect & ~again
    adjusted = np.where(again, _adjusted(worse, again, family), 1.0)
    whole = np.ones(firsts.shape, bool)
    of_all = np.full(len(firsts), firsts.shape[-1])
    adjusted = np.where(waiting, _adjusted(early, whole, of_all), adjusted)
    # What a case of too few first pairs counts for in either family is p = 1.
    enough = again | (firsts >= FIRST_PAIRS) | clear
    found = np.full(firsts.shape, INCONCLUSIVE)
    found[same & enough] = SAME
    found[(_adjusted(better, whole, of_all) <= ALPHA) & (log < -bound) & enough] = IMPROVED
    found[(adjusted <= ALPHA) & (log > bound) & enough & (again | waiting)] = REGRESSED
    return Outcome(found, firsts, freshes)


def _adjusted(p: Floats, within: Flags, family: NDArray[np.int64]) -> Floats:
    """Adjust p by Benjamini–Hochberg along the cases; those outside the family do not count."""
    outside = 2.0
    sorted_at = np.argsort(np.where(within, p, outside), -1)
    ordered = np.take_along_axis(np.where(within, p, outside), sorted_at, -1)
    ranked = ordered * np.maximum(family, 1)[:, None] / np.arange(1, p.shape[-1] + 1)
    ranked = np.where(ordered == outside, outside, ranked)
    least = np.minimum.accumulate(ranked[..., ::-1], -1)[..., ::-1]
    found = np.empty_like(p)
    np.put_along_axis(found, sorted_at, np.minimum(least, outside), -1)
    return found
