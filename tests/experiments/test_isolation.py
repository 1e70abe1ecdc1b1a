"""The report of the experiment about processes."""

import pytest

from experiments.isolation import order, spread, sweep, told


def test_a_case_has_the_scatter_of_both_and_the_bias_with_its_interval() -> None:
    times = {
        "process": {"one": [1.0, 1.1, 1.0, 1.1], "gone": [1.0]},
        "session": {"one": [1.1, 1.21, 1.1, 1.21]},
    }
    first, last = told(times)
    assert first == (
        "one: scatter process 5.5 %, session 5.5 %; session / process 1.100 (1.100–1.100)"
    )
    assert last == "over all 1 cases: session / process 1.100"


def test_one_round_has_neither_scatter_nor_interval() -> None:
    first, _ = told({"process": {"one": [1.0]}, "session": {"one": [2.0]}})
    assert (
        first
        == "one: scatter process unknown, session unknown; session / process 2.000 (no interval)"
    )


def test_the_two_take_turns_so_that_drift_cancels() -> None:
    assert [order(number)[0] for number in range(4)] == ["process", "session"] * 2


def test_the_scatter_is_relative() -> None:
    assert spread([1.0, 1.0, 1.0]) == 0.0
    assert spread([100.0, 110.0]) == pytest.approx(spread([1.0, 1.1]))


def test_an_accelerator_has_batches_that_keep_it_busy() -> None:
    assert "batch = [32, 256]" in sweep("cuda:0")
    assert "batch = [1, 8]" in sweep("cpu")
