"""The verdicts of a paired comparison: each of them, and every known way to get them wrong."""

import math
import random
from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from bench.verdict.looks import ALPHA, FIRST_PAIRS, FRESH_PAIRS, first_pairs, planned, taken
from bench.verdict.paired_test import (
    Decision,
    PairedPhase,
    bias,
    decide,
    mean_value,
    pair_value,
    settled,
    suspects,
)
from experiments.replay import DATA, of_file, of_noise

SLOWER = math.log(1.10)
NOISE = (0.01, -0.01, 0.02, -0.02, 0.005, -0.005)


def around(centre: float, count: int = FIRST_PAIRS) -> tuple[float, ...]:
    """Values about `centre`, with an SD of 1.5 %."""
    return tuple(centre + NOISE[place % len(NOISE)] for place in range(count))


def one(first: tuple[float, ...], fresh: tuple[float, ...] = (), **more: object) -> Decision:
    (decision,) = decide([PairedPhase(key="a", first=first, fresh=fresh, **more)], (), 0.05)  # type: ignore[arg-type]
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
        PairedPhase(key="same", first=around(0.0)),
        PairedPhase(key="slower", first=around(SLOWER)),
        PairedPhase(key="a little", first=around(0.02)),
        PairedPhase(key="wild", first=(0.5, -0.4, 0.4, -0.3, 0.2, -0.2)),
        PairedPhase(key="faster", first=around(-SLOWER)),
        PairedPhase(key="rate", first=around(-SLOWER), higher_is_better=True),
        PairedPhase(key="patient", first=around(SLOWER), threshold=0.5),
    ]
    assert suspects(cases, 0.05) == ("slower", "rate")


def test_one_pair_beyond_is_a_suspect_and_none_is_not() -> None:
    assert suspects([PairedPhase(key="a", first=(0.2,)), PairedPhase(key="b", first=())], 0.05) == (
        "a",
    )


def test_one_pair_far_out_hides_no_suspect_and_makes_none() -> None:
    slowed = (*around(SLOWER, 5), -0.5)
    same = (*around(0.0, 5), 0.5)
    cases = [PairedPhase(key="slowed", first=slowed), PairedPhase(key="same", first=same)]
    assert suspects(cases, 0.05) == ("slowed",)


def test_the_fresh_pairs_alone_decide() -> None:
    assert one(around(SLOWER), around(0.0, FRESH_PAIRS)).verdict == "SAME"
    assert one(around(0.0), around(SLOWER, FRESH_PAIRS)).verdict == "REGRESSED"


def test_where_some_were_measured_again_the_others_are_not_called_slower() -> None:
    cases = [
        PairedPhase(key="again", first=around(0.0), fresh=around(SLOWER, FRESH_PAIRS)),
        PairedPhase(key="once", first=around(0.02)),
    ]
    found = {each.key: each for each in decide(cases, (), 0.05)}
    assert found["again"].verdict == "REGRESSED"
    (alone,) = decide([cases[0]], (), 0.05)
    assert found["again"].p_adjusted == alone.p_adjusted  # a family of one
    assert found["once"].verdict == "SAME"
    assert found["once"].p_adjusted is None


@pytest.mark.parametrize("fresh", [0, 1, 2, 7, 8, 16, 40])
def test_a_budget_that_ends_in_the_second_stage_hides_no_slowdown(fresh: int) -> None:
    half = math.log(1.5)
    assert one(around(half), around(half, fresh)).verdict == "REGRESSED"


@pytest.mark.parametrize("fresh", [0, 7])
def test_a_suspect_whose_turn_never_came_is_judged_on_its_first_pairs_among_all(
    fresh: int,
) -> None:
    cases = [
        PairedPhase(key="again", first=around(SLOWER), fresh=around(SLOWER, FRESH_PAIRS)),
        PairedPhase(key="waiting", first=around(0.30), fresh=around(0.0, fresh)),
        PairedPhase(key="calm", first=around(0.0)),
    ]
    found = {each.key: each for each in decide(cases, (), 0.05)}
    assert found["waiting"].verdict == "REGRESSED"
    assert (found["waiting"].pairs, found["again"].pairs) == (6, 40)
    alone = one(around(0.30)).p
    assert alone is not None
    assert found["waiting"].p == alone
    # The least of three, at half of the level of fresh pairs.
    assert found["waiting"].p_adjusted == pytest.approx(2 * 3 * alone)
    assert found["calm"].p_adjusted is None


