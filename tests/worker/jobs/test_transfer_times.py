"""Transfers: what is moved, that it is waited for, and what they make of a device's gain."""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.compare import speedup, transfers
from bench.core.protocol import Budget
from bench.core.records import Entry, Measurement, Samples
from bench.insights.collect import of_run
from bench.plots.draw import build
from bench.worker.device.device import open_device
from bench.worker.jobs import transfer_times
from bench.worker.timing import call_timing
from tests.support.cases import case
from tests.support.fake_accelerator import LAUNCH_S, NAME, Machine, install
from tests.support.results import run_of

BUDGET = Budget(warmup_s=0.05, samples_s=0.05)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return install(monkeypatch)


def test_every_tensor_is_moved_and_its_bytes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda one: one.clone())
    inputs = ((torch.zeros(8, 3, 4, 4),), {"mask": torch.zeros(8, dtype=torch.int64)})
    found = transfer_times.copies(inputs, [torch.zeros(8, 10)], "cpu")
    assert {one.name: one.bytes_ for one in found} == {
        "input_pageable": 8 * 3 * 16 * 4 + 64,
        "input_pinned": 8 * 3 * 16 * 4 + 64,
        "output_pageable": 320,
        "output_pinned": 320,
    }
    for one in found:
        one()


def test_the_memory_format_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def pin(one: torch.Tensor) -> torch.Tensor:
        seen.append(one)
        return one

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    image = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)
    transfer_times.copies((image,), (), "cpu")
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_where_memory_cannot_be_pinned_there_is_no_such_phase(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(_: torch.Tensor) -> None:
        raise RuntimeError("Cannot access accelerator device when none is available.")

    monkeypatch.setattr(torch.Tensor, "pin_memory", refuses)
    found = transfer_times.copies((torch.zeros(4),), (torch.zeros(4),), "cpu")
    assert [one.name for one in found] == ["input_pageable", "output_pageable"]


def test_copies_of_a_short_run_are_short() -> None:
    assert transfer_times.budget(Budget(samples_s=0.6)) == transfer_times.BUDGET
    short = transfer_times.budget(Budget(samples_s=0.1))
    assert (short.samples_s, short.warmup_s) == pytest.approx((0.02, 0.02 / 3))


def test_training_brings_nothing_back() -> None:
    names = [one.name for one in transfer_times.copies((torch.zeros(4),), (), "cpu")]
    assert not any(name.startswith("output") for name in names)


def test_the_time_of_copies_is_known(machine: Machine) -> None:
    ways = [transfer_times.Copies(name, lambda: machine.submit(0.001), 4) for name in ("a", "b")]
    moved = transfer_times.measure(
        ways, open_device(NAME), machine.clock, budget=BUDGET, resolution_s=1e-9
    )
    alone = call_timing.measure(
        ways[0], open_device(NAME), BUDGET, machine.clock, resolution_s=1e-9
    )
    assert moved.timed_s == pytest.approx(2 * alone.timed_s, rel=0.02)
    assert moved.warmup_s == pytest.approx(2 * alone.warmup_s, rel=0.02)


def test_a_copy_that_returns_before_it_is_done_is_waited_for(machine: Machine) -> None:
    device = open_device(NAME)
    way = transfer_times.Copies("input_pinned", lambda: machine.submit(0.001), 4_000)
    moved = transfer_times.measure([way], device, machine.clock, budget=BUDGET, resolution_s=1e-9)
    by_kind = {one.kind: statistics.median(one.times_s) for one in moved.samples}
    assert {one.phase for one in moved.samples} == {"input_pinned"}
    assert by_kind["latency"] == pytest.approx(0.001 + LAUNCH_S)
    assert by_kind["device"] == pytest.approx(0.001 + LAUNCH_S)  # the queue was empty before
    assert by_kind["pipelined"] == pytest.approx(0.001, rel=0.01)
    assert moved.metrics == {"bytes_moved:input_pinned": 4_000}
    assert moved.left_out == {}


def test_a_copy_for_which_memory_is_too_small_is_left_out_and_the_others_are_measured(
    machine: Machine,
) -> None:
    def no_room() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.00 GiB")

    every = [
        transfer_times.Copies("input_pageable", no_room, 2**32),
        transfer_times.Copies("output_pageable", lambda: machine.submit(0.001), 4_000),
    ]
    moved = transfer_times.measure(
        every, open_device(NAME), machine.clock, budget=BUDGET, resolution_s=1e-9, why_no_memory=str
    )
    assert {one.phase for one in moved.samples} == {"output_pageable"}
    assert moved.metrics == {"bytes_moved:output_pageable": 4_000}
    assert moved.left_out == {
        "input_pageable": "CUDA out of memory. Tried to allocate 4.00 GiB",
    }


def test_a_copy_that_fails_for_another_reason_is_a_failure(machine: Machine) -> None:
    def fails() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    way = transfer_times.Copies("input_pageable", fails, 4)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        transfer_times.measure([way], open_device(NAME), machine.clock)


# --- what is read of them --------------------------------------------------------------------

GPU: dict[str, Any] = {
    "device": "cuda:0", "cudnn_benchmark": "off", "tf32": "off", "threads": None,
    "allocator": None,
}  # fmt: skip


def entries(mode: str = "inference") -> list[Entry]:
    """CPU 10 ms, GPU 1 ms; input 1 ms pageable and 0.5 pinned, output 0.25 either way."""
    phase = "forward" if mode == "inference" else "step"
    moves = {"input_pageable": 0.001, "input_pinned": 0.0005}
    if mode == "inference":
        moves |= {"output_pageable": 0.00025, "output_pinned": 0.00025}
    found: list[Entry] = []
    for number in range(5):
        for one, times in (
            (case(mode=mode), {phase: 0.010}),
            (case(mode=mode, **GPU), {phase: 0.001, **moves}),
        ):
            samples = tuple(
                Samples(phase=name, kind=kind, calls_per_sample=1, times_s=(time_s,))
                for name, time_s in times.items()
                for kind in ("latency", "pipelined")
            )
            found.append(Measurement(case=one, replicate=number, samples=samples))
    return found


@pytest.mark.parametrize(
    ("mode", "pageable", "pinned"),
    [("inference", 10 / 2.25, 10 / 1.75), ("training", 10 / 2.0, 10 / 1.5)],
)
def test_the_line_from_cpu_to_gpu_has_the_way_there_and_back(
    tmp_path: Path, mode: str, pageable: float, pinned: float
) -> None:
    run = run_of(tmp_path / "run", entries(mode))
    gains = speedup.within(run, "device")
    assert [one.ratio for one in gains] == [pytest.approx(10.0)]
    found = transfers.with_transfers(run, gains)
    whole = "forward" if mode == "inference" else "step"
    assert {one.phase: one.ratio for one in found} == {
        f"{whole} + pageable transfers": pytest.approx(pageable),
        f"{whole} + pinned transfers": pytest.approx(pinned),
    }
    assert {one.method for one in found} == {"paired"}


def test_the_sentence_of_a_device_has_both(tmp_path: Path) -> None:
    (told,) = (one for one in of_run(run_of(tmp_path / "run", entries())) if one.kind == "device")
    assert "for inference of convnet: 10× (10–10) at N=8. Both use the plain setting" in told.text
    assert "single calls from pageable memory and back: 4.44× (4.44–4.44) at N=8." in told.text
    assert "single calls from pinned memory and back: 5.71× (5.71–5.71) at N=8." in told.text


def test_a_verdict_that_turns_with_the_transfers_is_told(tmp_path: Path) -> None:
    slow = [
        dataclasses.replace(
            one,
            samples=tuple(
                dataclasses.replace(samples, times_s=(0.02,))
                if samples.phase == "input_pageable"
                else samples
                for samples in one.samples
            ),
        )
        for one in entries()
        if isinstance(one, Measurement)
    ]
    (told,) = (one for one in of_run(run_of(tmp_path / "run", slow)) if one.kind == "device")
    assert told.text == (
        "cuda:0 is faster than cpu for inference of convnet: 10× (10–10) at N=8. Both use the "
        "plain setting, with the data already on the device. cuda:0 is slower than cpu for single "
        "calls from pageable memory and back: it takes 2.12× (2.12–2.12) as long at N=8. cuda:0 "
        "is faster than cpu for single calls from pinned memory and back: 5.71× (5.71–5.71) at N=8."
    )


def test_the_plot_of_devices_has_a_line_with_transfers(tmp_path: Path) -> None:
    figures, _ = build(run_of(tmp_path / "run", entries()))
    lines = [line.get_label() for axes in figures["devices"].axes for line in axes.lines]
    assert "cuda:0 with pageable transfers" in lines
    assert "cuda:0 with pinned transfers" in lines


def test_without_transfers_nothing_is_said_of_them(tmp_path: Path) -> None:
    plain = [one for one in entries() if isinstance(one, Measurement)]
    bare = [
        Measurement(case=one.case, replicate=one.replicate, samples=one.samples[:2])
        for one in plain
    ]
    run = run_of(tmp_path / "run", bare)
    gains = speedup.within(run, "device")
    assert transfers.with_transfers(run, gains) == []
