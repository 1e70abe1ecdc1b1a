"""The probability of each commit, by pairs with known answers."""

import math
import random

import pytest

from bench.bisect.posterior import Posterior, Suspects, best, effect_interval, groups, next_commit

SLOWER = math.log(1.08)


def test_without_pairs_the_prior_counts() -> None:
    assert Posterior([1.0, 10.0, 1.0]).shares() == pytest.approx([1 / 12, 10 / 12, 1 / 12])


def test_pairs_before_and_at_a_commit_leave_that_commit() -> None:
    found = Posterior([1.0] * 8)
    for commit, value in ((8, SLOWER), (8, SLOWER + 0.01), (8, SLOWER - 0.01)):
        found.add(commit, value)
    for commit, value in ((4, 0.002), (4, -0.004), (5, SLOWER), (5, SLOWER + 0.005)):
        found.add(commit, value)
    shares = found.shares()
    assert sum(shares) == pytest.approx(1.0)
    assert shares[4] > 0.97  # commit 5
    effect, scale = found.effect()
    assert effect == pytest.approx(SLOWER, rel=0.1)
    assert 0.002 < scale < 0.02


def test_a_commit_that_made_it_faster_is_found_as_well() -> None:
    found = Posterior([1.0] * 4, slower=False)
    for commit, value in (
        (4, -SLOWER),
        (4, -SLOWER),
        (2, -SLOWER),
        (1, 0.0),
        (1, 0.0),
        (2, -SLOWER),
    ):
        found.add(commit, value)
    assert max(range(4), key=found.shares().__getitem__) == 1


def test_a_disturbed_pair_does_not_overrule_several_calm_ones() -> None:
    found = Posterior([1.0] * 4)
    for commit, value in ((4, SLOWER), (4, SLOWER), (4, SLOWER), (2, 0.0), (2, 0.003), (2, 0.6)):
        found.add(commit, value)
    early = sum(found.shares()[:2])
    assert early < 0.1


def test_evidence_against_one_commit_lowers_it_alone() -> None:
    found = Posterior([1.0] * 4)
    found.weigh(2, 0.01)
    shares = found.shares()
    assert shares[1] == pytest.approx(0.01 * shares[0])
    assert shares[0] == shares[2] == shares[3]


@pytest.mark.parametrize("commit", [0, 5])
def test_a_pair_of_another_commit_is_refused(commit: int) -> None:
    with pytest.raises(ValueError, match=r"is not one of 1 to 4"):
        Posterior([1.0] * 4).add(commit, 0.0)


def test_a_commit_cannot_be_ruled_out_beforehand() -> None:
    with pytest.raises(ValueError, match=r"weight above 0"):
        Posterior([1.0, 0.0])


def test_broken_commits_share_a_group_with_the_next_one() -> None:
    shares = [0.1, 0.2, 0.3, 0.4]
    assert groups(shares, ()) == [Suspects(n + 1, n + 1, shares[n]) for n in range(4)]
    found = groups(shares, {2, 3})
    assert [(one.first, one.last) for one in found] == [(1, 1), (2, 4)]
    assert found[1].share == pytest.approx(0.9)
    assert best(shares, {1}) == Suspects(4, 4, 0.4)


def test_the_next_pair_goes_where_the_probability_is_split_in_half() -> None:
    assert next_commit([0.1, 0.1, 0.3, 0.2, 0.3], ()) == 3
    assert next_commit([0.1, 0.1, 0.3, 0.2, 0.3], {3}) == 4
    assert next_commit([0.1, 0.2, 0.2, 0.2, 0.3], (), {2: 1.0, 3: 0.5}) == 2
    assert next_commit([1.0], ()) is None  # BAD alone


def test_the_interval_of_the_effect_is_narrow_though_a_pair_was_disturbed() -> None:
    calm = [0.07, 0.08, 0.075, 0.085, 0.07, 0.08, 0.078, 0.072]
    low, high = effect_interval([*calm, 0.9], 0.99)
    assert 0.05 < low < 0.077 < high < 0.1


def test_the_interval_of_identical_code_excludes_zero_rarely() -> None:
    draw = random.Random(3)
    wrong = 0
    for _ in range(300):
        low, high = effect_interval([draw.gauss(0, 0.02) for _ in range(9)], 0.99)
        wrong += low > 0 or high < 0
    assert wrong <= 9  # 1 % expected; the scale's prior and 300 trials allow 3 %
