"""Speedups with the way of the data to an accelerator and back."""

import math

import pytest

from bench.compare import transfers


def test_times_of_one_run_without_a_common_replicate_differ_by_what_two_runs_do() -> None:
    """The default between-run SD of 4.6 % counts on both sides: 4.6 % · √2 = 6.5 %."""
    base, value = dict.fromkeys((0, 1, 2), 0.02), dict.fromkeys((3, 4, 5), 0.01)
    found, paired = transfers.estimate(base, value, same_run=True)
    assert not paired
    assert (found.ratio, found.error) == pytest.approx((2.0, 0.046 * math.sqrt(2)))


def test_times_of_common_replicates_are_paired() -> None:
    base, value = dict.fromkeys((0, 1, 2), 0.02), dict.fromkeys((0, 1, 2), 0.01)
    found, paired = transfers.estimate(base, value, same_run=True)
    assert paired
    assert (found.ratio, found.error) == pytest.approx((2.0, 0.0))
