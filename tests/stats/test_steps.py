"""Steps in made-up series: found where they are, silent where noise explains them."""

import math
import random

import pytest

from bench.stats import steps
from experiments import history_rates


def noise(count: int, seed: int = 0, sd: float = 0.01) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(0, sd) for _ in range(count)]


def test_a_step_is_found_at_the_first_run_after_it() -> None:
    logs = [*noise(20), *(0.1 + one for one in noise(10, 1))]
    (step,) = steps.fit(logs).steps
    assert step.at == 20
    assert step.ratio == pytest.approx(math.exp(0.1), rel=0.02)
    assert step.low < 0.1 < step.high
    assert step.agrees == 1.0
    assert step.passes(0.05)
    assert not step.passes(0.15)


def test_equal_times_have_no_step() -> None:
    assert steps.fit([0.5] * 20).steps == ()


def test_a_step_without_noise_is_found() -> None:
    assert [one.at for one in steps.fit([0.0] * 10 + [0.2] * 10).steps] == [10]


def test_four_slow_runs_are_no_finding() -> None:
    assert not any(one.passes(0.05) for one in steps.fit([*noise(20), *([0.3] * 4)]).steps)


def test_a_step_is_only_where_one_may_be() -> None:
    logs = [*noise(20), *(0.1 + one for one in noise(10, 1))]
    assert [one.at for one in steps.fit(logs, splits=[10, 18, 25]).steps] == [18]


def test_several_steps_are_found_in_order() -> None:
    logs = [*noise(15), *(0.2 + x for x in noise(15, 1)), *(0.4 + x for x in noise(15, 2))]
    fitted = steps.fit(logs)
    assert [one.at for one in fitted.steps] == [15, 30]
    assert [one.at for one in steps.lasting(fitted)] == [15, 30]


def test_a_rise_that_came_back_is_silent() -> None:
    logs = [*noise(15), *(0.2 + x for x in noise(10, 1)), *noise(15, 2)]
    fitted = steps.fit(logs)
    assert [one.at for one in fitted.steps] == [15, 25]
    assert steps.lasting(fitted) == []


def test_a_fall_that_was_lost_again_leaves_the_rise() -> None:
    logs = [*noise(15), *(x - 0.2 for x in noise(10, 1)), *noise(15, 2)]
    (step,) = steps.lasting(steps.fit(logs))
    assert (step.at, step.log > 0) == (25, True)


def test_one_spike_neither_makes_a_step_nor_hides_one() -> None:
    logs = [*noise(20), *(0.1 + one for one in noise(10, 1))]
    logs[7] += 0.5
    logs[23] += 0.5
    assert [one.at for one in steps.fit(logs).steps] == [20]
    calm = noise(30)
    calm[27] += 0.5
    assert steps.fit(calm).steps == ()


def test_a_steady_rise_is_a_drift_and_no_step() -> None:
    logs = [0.01 * number + one for number, one in enumerate(noise(40))]
    fitted = steps.fit(logs)
    assert fitted.drifts.startswith("it ") or fitted.drifts.startswith("neighbouring runs")


def test_the_p_of_the_largest_t_is_larger_than_that_of_a_single_split() -> None:
    """With ten runs there is one split, so both are the same: t = 2.306 has p = .05 at 8 df."""
    assert steps.p_of_largest(2.306, 10) == pytest.approx(0.05, abs=0.004)
    assert steps.p_of_largest(2.011, 50) > 0.3


def test_beyond_the_simulation_p_goes_on_to_fall() -> None:
    ps = [steps.p_of_largest(t, 50) for t in (4.0, 6.0, 8.0, 12.0)]
    assert ps == sorted(ps, reverse=True)
    assert ps[-1] < 1e-12


def test_benjamini_and_hochberg_count_all_judged_series() -> None:
    assert steps.significant([0.00015]) == 0.00015
    assert steps.significant([0.00015, *[0.5] * 9]) == 0.0
    assert steps.significant([0.000015, *[0.5] * 9]) == 0.000015
    assert steps.significant([]) == 0.0


@pytest.mark.parametrize(
    ("made", "most"),
    [
        (history_rates.flat, 0.005),
        (history_rates.spiky, 0.01),
        (history_rates.correlated, 0.05),
        (history_rates.came_back, 0.005),
    ],
)
def test_noise_alone_seldom_makes_a_finding(made: history_rates.Make, most: float) -> None:
    """600 series each; the shares of 4,000 series are in docs/history.md."""
    assert history_rates.rates(made, 600, seed=3).any <= most


def test_ten_per_cent_over_eight_runs_are_found() -> None:
    assert history_rates.rates(history_rates.stepped, 400, seed=3, at=42).found >= 0.95
