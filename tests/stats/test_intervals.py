"""Precision: the stopping rule's width."""

import math
import subprocess
import sys

import pytest
from scipy import stats

from bench.stats.intervals import centre, log_interval, relative_half_width, t_quantile


def test_t_quantiles_of_the_printed_table() -> None:
    assert [round(t_quantile(df), 3) for df in (1, 2, 4, 9, 30)] == [
        12.706,
        4.303,
        2.776,
        2.262,
        2.042,
    ]


def test_no_degrees_of_freedom_are_refused() -> None:
    with pytest.raises(ValueError, match="0 degrees of freedom"):
        t_quantile(0)


def test_the_interval_is_t_on_logs() -> None:
    medians = [0.010, 0.011, 0.012]
    logs = [math.log(one) for one in medians]
    expected = stats.t.interval(0.95, 2, loc=sum(logs) / 3, scale=stats.sem(logs))
    assert log_interval(medians) == pytest.approx(tuple(map(math.exp, expected)), rel=1e-12)


def test_one_replicate_has_no_interval() -> None:
    assert log_interval([0.01]) is None
    assert relative_half_width([0.01]) is None
    assert relative_half_width([]) is None


def test_equal_replicates_have_an_interval_of_no_width() -> None:
    assert relative_half_width([0.01] * 5) == 0.0


def test_ends_that_no_float_holds_are_no_interval() -> None:
    assert log_interval([1e-200, 1e200]) is None


def test_half_width_is_relative_to_the_centre() -> None:
    low, high = log_interval([1.0, 1.1, 1.3]) or (0.0, 0.0)
    middle = (1.0 * 1.1 * 1.3) ** (1 / 3)
    assert relative_half_width([1.0, 1.1, 1.3]) == pytest.approx((high - low) / 2 / middle)


@pytest.mark.parametrize(
    "medians",
    [
        [1.0, 1.0, 1.001, 1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.5],  # a median of 1.0005 lies outside
        [0.01, 0.01, 0.01, 0.01, 0.02],
        [1.0, 1.0, 9.0],
        [0.003] * 7,
    ],
)
def test_the_centre_lies_inside_its_interval_however_skewed_the_replicates_are(
    medians: list[float],
) -> None:
    low, high = log_interval(medians) or (0.0, 0.0)
    assert low * (1 - 1e-15) <= centre(medians) <= high * (1 + 1e-15)
    assert centre(medians) == pytest.approx(math.prod(medians) ** (1 / len(medians)))


def test_the_centre_of_equal_replicates_is_what_each_is_and_of_none_an_error() -> None:
    assert centre([0.003] * 7) == 0.003
    assert centre([1e-200, 1e200]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no replicate"):
        centre([])


@pytest.mark.slow
def test_the_runner_does_not_pay_for_scipy() -> None:
    code = "import sys, bench.stats.intervals; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
