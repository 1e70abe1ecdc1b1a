"""The slowdown that a comparison would have found, and the pairs that it needs."""

import math

import numpy as np
import pytest

from bench.verdict.looks import FIRST_PAIRS
from bench.verdict.paired_test import Decision, PairedPhase, decide
from bench.verdict.power import Plan, power, with_reach
from experiments.rule import REGRESSED, judge
from experiments.suites import made, slowed


def one(values: tuple[float, ...], *, complete: bool = True) -> Decision:
    case = PairedPhase(key="a", first=values)
    (found,) = with_reach(decide([case], (), 0.05), [case], 0.05, complete=complete)
    return found


@pytest.mark.parametrize("sd", [0.02, 0.05, 0.12])
def test_the_smallest_effect_is_found_four_times_in_five(sd: float) -> None:
    rng = np.random.default_rng(1)
    # Of six normal values whose SD is exactly that.
    scores = np.array([-1.3, -0.8, -0.2, 0.2, 0.8, 1.3])
    values = tuple(float(x) for x in scores / scores.std(ddof=1) * sd)
    found = one(values)
    effect = found.smallest_effect
    assert effect is not None
    both, which = slowed(made("normal", 3000, 1, sd, rng), effect, rng)
    verdicts = judge(*both, 0.05).verdicts[np.arange(3000), which]
    assert 0.75 < (verdicts == REGRESSED).mean() < 0.87


def test_more_pairs_are_needed_the_more_they_scatter_and_none_where_there_are_enough() -> None:
    values = np.array([-1.3, -0.8, -0.2, 0.2, 0.8, 1.3])
    needed = [one(tuple(float(x) for x in values * sd)).pairs_needed for sd in (0.03, 0.12, 0.18)]
    assert needed[0] is None
    assert needed[1] is not None
    assert needed[2] is not None
    assert 40 < needed[1] < needed[2]
    plan = Plan(math.ceil(0.15 * needed[1]), needed[1], 1)
    scatter = 0.12 * values.std(ddof=1)
    bound, effect = math.log(1.05), math.log(1.10)
    assert power(effect / scatter, bound / scatter, plan) == pytest.approx(0.83, abs=0.06)


def test_a_comparison_that_a_budget_ended_before_six_pairs_would_have_found_nothing() -> None:
    values = (0.1, -0.1, 0.2, -0.2, 0.1)
    assert len(values) < FIRST_PAIRS
    assert one(values, complete=False).smallest_effect is None
    assert one(values, complete=True).smallest_effect is not None


def test_where_the_fresh_pairs_never_came_less_would_have_been_found() -> None:
    suspect = tuple(0.08 + x for x in (0.04, -0.05, 0.03, -0.02, 0.05, -0.04))
    early = one(suspect, complete=False).smallest_effect
    whole = one(suspect, complete=True).smallest_effect
    assert early is not None
    assert whole is not None
    assert early > 1.2 * whole


def test_the_same_pairs_are_told_the_same() -> None:
    values = (0.1, -0.1, 0.2, -0.2, 0.1, 0.0)
    assert one(values) == one(values)