def test_fewer_than_six_pairs_decide_nothing_but_what_is_clearly_the_same() -> None:
    for count in (2, 3, 4, 5):
        slower = one((0.170, 0.172, 0.171, 0.170, 0.171)[:count])
        faster = one((-0.170, -0.172, -0.171, -0.170, -0.171)[:count])
        for found in (slower, faster):
            assert found.verdict == "INCONCLUSIVE"
            assert found.note == "fewer than 6 pairs decide nothing"
    assert one((0.001, 0.002, 0.001)).verdict == "INCONCLUSIVE"
    assert one((0.001, 0.002, 0.001, 0.0)).verdict == "SAME"
    assert one((0.001, 0.002, 0.001, 0.0, 0.001)).verdict == "SAME"


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
    assert found.pairs == 6


def test_a_slowdown_below_the_threshold_is_none() -> None:
    assert one(around(math.log(1.03))).verdict in ("SAME", "INCONCLUSIVE")


def test_pairs_far_out_on_either_side_hide_no_slowdown() -> None:
    values = (*around(SLOWER, 10), -0.5, 0.6, -0.4, 0.7, -0.3, 0.5)
    found = one(around(SLOWER), values)
    assert found.verdict == "REGRESSED"
    assert found.ratio == pytest.approx(1.10, rel=0.01)
    same = one(around(0.0), tuple(value - SLOWER for value in values))
    assert same.verdict == "INCONCLUSIVE"  # as far as the mean goes, nobody can tell
    assert "the mean over all pairs (+0.2 %) is too uncertain" in same.note


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


def test_what_a_few_calls_or_a_few_processes_lose_is_not_the_same() -> None:
    """Whose median is: a third of the calls takes half as long again, or 3 processes of 16."""
    calls = [1.0, 1.0, 1.5] * 10
    middle, mean = pair_value([1.0] * 30, calls), mean_value([1.0] * 30, calls)
    assert middle == pytest.approx(0.0)
    assert mean == pytest.approx(math.log(1 + 0.5 * 7 / 24))  # three of each end are left out
    found = one(around(0.0), first_means=around(0.16))
    assert found.verdict == "INCONCLUSIVE"
    assert found.note == (
        "the centre is the same, but the mean of its samples changed by +17.4 %: "
        "some calls may be slow"
    )
    processes = (*around(0.0, 13), *[math.log(1.4)] * 3)
    found = one(around(SLOWER), processes)
    assert found.verdict == "INCONCLUSIVE"
    assert found.note == (
        "the centre is the same, but the mean over all pairs changed by +6.6 %: "
        "some processes may be slow"
    )


def test_a_mean_that_is_too_uncertain_is_said_to_be_so() -> None:
    found = one(around(0.0), first_means=(0.12, -0.12, 0.11, -0.10, 0.12, -0.12))
    assert found.verdict == "INCONCLUSIVE"
    assert found.note == (
        "the centre is the same, but the mean of its samples (+0.2 %) is too uncertain"
    )


def test_a_mean_is_shown_as_the_figure_has_it_where_larger_is_better() -> None:
    found = one(around(0.0), first_means=around(-0.16), higher_is_better=True)
    assert "the mean of its samples changed by -14.8 %: some calls may be slow" in found.note
    better = one(around(0.0), first_means=around(0.16), higher_is_better=True)
    assert "the mean of its samples (+17.4 %) is too uncertain" in better.note


def test_a_few_pairs_far_out_are_no_regression() -> None:
    values = (0.9, -0.01, 1.0, -0.01, 0.9, -0.01, 0.95, -0.01) * 2
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
    assert found.note == "the noise is unknown from a single pair"


def test_pairs_without_any_scatter_are_what_they_are() -> None:
    assert one((0.0,) * 6).verdict == "SAME"
    assert one((0.2,) * 6).verdict == "REGRESSED"
    assert one((-0.2,) * 6).verdict == "IMPROVED"


def test_a_null_case_that_differs_makes_everything_untrusted() -> None:
    cases = [PairedPhase(key="a", first=around(SLOWER)), PairedPhase(key="b", first=around(0.0))]
    null = [PairedPhase(key="null", first=around(0.2))]
    found = decide(cases, null, 0.05)
    assert {one.verdict for one in found} == {"UNTRUSTED"}
    assert "null" in found[0].note
    assert found[0].ratio == pytest.approx(1.10)
    quiet = decide(cases, [PairedPhase(key="null", first=around(0.0))], 0.05)
    assert [one.verdict for one in quiet] == ["REGRESSED", "SAME"]


