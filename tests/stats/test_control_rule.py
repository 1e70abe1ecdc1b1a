"""The use of the controls is learnt from earlier runs; only a clear yes moves a time."""

import math
import random
import statistics
from collections.abc import Sequence

import pytest

from bench.stats.control_rule import (
    Evidence,
    Learnt,
    Point,
    Series,
    learn,
    p_of_no_difference,
    usual,
)
from experiments.corrected import MACHINES, Outcome, held, simulate

KEY = ("a", "forward")
# Logs of the controls of six runs, and of times that follow four fifths of them, to a thousandth.
CONTROLS = (0.10, -0.06, 0.02, -0.03, 0.05, -0.08)
REST = (0.001, -0.001, 0.002, 0.0, -0.002, 0.001)
FOLLOWING = tuple(0.8 * c + r for c, r in zip(CONTROLS, REST, strict=True))
AGAINST = tuple(-0.6 * c for c in CONTROLS)
APART = (0.01, 0.05, -0.07, 0.06, -0.02, -0.03)  # hardly correlated with the controls


def series(
    times: Sequence[float], controls: Sequence[float | None] = CONTROLS, *, whole: bool = True
) -> Series:
    points = {
        run: Point({"latency": time}, control)
        for run, (time, control) in enumerate(zip(times, controls, strict=False))
        if control is not None
    }
    return Series("cpu", whole, points)


def learnt(times: Sequence[float], controls: Sequence[float | None] = CONTROLS) -> Learnt:
    return learn({KEY: series(times, controls)})


def test_where_times_follow_the_controls_the_rule_says_yes_and_gives_what_is_left() -> None:
    found = learnt(FOLLOWING)
    said = found.evidence["cpu"]
    assert (said.helps, said.runs) == (True, 6)
    assert said.slope == pytest.approx(0.80084, abs=1e-5)
    assert said.slope_error == pytest.approx(0.011077, abs=1e-6)
    assert said.ratio == pytest.approx(0.02661, abs=1e-5)
    rule = found.rule(KEY)
    assert rule is not None
    assert rule.runs == 6
    assert rule.sds["latency"] == pytest.approx(0.0014708, abs=1e-7)
    assert rule.level == pytest.approx(-0.005)
    assert rule.log_factor(0.095) == pytest.approx(-0.080084, abs=1e-6)


@pytest.mark.parametrize("times", [APART, AGAINST, (0.0,) * 6])
def test_where_dividing_takes_nothing_away_the_time_stays(times: Sequence[float]) -> None:
    found = learnt(times)
    assert not found.evidence["cpu"].helps
    assert found.rule(KEY) is None


def test_controls_that_never_move_say_nothing() -> None:
    assert learnt(APART, (0.0,) * 6).evidence["cpu"] == Evidence()


def test_four_runs_are_too_few_and_five_are_enough() -> None:
    assert learnt(FOLLOWING[:4]).evidence["cpu"] == Evidence()
    assert learnt(FOLLOWING[:5]).evidence["cpu"].helps


def test_runs_without_controls_do_not_count() -> None:
    five = (0.10, -0.06, None, -0.03, 0.05, -0.08)
    found = learnt(FOLLOWING, five)
    rule = found.rule(KEY)
    assert rule is not None
    assert (found.evidence["cpu"].runs, rule.runs) == (5, 5)
    four = (0.10, -0.06, None, -0.03, 0.05, None)
    assert learnt(FOLLOWING, four).rule(KEY) is None


def test_a_few_runs_that_may_agree_by_chance_are_no_evidence() -> None:
    """Both shares are small, but five runs like these come up by chance too often."""
    times = (0.0, 0.12, -0.03, 0.03, 0.02)
    said = learnt(times, (0.01, 0.08, -0.06, 0.06, -0.02)).evidence["cpu"]
    assert (said.ratio, said.worst) == pytest.approx((0.542, 0.661), abs=0.001)
    assert said.p == pytest.approx(0.1359, abs=1e-4)
    assert not said.helps


def test_one_odd_run_does_not_make_the_evidence() -> None:
    """Without it, nothing follows anything."""
    times = (0.50, 0.01, -0.01, 0.02, -0.02, 0.01)
    controls = (0.50, -0.01, 0.015, -0.02, 0.0, 0.02)
    said = learnt(times, controls).evidence["cpu"]
    assert said.ratio == pytest.approx(0.13, abs=0.01)
    assert said.worst > 1.0
    assert not said.helps


