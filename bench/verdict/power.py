"""Simulate the smallest slowdown that a comparison finds, and how many pairs a slowdown needs.

No formula covers the first stage, the looks and the number of cases together.  So normal pairs are
drawn with the scatter of the case's own pairs, and the rule is applied to them.  The draws are
seeded, and only the ratio of threshold to scatter matters, so a few simulations serve all cases of
a report.
"""

import bisect
import dataclasses
import functools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bench.stats.ratios import POWER
from bench.verdict.evidence import cut_of, estimate
from bench.verdict.looks import (
    ALPHA,
    FIRST_ALPHA,
    FIRST_PAIRS,
    FRESH_PAIRS,
    LEAST_FRESH,
    MOST_PAIRS,
    first_pairs,
    taken,
)
from bench.verdict.paired_test import SUSPECT_P, Decision, Outlook, PairedPhase, suspects
from bench.verdict.rule_arrays import Flags, Floats, best_of_looks, estimates, p_above

DRAWS = 300  # simulated cases; they give a power of 80 % to within 5 %
STEPS = 7  # bisection steps of the search for the effect
MOST_SCATTERS = 6.0  # the largest effect beyond the threshold that is tried, in scatters
MOST_OCTAVES = 6  # the simulated ratios of threshold to scatter are 2**-6 to 2**6
STEPS_OF_OCTAVE = 4  # simulated ratios per factor of two: 19 % apart
# The simulated numbers of fresh pairs; each is a fifth larger than the one before.
PLANS = tuple(round(8 * 1.2**step) for step in range(25))
MOST_TRIED = PLANS[-1]

Adds = Callable[[Any, int], bool]  # key of a phase, --pairs of a resume → whether it adds a pair


@dataclass(frozen=True, slots=True)
class Plan:
    """The pairs that a case gets, and the size of the family for the correction."""

    first: int
    fresh: int  # at most; if fewer than LEAST_FRESH, the first pairs decide
    family: int  # phases that are tested together


def with_reach(
    decisions: Sequence[Decision],
    cases: Sequence[PairedPhase],
    threshold: float,
    *,
    bias: float = 0.0,
    pairs: int = FRESH_PAIRS,
    complete: bool = True,
    adds: Adds = lambda _, __: True,
) -> tuple[Decision, ...]:
    """Return the decisions with the smallest slowdown that each would have found.

    An INCONCLUSIVE decision also gets its outlook and the number of pairs that it needs.

    bias:     the bias of this machine, a ratio - 1; a smaller difference is never REGRESSED.
    pairs:    the number of fresh pairs that a suspect could have had.
    complete: the comparison was not ended by its budget.
    adds:     whether a resume with a number of pairs adds one to a phase (`Pairs.adds`).
    """
    own = {one.key: one for one in cases}
    chosen = suspects(cases, max(threshold, bias))
    found = []
    for one in decisions:
        case = own[one.key]
        plan = _plan(case, chosen, len(cases), pairs, complete=complete)
        scatter = _scatter(case.decisive)
        asked = max(threshold if case.threshold is None else case.threshold, bias)
        bound, twice = math.log1p(asked), math.log1p(2 * asked)
        effect, outlook, number = None, None, None
        if plan is not None and scatter is not None:
            effect = _effect(bound, scatter, plan)
        if one.verdict == "INCONCLUSIVE":
            needed: float | None = None  # unknown
            if scatter is not None and len(case.decisive) >= FIRST_PAIRS:
                family = len({*chosen, one.key})
                needed = _needed(bound, twice, scatter, family) or math.inf
                if math.isinf(needed) and effect is not None and effect <= twice:
                    needed = pairs  # the plan is larger than all simulated ones, and large enough
            outlook, number = _outlook(needed, pairs, functools.partial(adds, one.key))
        found.append(
            dataclasses.replace(
                one,
                smallest_effect=None if effect is None else math.expm1(effect),
                outlook=outlook,
                pairs_needed=number,
            )
        )
    return tuple(found)


def _outlook(
    needed: float | None, planned: int, adds: Callable[[int], bool]
) -> tuple[Outlook | None, int | None]:
    """Return the effect of a resume on an undecided phase, and the --pairs for it.

    needed:  the fresh pairs that a new comparison would need; infinity: more than are simulated;
             None: unknown, because there are too few pairs.
    planned: the --pairs of the comparison; a resume cannot have fewer.

    The outlook is None if the plan had enough pairs and still decided nothing.
    """
    if not adds(MOST_PAIRS):
        return "given up", None
    if needed is None or needed <= planned:
        return ("go on", planned) if adds(planned) else (None, None)
    if math.isinf(needed):
        return "too noisy", None
    # First pairs are a share of the plan, so a slightly larger plan may add none.
    plans = range(int(needed), MOST_PAIRS + 1)
    return "more pairs", next(number for number in plans if adds(number))


