"""Rows that are faster than the machine can be, and those that only look so."""

import dataclasses
from typing import Any

import pytest

from bench.core.records import Row, StaticMetrics
from bench.results import run_json
from bench.results.aggregate import rows
from bench.results.plausibility import doubtful, impossible, of_row
from bench.results.run_json import Machine
from tests.support.cases import case
from tests.support.results import RUN, replicates

PEAKS: dict[str, Any] = {
    "cpu": [
        {
            "threads": "auto",
            "disturbed": False,
            "arithmetic": {
                "float32": [
                    {"what": "matrix product 512", "amount": 2.7e8, "per_s": 1.0e11},
                    {"what": "convolution", "amount": 1e9, "per_s": 2.0e11},
                ],
                "bfloat16": [{"what": "matrix product 512", "amount": 2.7e8, "per_s": 1e12}],
                "float16": [],
            },
            "traffic": [
                {"what": "copy", "amount": 2**16, "per_s": 8e10},
                {"what": "copy", "amount": 2**28, "per_s": 2e10},
            ],
        }
    ]
}
MACHINE = Machine.model_validate({"peaks": PEAKS})
ROW = Row(
    phase="forward", device="cpu", threads="auto", dtype="float32", amp="off", flop_per_s=1.9e11
)


def judged(**changes: Any) -> tuple[bool, bool]:
    """Return whether the row is impossible, and whether it is doubtful."""
    row = dataclasses.replace(ROW, **changes)
    peaks = of_row(row, MACHINE)
    assert peaks is not None
    return impossible(row, peaks) is not None, doubtful(row, peaks)


def test_a_row_within_the_peaks_is_plausible() -> None:
    assert judged() == (False, False)


def test_the_fastest_of_the_ladder_counts_and_a_convolution_may_beat_a_matrix_product() -> None:
    assert judged(flop_per_s=2.9e11) == (False, False)
    assert judged(flop_per_s=3.1e11) == (False, True)


def test_beyond_three_times_the_peak_the_work_was_not_done() -> None:
    assert judged(flop_per_s=5.9e11) == (False, True)
    row = dataclasses.replace(ROW, flop_per_s=8.0e11)
    peaks = of_row(row, MACHINE)
    assert peaks is not None
    assert impossible(row, peaks) == (
        "forward did 8e+11 FLOP/s, 4.0 times the peak that was measured on this machine (2e+11): "
        "it did not do the work"
    )


def test_each_arithmetic_has_its_own_peak() -> None:
    assert judged(flop_per_s=1.4e12, amp="bfloat16") == (False, False)
    assert judged(flop_per_s=1.4e12, dtype="bfloat16") == (False, False)
    assert judged(flop_per_s=1.4e12) == (True, True)


def test_a_row_whose_own_arithmetic_was_not_measured_is_not_judged() -> None:
    """A GPU's float16 is many times its float32."""
    assert judged(flop_per_s=1.4e12, amp="float16") == (False, False)
    assert judged(flop_per_s=1.4e12, tf32="on") == (False, False)
    assert judged(flop_per_s=1.4e12, tf32="default") == (False, False)
    assert judged(flop_per_s=1.4e12, tf32="off") == (True, True)


def test_a_small_layer_from_a_cache_is_plausible_and_a_large_one_is_not() -> None:
    assert judged(flop_per_s=None, bytes_moved=2**16, bytes_per_s=2.0e11) == (False, False)
    assert judged(flop_per_s=None, bytes_moved=2**18, bytes_per_s=2.0e11) == (False, False)
    assert judged(flop_per_s=None, bytes_moved=2**28, bytes_per_s=2.0e11) == (False, True)


def test_what_moves_by_its_shapes_is_a_doubt_and_never_impossible() -> None:
    assert judged(flop_per_s=None, bytes_moved=2**28, bytes_per_s=1e15) == (False, True)


@pytest.mark.parametrize(
    "changes", [{"device": "cuda:0"}, {"threads": "4"}, {"flop_per_s": None, "threads": "9"}]
)
def test_without_peaks_of_its_device_and_threads_a_row_is_not_judged(
    changes: dict[str, Any],
) -> None:
    assert of_row(dataclasses.replace(ROW, **changes), MACHINE) is None


def test_peaks_of_a_busy_machine_say_nothing() -> None:
    busy = {"peaks": {"cpu": [{**PEAKS["cpu"][0], "disturbed": True}]}}
    assert of_row(ROW, Machine.model_validate(busy)) is None
    assert of_row(ROW, Machine()) is None


def of_run(flops: float) -> list[Row]:
    """A case of `flops` operations in 10 ms."""
    true = StaticMetrics(case=case(), metrics={"flops": flops, "relative_error": 0.0})
    run = run_json.of({**RUN, "machine": {**RUN["machine"], "peaks": PEAKS}})
    return rows([*replicates(case(), [0.01] * 5), true], run=run)


def test_a_run_marks_the_doubtful_and_refuses_the_impossible() -> None:
    (row,) = of_run(1e9)  # 1e11 a second
    assert (row.status, row.flags) == ("ok", None)
    (row,) = of_run(4e9)
    assert (row.status, row.flags) == ("ok", "implausible")
    (row,) = of_run(8e9)
    assert (row.status, row.phase) == ("invalid", None)
    assert "it did not do the work" in str(row.reason)
