"""Fresh pairs: how many are taken, and what an interrupt leaves."""

import dataclasses
import math
import random
from collections.abc import Sequence

import pytest

from bench.core.records import Case
from bench.tune.confirm import LEAST_PAIRS, MOST_PAIRS, Confirmation, confirmed
from tests.support.cases import case

PLAIN = case(subject="net", batch=8)
FAST = dataclasses.replace(PLAIN, memory_format="channels_last")
BOTH = {"plain": (PLAIN, FAST), "second": (FAST, PLAIN)}


def taking(noise: float, asked: list[int]) -> object:
    """A pair whose logs scatter by `noise` around -0.5."""
    rng = random.Random(1)

    def take(_: int, compared: Sequence[tuple[Case, Case]]) -> list[float | None]:
        asked.append(len(compared))
        return [-0.5 + rng.gauss(0, noise) for _ in compared]

    return take


def test_pairs_that_agree_are_few_and_those_that_scatter_are_more() -> None:
    for noise, pairs in ((0.001, LEAST_PAIRS), (0.2, MOST_PAIRS)):
        asked: list[int] = []
        found = Confirmation(BOTH)
        found.run(taking(noise, asked), lambda: False)  # type: ignore[arg-type]
        assert asked == [2] * pairs


def test_a_search_takes_as_many_pairs_as_it_is_given() -> None:
    asked: list[int] = []
    found = Confirmation(BOTH, most=4)
    found.run(taking(0.2, asked), lambda: False)  # type: ignore[arg-type]
    assert asked == [2] * 4
    assert found.of("plain") is not None


def test_both_comparisons_have_their_speedup_and_its_interval() -> None:
    found = Confirmation(BOTH)
    found.run(taking(0.01, []), lambda: False)  # type: ignore[arg-type]
    for name in BOTH:
        seen = found.of(name)
        assert seen is not None
        assert seen.low is not None
        assert seen.high is not None
        assert seen.low < 1.6487 < seen.high
        assert seen.faster


def test_a_comparison_that_failed_is_not_tried_again_and_the_other_goes_on() -> None:
    asked: list[int] = []

    def take(_: int, compared: Sequence[tuple[Case, Case]]) -> list[float | None]:
        asked.append(len(compared))
        return [None if a == FAST else -0.5 for a, _ in compared]

    found = Confirmation(BOTH)
    found.run(take, lambda: False)
    assert asked == [2, 1, 1, 1, 1]
    assert found.of("second") is None
    assert found.of("plain") is not None


def test_an_interrupt_keeps_the_pairs_that_were_taken() -> None:
    def take(number: int, compared: Sequence[tuple[Case, Case]]) -> list[float | None]:
        if number == 3:
            raise KeyboardInterrupt
        return [-0.5] * len(compared)

    found = Confirmation(BOTH)
    with pytest.raises(KeyboardInterrupt):
        found.run(take, lambda: False)
    kept = found.of("plain")
    assert kept is not None
    assert kept.pairs == 3


def test_no_pair_begins_after_the_budget() -> None:
    asked: list[int] = []
    found = Confirmation(BOTH)
    found.run(taking(0.1, asked), lambda: len(asked) == 2)  # type: ignore[arg-type]
    assert asked == [2, 2]


def test_the_interval_is_wider_because_the_pairs_end_where_they_agree() -> None:
    values = [-0.50, -0.52, -0.48, -0.51, -0.49]
    found = confirmed(values)
    assert found is not None
    assert found.low is not None
    assert found.low < 1.6487 * 2.718281828 ** (-2.776 * 0.0158113883 / 5**0.5)


def test_a_second_best_that_the_pairs_show_faster_takes_the_place_of_the_winner() -> None:
    third = dataclasses.replace(FAST, compile="default")
    pairs = Confirmation(
        {"plain": (PLAIN, FAST), "second": (third, FAST)},
        # time of FAST / time of the other: 0.8 of PLAIN, 1.05 of the second best
        {"plain": [math.log(0.8)] * 5, "second": [math.log(1.05 + 0.001 * n) for n in range(5)]},
    )
    better = pairs.of_second(0.02, simpler=False)
    assert better is not None
    assert better.compared == {"plain": (PLAIN, third), "second": (FAST, third)}
    over_plain, over_second = better.of("plain"), better.of("second")
    assert over_plain is not None
    assert over_second is not None
    assert over_plain.ratio == pytest.approx(1.052 / 0.8, rel=1e-3)
    assert over_second.ratio == pytest.approx(1.052, rel=1e-3)
    assert over_second.faster
    assert pairs.of_second(0.10, simpler=False) is None  # as good as equal


def test_a_second_best_that_is_faster_than_plain_is_compared_with_plain() -> None:
    pairs = Confirmation({"second": (FAST, PLAIN)}, {"second": [0.1, 0.11, 0.1, 0.09, 0.1]})
    better = pairs.of_second(0.02, simpler=False)
    assert better is not None
    assert better.compared["plain"] == (PLAIN, FAST)
    assert better.of("plain") == better.of("second")


APART, NOT_TOLD = [-0.1] * 5, [0.3, -0.2, 0.1, 0.2, -0.1]


def of_second(values: list[float], *, simpler: bool) -> Confirmation | None:
    pairs = Confirmation({"second": (FAST, PLAIN)}, {"second": values})
    return pairs.of_second(0.02, simpler=simpler)


def test_a_second_best_that_is_slower_or_not_told_apart_stays_the_second() -> None:
    for values in (APART, NOT_TOLD, [0.1]):
        assert of_second(values, simpler=False) is None


def test_a_simpler_setting_that_cannot_be_told_from_the_winner_is_named_first() -> None:
    found = of_second(NOT_TOLD, simpler=True)
    assert found is not None
    assert found.compared["second"] == (PLAIN, FAST)
    for values in (APART, [0.1]):  # it is slower; one pair says nothing
        assert of_second(values, simpler=True) is None