def _plan(
    case: PairedPhase, suspected: Sequence[Hashable], cases: int, pairs: int, *, complete: bool
) -> Plan | None:
    """Return the plan of a case if it were a suspect; None if it has too few pairs to decide."""
    first = len(case.first)
    family = len({*suspected, case.key})
    if case.again:
        return Plan(first, pairs if complete else len(case.fresh), family)
    if first < FIRST_PAIRS and not complete:
        return None
    if not complete:  # the budget ended before its fresh pairs, or would have
        return Plan(first, 0, cases)
    return Plan(max(first, FIRST_PAIRS), pairs, family)


def _scatter(values: Sequence[float]) -> float | None:
    """Return the SD of normal pairs whose trimmed mean has the same standard error as these."""
    found = estimate(values)
    if found is None or not found.error:
        return None
    return found.error * math.sqrt(found.n) / _spread_of_one(found.n)


@lru_cache(maxsize=512)
def _spread_of_one(pairs: int) -> float:
    """Return the SD that the error of the trimmed mean gives for normal pairs of SD 1."""
    return float(np.sqrt(np.mean(estimates(_normal(pairs)).error ** 2) * pairs))


@lru_cache(maxsize=64)
def _normal(pairs: int) -> Floats:
    """Return the seeded draws, shape (DRAWS, |pairs|); a negative number gives other draws."""
    seed = 2 * abs(pairs) + (pairs < 0)
    return np.random.default_rng(seed).normal(size=(DRAWS, abs(pairs)))


def _effect(bound: float, scatter: float, plan: Plan) -> float | None:
    """Return the smallest slowdown, as a log, that is found four times in five."""
    found = _beyond(_rounded(bound / scatter), plan)
    return None if found is None else bound + scatter * found


def _needed(bound: float, effect: float, scatter: float, family: int) -> int | None:
    """Return the fresh pairs with which `effect` is found four times in five; None: too many."""
    return _fewest(_rounded(bound / scatter), effect / bound, family)


def _rounded(ratio: float) -> float:
    """Return the nearest ratio of threshold to scatter that is simulated."""
    place = round(STEPS_OF_OCTAVE * math.log2(ratio))
    most = MOST_OCTAVES * STEPS_OF_OCTAVE
    return float(2.0 ** (max(-most, min(most, place)) / STEPS_OF_OCTAVE))


@lru_cache(maxsize=256)
def _beyond(bound: float, plan: Plan) -> float | None:
    """Return how far beyond the threshold a slowdown must lie to be found four times in five.

    bound and the result are in scatters.  None: further than MOST_SCATTERS.
    """
    low, high = 0.0, MOST_SCATTERS
    if power(bound + high, bound, plan) < POWER:
        return None
    for _ in range(STEPS):
        middle = (low + high) / 2
        enough = power(bound + middle, bound, plan) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return (low + high) / 2


@lru_cache(maxsize=256)
def _fewest(bound: float, times: float, family: int) -> int | None:
    """Return the smallest of PLANS that finds the effect four times in five; None: no plan does.

    bound: in scatters.  times: the effect divided by the bound.
    """

    def found(place: int) -> bool:
        plan = Plan(first_pairs(PLANS[place]), PLANS[place], family)
        return power(times * bound, bound, plan) >= POWER

    place = bisect.bisect_left(range(len(PLANS)), True, key=found)
    return PLANS[place] if place < len(PLANS) else None


def power(effect: float, bound: float, plan: Plan) -> float:
    """Return the share of draws in which the rule finds a slowdown.

    effect, bound: logs, in scatters of the pairs.
    """
    first = _normal(plan.first) + effect
    cut = max(1, cut_of(plan.first)) if plan.first >= FIRST_PAIRS else 0
    seen = estimates(first, cut)
    chosen = (seen.log > bound / 2) & (seen.p_above(0.0) < SUSPECT_P)
    if plan.fresh < LEAST_FRESH:
        p = p_above(first, bound) * ALPHA / FIRST_ALPHA
        return float((chosen & (p * plan.family <= ALPHA)).mean())
    return float(_worse(_normal(-plan.fresh) + effect, bound, plan, chosen).mean())


def _worse(fresh: Floats, bound: float, plan: Plan, chosen: Flags) -> Flags:
    """Return which draws are suspects and are found at any look."""
    found, going = np.zeros(chosen.shape, bool), np.flatnonzero(chosen)
    best = np.ones(len(going))
    for look in taken(plan.fresh, settled=False):
        seen = fresh[going, : look.pairs]
        best = np.minimum(best, best_of_looks(seen, bound, [look]))
        worse = best <= ALPHA / plan.family
        found[going[worse]] = True
        on = ~worse & (estimates(seen).p_below(bound) >= look.hopeless)
        going, best = going[on], best[on]
    return found