def test_a_case_that_clearly_does_not_follow_stays_while_others_are_moved() -> None:
    found = learn(
        {
            KEY: series(FOLLOWING),
            ("b", "forward"): series(tuple(2 * time for time in FOLLOWING)),
            ("quiet", "forward"): series(REST),
        }
    )
    assert found.evidence["cpu"].helps
    assert found.rule(KEY) is not None
    assert found.rule(("quiet", "forward")) is None
    assert found.rule(("never seen", "forward")) is None


def test_parts_of_a_case_are_moved_and_are_no_evidence() -> None:
    alone = learn({KEY: series(FOLLOWING, whole=False)})
    assert not alone.evidence["cpu"].helps
    both = learn({KEY: series(FOLLOWING), ("a", "backward"): series(APART, whole=False)})
    assert both.evidence["cpu"] == learnt(FOLLOWING).evidence["cpu"]


def test_devices_are_judged_apart() -> None:
    other = Series("cuda:0", True, series(APART).points)
    found = learn({KEY: series(FOLLOWING), ("g", "forward"): other})
    assert found.evidence["cpu"].helps
    assert not found.evidence["cuda:0"].helps
    assert found.rule(("g", "forward")) is None


def test_a_slope_is_never_above_one_to_one() -> None:
    assert learnt(tuple(2 * one for one in CONTROLS)).evidence["cpu"].slope == 1.0


def test_the_usual_level_is_not_drawn_away_by_one_run() -> None:
    assert usual([0.0, 0.01, -0.01, 0.02, 5.0]) == pytest.approx(0.01)
    assert usual([1.0, 2.0, 3.0]) == 2.0


def test_what_a_move_is_not_sure_of_grows_with_its_length() -> None:
    rule = learnt(FOLLOWING).rule(KEY)
    assert rule is not None
    level, none = rule.uncertainty(rule.level)
    assert none.variance == 0.0
    variance = (0.80084 * 0.0689928) ** 2 * math.pi / 3 / 6
    assert level.variance == pytest.approx(variance, rel=1e-3)
    assert level.df == 5
    assert rule.uncertainty(rule.level + 0.1)[1].variance == pytest.approx(0.0011077**2, rel=1e-3)


def test_equal_scatter_before_and_after_has_no_evidence_either_way() -> None:
    assert p_of_no_difference([0.1, -0.1, 0.1, -0.1], [0.0, 0.0, 0.0, 0.0]) == 0.5
    assert p_of_no_difference(list(CONTROLS), list(CONTROLS)) == 0.0
    assert p_of_no_difference([-one for one in CONTROLS], list(CONTROLS)) == 1.0
    # scipy.stats.pearsonr of sums and differences: r 0.13256, one-sided p 0.43372
    assert p_of_no_difference([1.0, 0.2, -1.0, 0.3], [1.0, -1.0, -0.5, 0.4]) == pytest.approx(
        0.43372
    )


def outcome(name: str, earlier: int) -> Outcome:
    """150 draws of two cases; `python -m experiments.corrected` has more of everything."""
    machine = next(one for one in MACHINES if one.name == name)
    return simulate(machine, 2, earlier, 150, random.Random(7))


@pytest.mark.parametrize(
    "name", ["nothing", "nothing, cases alike", "too little to help", "the other way"]
)
def test_where_the_controls_do_not_help_the_rule_says_yes_in_few_of_the_draws(name: str) -> None:
    """One draw in twenty would be 7.5 of 150."""
    assert outcome(name, 5).yes * 150 <= 7


def test_where_they_explain_all_it_says_yes_and_intervals_are_narrower_and_hold() -> None:
    found = outcome("controls explain all", 10)
    assert found.yes > 0.9
    before, after = (
        statistics.stdev(one.time for one in printed) for printed in (found.raw, found.ruled)
    )
    assert after < 0.7 * before
    assert held(found.moved) >= 0.90
    widths = [
        statistics.median(one.high - one.low for one in printed)
        for printed in (found.raw, found.ruled)
    ]
    assert widths[1] < 0.7 * widths[0]
