"""Figures of the Python door: medians, intervals of a series, units."""

import pytest

from bench.api.values import Bytes, PerSecond, Seconds


def test_the_interval_is_that_of_stretches_and_lies_around_the_median() -> None:
    found = Seconds.of([1.0, 1.1] * 10 + [1.2] * 20)
    assert found.median == 1.2 - 0.05
    assert found.low is not None
    assert found.high is not None
    assert found.low * found.high == pytest.approx(found.median**2)


def test_equal_samples_have_no_width_and_a_single_one_has_no_interval() -> None:
    assert Seconds.of([2.0, 2.0, 2.0]) == Seconds(2.0, 2.0, 2.0)
    assert Seconds.of([2.0]) == Seconds(2.0)


def test_a_throughput_has_the_ends_of_the_time_in_the_other_order() -> None:
    found = PerSecond.over(8, Seconds(0.5, 0.4, 0.8))
    assert (found.median_per_s, found.low_per_s, found.high_per_s) == (16.0, 10.0, 20.0)


def test_values_are_shown_in_units_that_people_read() -> None:
    assert str(Seconds(0.0012, 0.001, 0.0015)) == "1.20 ms (1.00 ms to 1.50 ms)"
    assert repr(Bytes(1_500_000.0)) == "Bytes(1.50 MB)"
