"""The test for settled times, by numbers that are told in advance."""

import math
import random

import pytest

from bench.worker.timing.settling import agree, falling, moved, settled


@pytest.mark.parametrize(
    ("blocks_s", "size", "settled"),
    [
        ([1.0] * 9, 5, False),  # no two windows yet
        ([1.0] * 10, 5, True),
        ([1.0], 1, False),
        ([1.0, 1.1], 1, True),  # windows of one: 11 % allowed
        ([1.0, 1.12], 1, False),
        ([1.0] * 5 + [1.049] * 5, 5, True),
        ([1.0] * 5 + [1.051] * 5, 5, False),
        ([1.051] * 5 + [1.0] * 5, 5, False),
        ([9.0] * 5 + [1.0] * 200, 5, True),  # what lies further back than half is forgotten
        ([1.0] * 5 + [1.0, 1.0, 1.0, 7.0, 7.0], 5, True),  # two outliers of five
        ([1.02**-i for i in range(40)], 5, False),  # a window differs from the next by 10 %
        ([1.005**-i for i in range(40)], 5, False),  # by 2.5 %, and half of the time by 10 %
        ([1.005**-i for i in range(10)], 5, True),
        ([1.1] * 60 + [1.0] * 10, 5, False),  # a few fast ones are not all that will come
    ],
)
def test_the_last_window_agrees_with_the_one_before_and_with_that_of_half_the_time(
    blocks_s: list[float], size: int, settled: bool
) -> None:
    assert agree(blocks_s, size) is settled


def test_blocks_that_fall_evenly_have_not_settled_however_little_each_window_differs() -> None:
    blocks_s = [1.0022**-i for i in range(20)]
    assert agree(blocks_s)
    assert not settled(blocks_s)
    assert settled([1.0] * 20)


def test_blocks_fall_where_the_last_are_faster_than_those_of_half_the_time() -> None:
    assert falling([1.0] * 10 + [0.9] * 10)
    assert not falling([1.0] * 10 + [1.1] * 10)
    assert not falling([1.0] * 10)
    assert not falling([1.0, 0.9])


@pytest.mark.parametrize(
    ("times_s", "change"),
    [
        ([1.0] * 40, None),
        ([1 + i / 400 for i in range(40)], 0.067),  # a slope
        ([1 + i / 1000 for i in range(40)], 0.026),  # small, and as even as can be
        ([1 + i / 1000 + i * 7 % 11 / 50 for i in range(40)], None),  # small, among scatter
        ([1 + i / 2000 for i in range(40)], None),
        ([1.0] * 20 + [1.2] * 20, 0.2),  # a step
        ([1 - i / 400 for i in range(40)], -0.068),
        ([1.0] * 39 + [9.0], None),  # an outlier
        ([1.0, 1.3] * 20, None),  # two modes by turns
        ([1.0, 1.1, 1.2, 1.3, 1.4], 0.4),
        ([1.0, 1.3, 1.0, 1.2, 1.1], None),
        ([1.0, 1.2, 1.4], None),  # too few to tell
    ],
)
def test_times_moved_where_the_thirds_differ_beyond_the_scatter(
    times_s: list[float], change: float | None
) -> None:
    assert moved([times_s]) == (None if change is None else pytest.approx(change, abs=0.005))


def test_kinds_are_held_each_against_its_own_times() -> None:
    rising = [1 + i / 100 for i in range(40)]
    both = [rising, [20 * one for one in rising[::4]]]
    assert moved(both) == pytest.approx(0.25, abs=0.03)
    assert moved([]) is None


@pytest.mark.parametrize("deviation", [0.05, 0.2])
def test_of_a_thousand_steady_but_noisy_series_at_most_five_are_said_to_move(
    deviation: float,
) -> None:
    numbers = random.Random(0)
    found = 0
    for _ in range(1000):
        times = [math.exp(numbers.gauss(0, deviation)) for _ in range(40)]
        found += moved([times]) is not None
    assert found <= 5
