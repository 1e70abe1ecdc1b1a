"""The verdicts of a paired comparison: each of them, and every known way to get them wrong."""

import math
import random
from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from bench.read.decide import (
    FIRST_PAIRS,
    FRESH_PAIRS,
    Case,
    Decision,
    decide,
    pair_value,
    settled,
    suspects,
)
from tests.perf.replay import DATA, false_alarms, power

SLOWER = math.log(1.10)
NOISE = (0.01, -0.01, 0.02, -0.02, 0.005, -0.005)


def around(centre: float, count: int = FIRST_PAIRS) -> tuple[float, ...]:
    """Values about `centre`, with an SD of 1.5 %."""
    return tuple(centre + NOISE[place % len(NOISE)] for place in range(count))


def one(first: tuple[float, ...], fresh: tuple[float, ...] = (), **more: object) -> Decision:
    (decision,) = decide([Case(key="a", first=first, fresh=fresh, **more)], (), 0.05)  # type: ignore[arg-type]
    return decision


# --- a pair ----------------------------------------------------------------------------------


def test_a_pair_is_the_median_of_its_turns() -> None:
    assert pair_value([1.0, 2.0, 4.0], [1.1, 2.4, 4.0]) == pytest.approx(math.log(1.1))


def test_turns_that_one_side_lacks_do_not_count() -> None:
    assert pair_value([1.0, 1.0, 1.0], [2.0]) == pytest.approx(math.log(2.0))
    assert pair_value([1.0], []) is None


def test_drift_within_a_pair_cancels() -> None:
    a = [1.0, 1.5, 2.0, 3.0]
    assert pair_value(a, [1.02 * x for x in a]) == pytest.approx(math.log(1.02))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_sample_that_cannot_be_spoils_its_pair(bad: float) -> None:
    assert pair_value([1.0, 1.0], [1.0, bad]) is None


def test_a_cold_first_turn_does_not_move_a_pair() -> None:
    assert pair_value([9.0, 1.0, 1.0], [1.0, 1.1, 1.1]) == pytest.approx(math.log(1.1))


# --- the stages ------------------------------------------------------------------------------


def test_suspects_are_beyond_half_of_the_threshold_and_not_by_chance_alone() -> None:
    cases = [
        Case(key="same", first=around(0.0)),
        Case(key="slower", first=around(SLOWER)),
        Case(key="a little", first=around(0.02)),
        Case(key="wild", first=(0.5, -0.4, 0.4, -0.3, 0.2, -0.2)),
        Case(key="faster", first=around(-SLOWER)),
        Case(key="rate", first=around(-SLOWER), higher_is_better=True),
        Case(key="patient", first=around(SLOWER), threshold=0.5),
    ]
    assert suspects(cases, 0.05) == ("slower", "rate")


def test_one_pair_beyond_is_a_suspect_and_none_is_not() -> None:
    assert suspects([Case(key="a", first=(0.2,)), Case(key="b", first=())], 0.05) == ("a",)


def test_one_pair_far_out_hides_no_suspect_and_makes_none() -> None:
    slowed = (*around(SLOWER, 5), -0.5)
    same = (*around(0.0, 5), 0.5)
    cases = [Case(key="slowed", first=slowed), Case(key="same", first=same)]
    assert suspects(cases, 0.05) == ("slowed",)


def test_the_fresh_pairs_alone_decide() -> None:
    assert one(around(SLOWER), around(0.0, FRESH_PAIRS)).verdict == "SAME"
    assert one(around(0.0), around(SLOWER, FRESH_PAIRS)).verdict == "REGRESSED"


def test_where_some_were_measured_again_the_others_are_not_called_slower() -> None:
    cases = [
        Case(key="again", first=around(0.0), fresh=around(SLOWER, FRESH_PAIRS)),
        Case(key="once", first=around(0.02)),
    ]
    found = {each.key: each for each in decide(cases, (), 0.05)}
    assert found["again"].verdict == "REGRESSED"
    assert found["again"].p_adjusted == found["again"].p  # a family of one
    assert found["once"].verdict == "SAME"
    assert found["once"].p_adjusted is None


@pytest.mark.parametrize("fresh", [0, 1, 2, 7, 8, 16])
def test_a_budget_that_ends_in_the_second_stage_hides_no_slowdown(fresh: int) -> None:
    half = math.log(1.5)
    assert one(around(half), around(half, fresh)).verdict == "REGRESSED"


@pytest.mark.parametrize("fresh", [0, 7])
def test_a_suspect_whose_turn_never_came_is_judged_on_its_first_pairs_among_all(
    fresh: int,
) -> None:
    cases = [
        Case(key="again", first=around(SLOWER), fresh=around(SLOWER, FRESH_PAIRS)),
        Case(key="waiting", first=around(0.30), fresh=around(0.0, fresh)),
        Case(key="calm", first=around(0.0)),
    ]
    found = {each.key: each for each in decide(cases, (), 0.05)}
    assert found["waiting"].verdict == "REGRESSED"
    assert (found["waiting"].pairs, found["again"].pairs) == (6, 16)
    alone = one(around(0.30)).p
    assert alone is not None
    assert found["waiting"].p == alone
    assert found["waiting"].p_adjusted == pytest.approx(3 * alone)  # the least of three
    assert found["calm"].p_adjusted is None