def test_the_threshold_is_never_below_twice_the_machines_own_bias() -> None:
    cases = [PairedPhase(key="a", first=around(SLOWER))]
    assert decide(cases, (), 0.05, null_history=[0.01] * 20)[0].verdict == "REGRESSED"
    assert decide(cases, (), 0.05, null_history=[0.06] * 20)[0].verdict == "INCONCLUSIVE"
    # one comparison, or four, is off by chance
    assert decide(cases, (), 0.05, null_history=[0.06] * 4)[0].verdict == "REGRESSED"
    assert decide(cases, (), 0.05, null_history=[0.06, -0.06] * 10)[0].verdict == "REGRESSED"
    old = [0.5] * 30 + [0.0] * 20
    assert decide(cases, (), 0.05, null_history=old)[0].verdict == "REGRESSED"


def test_a_machine_has_no_bias_but_what_its_runs_have_in_common_beyond_chance() -> None:
    assert bias([0.40, 0.001, -0.002, 0.0, 0.001]) == 0.0  # one of them was disturbed
    rng = random.Random(0)
    chance = [bias([rng.gauss(0, 0.05) for _ in range(5)]) for _ in range(2000)]
    assert sum(one > 0.05 for one in chance) <= 20
    shared = [0.04 + rng.gauss(0, 0.005) for _ in range(20)]
    assert 0.06 < bias(shared) < 0.085
    assert bias([-one for one in shared]) == pytest.approx(bias(shared))
    disturbed = [*shared[:19], 0.9]
    assert 0.06 < bias(disturbed) < 0.085


