"""The machine's peaks: the search for the fastest call, and a real ladder."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.host import peaks
from bench.host.interpreter import Place
from bench.worker import peak_measuring
from bench.worker.device.device import open_device
from bench.worker.peak_measuring import Work, best_s, size_sweep
from tests.support.cases import case
from tests.support.fake_device import FakeDevice


def test_the_best_of_several_samples_counts_and_the_device_is_waited_for() -> None:
    device = FakeDevice(launch_s=0.0)
    slow = iter([9.0, 3.0, 2.0, 4.0, 5.0, 6.0, 1.0])  # the first is thrown away

    def call() -> None:
        device.submit(next(slow))

    assert best_s(call, device, end_s=1e9, clock=device.clock) == pytest.approx(2.0)


def test_short_calls_are_timed_many_at_once() -> None:
    device = FakeDevice(launch_s=0.0, look_s=1e-7)
    found = best_s(lambda: device.submit(1e-6), device, end_s=1e9, clock=device.clock)
    assert found == pytest.approx(1e-6, rel=1e-3)


def test_what_is_not_reached_in_time_is_left_out() -> None:
    device = FakeDevice()
    assert best_s(lambda: device.submit(1.0), device, end_s=100.5, clock=device.clock) is None


def test_loading_an_accelerators_libraries_does_not_count_as_time_of_the_ladder() -> None:
    device = FakeDevice(launch_s=0.0)
    loading = iter([5.0])
    works = [Work(f"{n}", 100.0, lambda: device.submit(next(loading, 0.01))) for n in range(3)]
    found = size_sweep(device, iter(works), 0.8, device.clock)
    assert [rung["what"] for rung in found] == ["0", "1", "2"]
    assert [rung["per_s"] for rung in found] == pytest.approx([1e4] * 3)


def test_a_ladder_ends_where_the_device_refuses() -> None:
    device = FakeDevice(launch_s=0.0)

    def refused() -> None:
        raise RuntimeError("not implemented for 'Half'")

    works = [Work("small", 1.0, lambda: device.submit(0.01)), Work("large", 8.0, refused)]
    assert [one["what"] for one in size_sweep(device, iter(works), 9.0, device.clock)] == ["small"]
    assert size_sweep(device, iter(works[1:]), 9.0, device.clock) == []


def test_a_ladder_that_ended_within_the_cache_gets_a_rung_beyond_it() -> None:
    assert peak_measuring.size_beyond_cache(32 * 2**20, [2**25, 2**26], None) == [2**27]
    assert peak_measuring.size_beyond_cache(33 * 2**20, [2**27], 2**40) == [2**28]


def test_no_rung_is_added_where_one_is_beyond_the_cache_it_fits_nowhere_or_none_is_known() -> None:
    assert peak_measuring.size_beyond_cache(32 * 2**20, [2**25, 2**27], None) == []
    assert peak_measuring.size_beyond_cache(32 * 2**20, [2**25], 2**27 - 1) == []
    assert peak_measuring.size_beyond_cache(None, [2**25], None) == []


def test_traffic_reaches_beyond_the_cache_and_never_beyond_the_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peak_measuring, "TOUCHED_BYTES", (2**10, 2**12, 2**20))
    monkeypatch.setattr(peak_measuring, "last_cache_bytes", lambda _: 2**11)
    monkeypatch.setattr(peak_measuring, "largest_size_bytes", lambda _: 2**16)
    monkeypatch.setattr(peak_measuring, "SAMPLE_S", 0.0)
    found = peak_measuring.byte_rates(open_device("cpu"))
    assert [(one["what"], one["amount"]) for one in found] == [
        ("copy", 2**10), ("copy", 2**12), ("copy", 2**13),
        ("sum", 2**10), ("sum", 2**12), ("sum", 2**13),
    ]  # fmt: skip


def test_auto_is_all_threads_whatever_count_came_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    auto, seen = torch.get_num_threads(), list[int]()
    monkeypatch.setattr(
        peak_measuring, "arithmetic", lambda *_: seen.append(torch.get_num_threads())
    )
    monkeypatch.setattr(peak_measuring, "byte_rates", lambda _: [])
    asked = {"device": "cpu", "arithmetics": ["float32"], "threads": ["1", "auto", "3"]}
    asked["out"] = str(tmp_path / "peaks.json")
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked)))
    try:
        peak_measuring.main()
    finally:
        torch.set_num_threads(auto)
    assert seen == [1, auto, 3]


def test_the_arithmetics_of_a_plan_are_those_its_cases_use() -> None:
    assert peaks.arithmetics([case()]) == ["float32"]
    several = [case(amp="bfloat16"), case(dtype="float16"), case(tf32="on")]
    assert peaks.arithmetics(several) == ["float32", "bfloat16", "float16", "tf32"]
    assert peaks.arithmetics([case(tf32="default")]) == ["float32", "tf32"]
    assert peaks.arithmetics([case(tf32="off")]) == ["float32"]


def test_a_folder_for_temporary_files_that_is_closed_costs_the_peaks_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    found, (problem,) = peaks.measure([case()], timeout_s=1)
    assert found == {}
    assert problem.startswith("cpu: /proc/bench-peak_measuring-")


@pytest.mark.slow
def test_an_interpreter_that_does_not_start_costs_the_peaks_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peaks, "HERE", Place(python="/nowhere/python"))
    found, (problem,) = peaks.measure([case()], timeout_s=1)
    assert found == {}
    assert problem.startswith("cpu: /nowhere/python: No such file or directory; ")


@pytest.mark.slow
@pytest.mark.alone
def test_importing_torch_takes_nothing_of_the_time_of_the_peaks() -> None:
    found, problems = peaks.measure([case()], timeout_s=0.01)
    assert (list(found), problems) == (["cpu"], [])


@pytest.mark.slow
@pytest.mark.alone
def test_a_real_machine_has_a_ladder_of_each_kind_and_thread_count() -> None:
    found, problems = peaks.measure([case(), case(threads="1")], timeout_s=120)
    assert (list(found), problems) == (["cpu"], [])
    assert [one["threads"] for one in found["cpu"]] == ["auto", "1"]
    for one in found["cpu"]:
        assert max(rung["per_s"] for rung in one["arithmetic"]["float32"]) > 1e9
        assert max(rung["per_s"] for rung in one["traffic"]) > 1e9
        if one["cache_bytes"]:  # a virtual machine may not tell
            largest = {rung["what"]: rung["amount"] for rung in one["traffic"]}
            assert min(largest.values()) >= 4 * one["cache_bytes"]
        assert one["disturbed"] in (True, False)


@pytest.mark.slow
@pytest.mark.alone
def test_a_device_that_is_not_there_is_one_line_and_costs_no_other_its_peaks() -> None:
    gone = case(device="cuda:7", threads=None, allocator=None)
    found, (problem,) = peaks.measure([gone, case()], timeout_s=120)
    assert list(found) == ["cpu"]
    assert problem.startswith("cuda:7: ")
    assert "\n" not in problem


@pytest.mark.parametrize("works", [peak_measuring._products, peak_measuring._convolutions])
def test_numbers_are_drawn_on_the_device_so_that_the_largest_matrices_are_reached(
    monkeypatch: pytest.MonkeyPatch, works: Any
) -> None:
    """On `meta`, where nothing is computed: a CPU would draw 8192 × 8192 for half a second."""
    drawn, on = torch.randn, set[str]()

    def draws(*size: Any, **how: Any) -> torch.Tensor:
        made: torch.Tensor = drawn(*size, **how)
        on.add(made.device.type)
        return made

    monkeypatch.setattr(torch, "randn", draws)
    amounts = [one.amount for one in works("meta", torch.bfloat16)]
    assert on == {"meta"}
    assert works is not peak_measuring._products or max(amounts) == 2.0 * 8192**3
