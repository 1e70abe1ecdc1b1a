"""A race drops what is behind beyond doubt, and keeps what may still be the best."""

import math
import random

import pytest

from bench.tune import race


def costs(**times_s: list[float]) -> dict[str, dict[int, float]]:
    return {key: dict(enumerate(values)) for key, values in times_s.items()}


def test_the_leader_has_the_smallest_mean() -> None:
    found = race.standing(costs(plain=[2.0, 2.0, 2.0], fast=[1.0, 1.1, 1.0]))
    assert found.leader == "fast"
    assert found.left == ("fast",)


def test_one_round_drops_only_what_is_far_behind() -> None:
    found = race.standing(costs(a=[1.0], b=[1.3], c=[1.6]))
    assert found.left == ("a", "b")


def test_rounds_that_agree_drop_a_small_difference() -> None:
    found = race.standing(costs(a=[1.0, 1.2, 0.9, 1.1], b=[1.1, 1.32, 0.99, 1.21]))
    assert found.left == ("a",)
    (behind,) = found.standings
    assert behind.ratio == pytest.approx(1.1)
    assert behind.low > 1.05  # what the rounds differ by cancels


def test_rounds_that_disagree_keep_it() -> None:
    found = race.standing(costs(a=[1.0, 1.0, 1.0], b=[1.3, 0.95, 1.1]))
    assert set(found.left) == {"a", "b"}


def test_a_candidate_that_was_dropped_does_not_lead_by_its_few_rounds() -> None:
    found = race.standing(costs(a=[1.0, 1.0, 1.0], dropped=[0.9]))
    assert found.leader == "a"


def test_equal_spreads_are_never_taken_for_certainty() -> None:
    """Three rounds without any spread are chance: the interval keeps a width."""
    (only,) = race.standing(costs(a=[1.0, 1.0, 1.0], b=[1.001, 1.001, 1.001])).standings
    assert only.low < 1.0 < only.high


def test_without_any_candidate_there_is_no_race() -> None:
    with pytest.raises(ValueError, match="no candidate"):
        race.standing({"a": {}})


def test_the_best_of_many_equal_ones_is_seldom_dropped() -> None:
    """Twelve candidates, the true best 1 % ahead: it stays in at least 95 of 100 races."""
    rng = random.Random(1)
    kept = 0
    for _ in range(100):
        times = {
            str(number): {
                turn: (1.0 if number == 0 else 1.01) * math.exp(rng.gauss(0, 0.04))
                for turn in range(4)
            }
            for number in range(12)
        }
        kept += "0" in race.standing(times).left
    assert kept >= 95


def test_a_candidate_that_is_a_fifth_slower_is_dropped_in_most_races() -> None:
    rng = random.Random(2)
    dropped = 0
    for _ in range(100):
        times = {
            key: {turn: base * math.exp(rng.gauss(0, 0.03)) for turn in range(4)}
            for key, base in (("a", 1.0), ("b", 1.2), ("c", 1.2))
        }
        left = race.standing(times).left
        dropped += "b" not in left and "c" not in left
    assert dropped >= 90
