"""Ratios and their intervals, against scipy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats as reference

from bench.stats import ratios
from bench.stats.intervals import log_interval

A = [0.0100, 0.0104, 0.0099, 0.0107, 0.0101]
B = [0.0112, 0.0109, 0.0118]


def test_welch_agrees_with_scipy() -> None:
    found = ratios.welch(ratios.centre(A), ratios.centre(B))
    test = reference.ttest_ind(np.log(A), np.log(B), equal_var=False)
    interval = test.confidence_interval(0.95)
    assert found.df == pytest.approx(test.df)
    assert found.interval() == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    one_sided = reference.ttest_ind(np.log(A), np.log(B), equal_var=False, alternative="less")
    assert found.p_below(0.0) == pytest.approx(one_sided.pvalue)


def test_paired_uses_only_the_replicates_that_both_have() -> None:
    found = ratios.paired({0: 2.0, 1: 4.0, 3: 9.0}, {0: 1.0, 1: 2.0, 2: 5.0})
    assert found is not None
    assert found.ratio == pytest.approx(2.0)
    assert found.n == 2


def test_paired_agrees_with_scipy() -> None:
    base, value = np.array(A), np.array([*B, 0.0120, 0.0111])
    found = ratios.paired(dict(enumerate(base)), dict(enumerate(value)))
    interval = reference.ttest_rel(np.log(base), np.log(value)).confidence_interval()
    assert found is not None
    assert found.interval() == pytest.approx((math.exp(interval.low), math.exp(interval.high)))


def test_drift_that_both_share_cancels_in_pairs() -> None:
    found = ratios.paired({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.5, 1: 1.0, 2: 1.5})
    assert found is not None
    assert found.interval() == pytest.approx((2.0, 2.0))


def test_sides_that_share_no_replicate_have_no_pairs() -> None:
    assert ratios.paired({0: 1.0}, {1: 1.0}) is None


def test_one_replicate_gives_a_ratio_and_no_interval() -> None:
    found = ratios.welch(ratios.centre([2.0]), ratios.centre([1.0, 1.1]))
    assert found.ratio == pytest.approx(2 / math.sqrt(1.1))
    assert found.interval() is None
    assert found.p_above(0.0) is None


def test_zero_variance_is_certain_and_no_division_by_zero() -> None:
    found = ratios.welch(ratios.centre([1.1, 1.1]), ratios.centre([1.0, 1.0, 1.0]))
    assert found.interval() == pytest.approx((1.1, 1.1))
    assert found.p_above(math.log(1.05)) == 0.0
    assert found.p_above(math.log(1.2)) == 1.0
    equal = ratios.welch(ratios.centre([1.0, 1.0]), ratios.centre([1.0, 1.0]))
    assert equal.p_above(0.0) == 1.0
    assert equal.p_below(0.0) == 1.0


def test_zero_variance_on_one_side_leaves_the_other_sides_degrees_of_freedom() -> None:
    found = ratios.welch(ratios.centre([1.0, 1.0, 1.0]), ratios.centre([1.0, 1.1]))
    assert found.df == pytest.approx(1.0)


def test_a_row_of_the_table_gives_the_interval_back_that_it_came_from() -> None:
    low, high = log_interval(A) or (0.0, 0.0)
    found = ratios.centre_of_interval(0.0101, low, high, len(A))
    direct = ratios.centre(A)
    assert found.log == pytest.approx(direct.log)
    assert found.variance == pytest.approx(direct.variance)


def test_a_row_without_an_interval_gives_its_median_alone() -> None:
    assert ratios.centre_of_interval(1.0, None, None, 1) == ratios.Centre(0.0, None, 1)


def test_a_prediction_allows_for_one_further_run() -> None:
    history = [1.00, 1.02, 0.98, 1.01, 0.99, 1.00]
    logs = np.log(history)
    found = ratios.prediction(history, 1.10)
    assert found.error == pytest.approx(logs.std(ddof=1) * math.sqrt(1 + 1 / 6))
    assert (found.df, found.n) == (5, 6)
    assert found.log == pytest.approx(math.log(1.10) - logs.mean())


def test_holms_correction_steps_down_and_never_turns_back() -> None:
    assert ratios.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert ratios.holm([0.5, 0.6]) == [1.0, 1.0]
    assert ratios.holm([]) == []


def test_an_unknown_p_value_is_no_test_of_the_correction() -> None:
    assert ratios.holm([None, 0.01, None, 0.04]) == [None, 0.02, None, 0.04]
    assert ratios.holm([None]) == [None]


def test_a_variance_that_is_known_leaves_the_degrees_of_freedom_of_the_other() -> None:
    known = ratios.combined(0.1, [ratios.Part(0.01, math.inf)], 2)
    assert known.interval() == pytest.approx(
        (math.exp(0.1 - 1.959964 * 0.1), math.exp(0.1 + 1.959964 * 0.1))
    )
    assert known.p_above(0.0) == pytest.approx(reference.norm.sf(1.0))
    both = ratios.combined(0.1, [ratios.Part(0.01, math.inf), ratios.Part(0.01, 4)], 2)
    assert both.df == pytest.approx(16)


def test_the_two_sided_p_is_that_of_the_interval() -> None:
    found = ratios.welch(ratios.centre(A), ratios.centre(B))
    test = reference.ttest_ind(np.log(A), np.log(B), equal_var=False)
    assert found.p_of_no_difference == pytest.approx(test.pvalue)


def test_a_ratio_that_no_float_holds_is_infinite_or_nothing() -> None:
    """Times that a table takes: the smallest float above 0, and the largest."""
    found = ratios.paired({0: 1.7e308}, {0: 5e-324})
    assert found is not None
    assert (found.ratio, found.reciprocal().ratio) == (math.inf, 0.0)


def test_replicates_of_two_machines_are_as_sure_as_two_machines() -> None:
    """Four times that agree on each of two machines do not make eight that are independent."""
    times = [1.0] * 4 + [math.exp(0.2)] * 4
    found = ratios.centre_over_nodes(times, ["a"] * 4 + ["b"] * 4)
    assert found.log == pytest.approx(0.1)
    assert (found.n, found.nodes) == (8, 2)
    # as the two means 0 and 0.2: variance 0.02, of their mean the half
    assert found.variance == pytest.approx(0.01)
    assert found.part == ratios.Part(found.variance or 0.0, 1)


def test_machines_count_by_their_replicates() -> None:
    found = ratios.centre_over_nodes([1.0, 1.0, 1.0, math.e], ["a", "a", "b", "c"])
    assert found.log == pytest.approx(0.25)
    # sums of residuals: -0.5, -0.25, 0.75; their squares / 16 * 3 / 2
    assert found.variance == pytest.approx(0.875 / 16 * 1.5)
    assert found.part is not None
    assert found.part.df == 2