def test_of_five_hundred_identical_cases_hardly_one_is_called_slower() -> None:
    rng = random.Random(0)
    cases = [
        PairedPhase(key=str(n), first=tuple(rng.gauss(0, 0.04) for _ in range(FIRST_PAIRS)))
        for n in range(500)
    ]
    again = set(suspects(cases, 0.05))
    assert len(again) < 100
    both = [
        PairedPhase(
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
    assert found["SAME"] > 100


# --- the looks -------------------------------------------------------------------------------


def test_the_looks_share_alpha_and_a_larger_plan_has_those_of_a_smaller_one() -> None:
    assert [look.pairs for look in planned(40)] == [8, 12, 16, 28, 40]
    assert sum(look.share for look in planned(40)) == pytest.approx(ALPHA)
    assert planned(200)[:4] == planned(40)[:4]
    assert [look.pairs for look in planned(200)[4:]] == [40, 56, 79, 111, 156]
    for most in (56, 200, 10_000):  # the looks beyond share what the fifth would have had
        assert ALPHA - 0.004 < sum(look.share for look in planned(most)) < ALPHA
    assert planned(7) == []


def test_what_a_plan_or_a_budget_ended_has_the_rest_of_alpha_at_its_last_look() -> None:
    for fresh in (8, 10, 16, 20, 39, 40):
        looks = taken(fresh, settled=False)
        assert looks[-1].pairs == fresh
        assert sum(look.share for look in looks) == pytest.approx(ALPHA)
        assert len({look.pairs for look in looks}) == len(looks)
    assert [look.pairs for look in taken(10, settled=True)] == [8]


def test_a_plan_of_more_pairs_chooses_its_suspects_by_more_as_well() -> None:
    assert [first_pairs(fresh) for fresh in (8, 40, 41, 80, 400)] == [6, 6, 7, 12, 60]


@pytest.mark.parametrize("fresh", range(8, 80))
def test_a_plan_of_any_length_decides_on_all_its_pairs(fresh: int) -> None:
    """Also between the looks at 40 and at 56: its last look has a chance of its own."""
    assert min(look.share for look in taken(fresh, settled=False)) > 0
    noise = [0.2 if number % 2 else -0.16 for number in range(fresh)]
    case = PairedPhase(key="a", first=tuple(0.06 + one for one in noise[:9]), fresh=tuple(noise))
    assert decide([case], (), 0.05)[0].verdict == "INCONCLUSIVE"


def test_a_case_that_was_worse_by_luck_at_one_look_is_not_where_all_its_pairs_say_less() -> None:
    early = (*around(math.log(1.2), 8), *around(-0.2, 32))
    assert one(around(SLOWER), early).verdict != "REGRESSED"


# --- stopping early --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("centre", "number", "stops"),
    [(0.0, 3, False), (0.0, 4, True), (0.03, 4, False), (SLOWER, 4, False), (-SLOWER, 4, False)],
)
def test_the_first_stage_ends_early_for_what_is_clearly_the_same_alone(
    centre: float, number: int, stops: bool
) -> None:
    case = PairedPhase(key="a", first=around(centre, 6))
    assert settled([case], "first", number, 0.05, 0) is stops


@pytest.mark.parametrize(
    ("centre", "number", "stops"),
    [(0.2, 7, False), (0.2, 8, True), (0.0, 8, True), (math.log(1.05), 39, False)],
)
def test_the_second_stage_ends_early_for_what_is_clear_either_way(
    centre: float, number: int, stops: bool
) -> None:
    case = PairedPhase(key="a", first=around(SLOWER), fresh=around(centre, 40))
    assert settled([case], "fresh", number, 0.05, 1) is stops


def test_a_case_goes_on_as_long_as_one_of_its_phases_is_not_clear() -> None:
    clear, unclear = (
        PairedPhase(key="a", first=around(0.0)),
        PairedPhase(key="b", first=around(0.03)),
    )
    assert not settled([clear, unclear], "first", 5, 0.05, 0)


def test_pairs_after_a_look_do_not_change_what_it_said() -> None:
    case = PairedPhase(key="a", first=(*around(0.0, 4), SLOWER, SLOWER))
    assert settled([case], "first", 6, 0.05, 0)


def test_a_pair_that_failed_is_not_counted_as_seen() -> None:
    assert not settled([PairedPhase(key="a", first=around(0.0, 3))], "first", 5, 0.05, 0)


# --- replayed on real pairs ------------------------------------------------------------------

QUIET, NOISY = DATA / "aa-pairs.jsonl.gz", DATA / "aa-pairs-convnet.jsonl.gz"


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [False, True], ids=["whole", "budget"])
@pytest.mark.parametrize("path", [QUIET, NOISY], ids=lambda path: path.name)
@pytest.mark.parametrize("threshold", [0.02, 0.05])
def test_identical_code_alarms_in_at_most_one_suite_of_two_hundred(
    path: Path, threshold: float, interrupted: bool
) -> None:
    for joint in (False, True):
        found = of_file(path, 1600, threshold=threshold, interrupted=interrupted, joint=joint)
        assert found.alarms <= 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "t2", "bimodal", "spikes"])
@pytest.mark.parametrize("interrupted", [False, True], ids=["whole", "budget"])
def test_nor_do_more_where_processes_differ_by_a_quarter(kind: str, interrupted: bool) -> None:
    for cases, draws in ((1, 2000), (8, 2000), (60, 400)):
        found = of_noise(kind, cases, 0.25, draws, threshold=0.02, interrupted=interrupted)
        assert found.alarms <= 0.01 * draws


@pytest.mark.slow
def test_slowdowns_are_found() -> None:
    draws = 1600
    assert of_file(QUIET, draws, threshold=0.02, effect=0.05).verdicts["REGRESSED"] >= 0.88 * draws
    assert of_file(QUIET, draws, effect=0.10).verdicts["REGRESSED"] >= 0.995 * draws
    assert of_file(NOISY, draws, effect=0.10).verdicts["REGRESSED"] >= 0.56 * draws


@pytest.mark.slow
@pytest.mark.parametrize("path", [QUIET, NOISY], ids=lambda path: path.name)
def test_of_a_thousand_slowed_cases_at_most_one_is_called_the_same(path: Path) -> None:
    for effect in (0.07, 0.10):
        found = of_file(path, 8000, effect=effect)
        assert found.verdicts["SAME"] <= 8
        assert found.verdicts["IMPROVED"] == 0


@pytest.mark.slow
def test_identical_code_is_the_same_in_no_more_pairs_than_before_the_looks_went_on() -> None:
    """With 16 fresh pairs at most, 50 and 57 of a suite of eight."""
    for path, most in ((QUIET, 51), (NOISY, 63)):
        found = of_file(path, 1600)
        assert found.first + found.fresh <= most