def test_seven_fresh_pairs_say_no_more_than_none_and_eight_decide() -> None:
    assert one(around(SLOWER), around(0.0, 7)).verdict == "REGRESSED"
    assert one(around(SLOWER), around(0.0, 8)).verdict == "SAME"


# --- the verdicts ----------------------------------------------------------------------------


def test_slower_same_and_faster() -> None:
    assert one(around(SLOWER)).verdict == "REGRESSED"
    assert one(around(0.0)).verdict == "SAME"
    assert one(around(-SLOWER)).verdict == "IMPROVED"


def test_a_verdict_comes_with_its_ratio_and_interval() -> None:
    found = one(around(SLOWER))
    assert found.ratio == pytest.approx(1.10)
    assert found.low is not None
    assert found.high is not None
    assert 1.08 < found.low < 1.10 < found.high < 1.12
    assert (found.pairs, found.pairs_needed) == (6, None)


def test_what_cannot_be_told_says_what_could_have_been_found_and_what_it_would_take() -> None:
    found = one((0.3, -0.2, 0.1, -0.3, 0.2, 0.1))
    assert found.verdict == "INCONCLUSIVE"
    assert found.smallest_effect is not None
    assert found.smallest_effect > 0.2
    assert found.pairs_needed is not None
    assert found.pairs_needed > 50


def test_a_slowdown_below_the_threshold_is_none() -> None:
    assert one(around(math.log(1.03))).verdict in ("SAME", "INCONCLUSIVE")


def test_pairs_far_out_on_either_side_hide_no_slowdown() -> None:
    values = (*around(SLOWER, 10), -0.5, 0.6, -0.4, 0.7, -0.3, 0.5)
    found = one(around(SLOWER), values)
    assert found.verdict == "REGRESSED"
    assert found.ratio == pytest.approx(1.10, rel=0.01)
    assert one(around(0.0), tuple(value - SLOWER for value in values)).verdict == "SAME"


@pytest.mark.parametrize(("count", "kept"), [(6, 6), (8, 6), (12, 8), (16, 10)])
def test_of_eight_pairs_and_more_a_fifth_at_either_end_is_left_out(count: int, kept: int) -> None:
    """Held against scipy's own trimmed t-test."""
    rng = random.Random(count)
    values = [rng.gauss(0.02, 0.05) for _ in range(count)]
    found = one(tuple(values))
    cut = (count - kept) // 2
    middle = sorted(values)[cut : count - cut]
    assert found.ratio == pytest.approx(math.exp(sum(middle) / kept))
    # of equal sides: scipy's test of one side against itself moved has √2 of the error
    t, _ = stats.ttest_ind(values, [v - 0.02 for v in values], trim=cut / count)
    error = 0.02 / t / math.sqrt(2)
    assert found.low == pytest.approx(
        math.exp(sum(middle) / kept - stats.t.ppf(0.975, kept - 1) * error)
    )


def test_a_few_pairs_far_out_are_no_regression() -> None:
    values = (0.9, 1.0, 0.9, 0.95, 1.0, 0.9, 0.9, 0.95, *[-0.01] * 8)
    assert one(around(SLOWER), values).verdict == "INCONCLUSIVE"


def test_higher_is_better_turns_the_verdict_and_keeps_the_ratio() -> None:
    found = one(around(-SLOWER), higher_is_better=True)
    assert found.verdict == "REGRESSED"
    assert found.ratio == pytest.approx(1 / 1.10)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 / 1.10 < found.high
    assert one(around(SLOWER), higher_is_better=True).verdict == "IMPROVED"


def test_a_case_may_have_a_threshold_of_its_own() -> None:
    assert one(around(SLOWER), threshold=0.5).verdict == "SAME"


# --- what goes wrong -------------------------------------------------------------------------


def test_no_pair_at_all_is_undecided() -> None:
    found = one(())
    assert (found.verdict, found.ratio, found.pairs) == ("INCONCLUSIVE", None, 0)
    assert found.note == "no pair has samples of both sides"


def test_one_pair_says_nothing_of_chance() -> None:
    found = one((0.5,))
    assert (found.verdict, found.low) == ("INCONCLUSIVE", None)
    assert found.note == "one pair says nothing of chance"


def test_pairs_without_any_scatter_are_what_they_are() -> None:
    assert one((0.0,) * 6).verdict == "SAME"
    assert one((0.2,) * 6).verdict == "REGRESSED"
    assert one((-0.2,) * 6).verdict == "IMPROVED"


