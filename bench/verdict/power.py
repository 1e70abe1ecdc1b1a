"""How small a slowdown a comparison finds, and how many pairs it takes: simulated from the rule.

No formula knows the first stage, the looks and the number of cases at once.  So pairs are drawn,
normal, with the scatter that a case's own pairs had, and go the whole way that a case goes.  The
draws are the same for every question (seeded), and only the ratio of threshold to scatter counts,
so that a few simulations answer for all cases of a report.
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
from bench.verdict.paired_test import SUSPECT_P, Case, Decision, Outlook, suspects
from bench.verdict.rule_arrays import Flags, Floats, best_of_looks, estimates, p_above

DRAWS = 300  # whose power of four in five is known within 5 %
STEPS = 7  # halvings of where the effect may lie
MOST_SCATTERS = 6.0  # an effect beyond the threshold
MOST_OCTAVES = 6  # of threshold to scatter
STEPS_OF_OCTAVE = 4  # at which it is simulated: 19 % apart
# Fresh pairs, each a fifth more than the one before; more are not simulated.
PLANS = tuple(round(8 * 1.2**step) for step in range(25))
MOST_TRIED = PLANS[-1]

Adds = Callable[[Any, int], bool]  # key of a phase, --pairs of a resume → whether it adds a pair


@dataclass(frozen=True, slots=True)
class Plan:
    """What a case is given: pairs, and the phases that it is judged among."""

    first: int
    fresh: int  # at most; fewer than LEAST_FRESH: the first ones decide
    family: int


def with_reach(
    decisions: Sequence[Decision],
    cases: Sequence[Case],
    threshold: float,
    *,
    bias: float = 0.0,
    pairs: int = FRESH_PAIRS,
    complete: bool = True,
    adds: Adds = lambda _, __: True,
) -> tuple[Decision, ...]:
    """The decisions, and of each what it would have found; of what is undecided, what it takes.

    bias:     of this machine; below it nothing is called slower.
    pairs:    fresh ones that a suspect could have had.
    complete: no budget ended it.
    adds:     as the comparison itself would choose what is measured next (`Pairs.adds`).
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
                    needed = pairs  # the plan is larger than any that is tried, and does
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
    """What a resume can do for a phase that is undecided, and with which --pairs.

    needed: fresh pairs in a new comparison; infinity: more than any that is tried; None: too few
            pairs are there to tell.

    A resume takes no fewer pairs than its comparison was begun with.  None: the plan was enough,
    and found nothing.
    """
    if not adds(MOST_PAIRS):
        return "given up", None
    if needed is None or needed <= planned:
        return ("go on", planned) if adds(planned) else (None, None)
    if math.isinf(needed):
        return "too noisy", None
    # First pairs are a share of the plan: one that is little larger may add none.
    plans = range(int(needed), MOST_PAIRS + 1)
    return "more pairs", next(number for number in plans if adds(number))


def _plan(
    case: Case, suspected: Sequence[Hashable], cases: int, pairs: int, *, complete: bool
) -> Plan | None:
    """What the case had, or would have had if it had been slower; None: too few to decide on."""
    first = len(case.first)
    family = len({*suspected, case.key})  # slower, it would have been one of them
    if case.again:
        return Plan(first, pairs if complete else len(case.fresh), family)
    if first < FIRST_PAIRS and not complete:
        return None
    if not complete:  # its fresh pairs never came, or would not have
        return Plan(first, 0, cases)
    return Plan(max(first, FIRST_PAIRS), pairs, family)


def _scatter(values: Sequence[float]) -> float | None:
    """Standard deviation of normal pairs whose trimmed mean would be as sure as that of these."""
    found = estimate(values)
    if found is None or not found.error:
        return None
    return found.error * math.sqrt(found.n) / _spread_of_one(found.n)


@lru_cache(maxsize=512)
def _spread_of_one(pairs: int) -> float:
    """What the same formula makes of normal pairs of SD 1."""
    return float(np.sqrt(np.mean(estimates(_normal(pairs)).error ** 2) * pairs))


@lru_cache(maxsize=64)
def _normal(pairs: int) -> Floats:
    """The same whenever it is asked for; of a negative number others than of the positive one."""
    seed = 2 * abs(pairs) + (pairs < 0)
    return np.random.default_rng(seed).normal(size=(DRAWS, abs(pairs)))


def _effect(bound: float, scatter: float, plan: Plan) -> float | None:
    """The smallest slowdown, a log, that is found four times in five."""
    found = _beyond(_rounded(bound / scatter), plan)
    return None if found is None else bound + scatter * found


def _needed(bound: float, effect: float, scatter: float, family: int) -> int | None:
    """Fresh pairs at most, of which `effect` is found four times in five; None: too many."""
    return _fewest(_rounded(bound / scatter), effect / bound, family)


def _rounded(ratio: float) -> float:
    """To one of those that are simulated; beyond them, the last."""
    place = round(STEPS_OF_OCTAVE * math.log2(ratio))
    most = MOST_OCTAVES * STEPS_OF_OCTAVE
    return float(2.0 ** (max(-most, min(most, place)) / STEPS_OF_OCTAVE))


@lru_cache(maxsize=256)
def _beyond(bound: float, plan: Plan) -> float | None:
    """How far beyond the threshold what is found four times in five lies.

    bound, result: in scatters.
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
    """times: the effect, in bounds."""

    def found(place: int) -> bool:
        plan = Plan(first_pairs(PLANS[place]), PLANS[place], family)
        return power(times * bound, bound, plan) >= POWER

    place = bisect.bisect_left(range(len(PLANS)), True, key=found)
    return PLANS[place] if place < len(PLANS) else None


def power(effect: float, bound: float, plan: Plan) -> float:
    """How often the rule finds a slowdown.  effect, bound: logs, in scatters of the pairs."""
    first = _normal(plan.first) + effect
    cut = max(1, cut_of(plan.first)) if plan.first >= FIRST_PAIRS else 0
    seen = estimates(first, cut)
    chosen = (seen.log > bound / 2) & (seen.p_above(0.0) < SUSPECT_P)
    if plan.fresh < LEAST_FRESH:
        p = p_above(first, bound) * ALPHA / FIRST_ALPHA
        return float((chosen & (p * plan.family <= ALPHA)).mean())
    return float(_worse(_normal(-plan.fresh) + effect, bound, plan, chosen).mean())


def _worse(fresh: Floats, bound: float, plan: Plan, chosen: Flags) -> Flags:
    """Which of the suspects are found at any look."""
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