def test_a_null_case_that_differs_makes_everything_untrusted() -> None:
    cases = [Case(key="a", first=around(SLOWER)), Case(key="b", first=around(0.0))]
    null = [Case(key="null", first=around(0.2))]
    found = decide(cases, null, 0.05)
    assert {one.verdict for one in found} == {"UNTRUSTED"}
    assert "null" in found[0].note
    assert found[0].ratio == pytest.approx(1.10)
    quiet = decide(cases, [Case(key="null", first=around(0.0))], 0.05)
    assert [one.verdict for one in quiet] == ["REGRESSED", "SAME"]


def test_the_threshold_is_never_below_twice_the_machines_own_bias() -> None:
    cases = [Case(key="a", first=around(SLOWER))]
    assert decide(cases, (), 0.05, null_history=[0.01] * 20)[0].verdict == "REGRESSED"
    assert decide(cases, (), 0.05, null_history=[0.06] * 20)[0].verdict == "INCONCLUSIVE"
    # one comparison, or four, is off by chance
    assert decide(cases, (), 0.05, null_history=[0.06] * 4)[0].verdict == "REGRESSED"
    assert decide(cases, (), 0.05, null_history=[0.06, -0.06] * 10)[0].verdict == "REGRESSED"
    old = [0.5] * 30 + [0.0] * 20
    assert decide(cases, (), 0.05, null_history=old)[0].verdict == "REGRESSED"


def test_of_five_hundred_identical_cases_hardly_one_is_called_slower() -> None:
    rng = random.Random(0)
    cases = [
        Case(key=str(n), first=tuple(rng.gauss(0, 0.04) for _ in range(FIRST_PAIRS)))
        for n in range(500)
    ]
    again = set(suspects(cases, 0.05))
    assert len(again) < 100
    both = [
        Case(
            key=each.key,
            first=each.first,
            fresh=tuple(rng.gauss(0, 0.04) for _ in range(FRESH_PAIRS)),
        )
        if each.key in again
        else each
        for each in cases
    ]
    found = Counter(one.verdict for one in decide(both, (), 0.05))
    assert found["REGRESSED"] == 0
    assert found["SAME"] > 200


# --- stopping early --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("centre", "number", "stops"),
    [(0.0, 3, False), (0.0, 4, True), (0.03, 4, False), (SLOWER, 4, False), (-SLOWER, 4, False)],
)
def test_the_first_stage_ends_early_for_what_is_clearly_the_same_alone(
    centre: float, number: int, stops: bool
) -> None:
    case = Case(key="a", first=around(centre, 6))
    assert settled([case], "first", number, 0.05, 0) is stops


@pytest.mark.parametrize(
    ("centre", "number", "stops"),
    [(SLOWER, 7, False), (SLOWER, 8, True), (0.0, 8, True), (math.log(1.05), 15, False)],
)
def test_the_second_stage_ends_early_for_what_is_clear_either_way(
    centre: float, number: int, stops: bool
) -> None:
    case = Case(key="a", first=around(SLOWER), fresh=around(centre, 16))
    assert settled([case], "fresh", number, 0.05, 1) is stops


def test_a_case_goes_on_as_long_as_one_of_its_phases_is_not_clear() -> None:
    clear, unclear = Case(key="a", first=around(0.0)), Case(key="b", first=around(0.03))
    assert not settled([clear, unclear], "first", 5, 0.05, 0)


def test_pairs_after_a_look_do_not_change_what_it_said() -> None:
    case = Case(key="a", first=(*around(0.0, 4), SLOWER, SLOWER))
    assert settled([case], "first", 6, 0.05, 0)


def test_a_pair_that_failed_is_not_counted_as_seen() -> None:
    assert not settled([Case(key="a", first=around(0.0, 3))], "first", 5, 0.05, 0)


# --- replayed on real pairs ------------------------------------------------------------------

QUIET, NOISY = DATA / "aa-pairs.jsonl.gz", DATA / "aa-pairs-convnet.jsonl.gz"


@pytest.mark.slow
@pytest.mark.parametrize("path", [QUIET, NOISY], ids=lambda path: path.name)
def test_identical_code_alarms_in_at_most_one_suite_of_a_hundred(path: Path) -> None:
    alarms, *_ = false_alarms(path, draws=400)
    assert alarms <= 4


@pytest.mark.slow
@pytest.mark.parametrize("path", [QUIET, NOISY], ids=lambda path: path.name)
def test_a_budget_that_ends_anywhere_in_the_second_stage_makes_no_more_alarms(path: Path) -> None:
    alarms, *_ = false_alarms(path, draws=400, interrupted=True)
    assert alarms <= 4


@pytest.mark.slow
def test_slowdowns_are_found() -> None:
    assert power(QUIET, 1.10, draws=400)["REGRESSED"] >= 0.95 * 400
    assert power(QUIET, 1.15, draws=400)["REGRESSED"] >= 0.99 * 400


@pytest.mark.slow
def test_a_slowdown_that_noise_hides_is_undecided_and_never_the_same() -> None:
    found = power(NOISY, 1.10, draws=400)
    assert found["SAME"] + found["IMPROVED"] == 0
    assert found["REGRESSED"] + found["INCONCLUSIVE"] == 400
