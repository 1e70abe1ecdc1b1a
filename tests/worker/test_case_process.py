"""One case measured in this process: its record has what was found, and every doubt."""

import dataclasses
import errno
import itertools
import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from bench.core import decode
from bench.core.protocol import Budget, Request
from bench.core.records import Failure, Measurement
from bench.core.subject import parse
from bench.worker import case_process
from bench.worker.counting import meter
from bench.worker.device import cuda
from bench.worker.device.device import CpuDevice, Device
from bench.worker.device.reference_work import Controls
from bench.worker.jobs import prepare, transfer_times
from bench.worker.model.build import SubjectRaised, build
from bench.worker.model.step_inputs import NoSteps, StepError, UnsupportedError
from bench.worker.process import limits
from bench.worker.timing import call_timing, contention
from tests.support import fake_compiler
from tests.support.cases import case
from tests.support.fake_device import FakeDevice, FakeStep

QUICK: dict[str, Any] = {"warmup_cap_s": 0.0, "samples_s": 0.0, "block_s": 0.005}


def asked(
    subject: str = "Small",
    *,
    compile_: str = "off",
    calls: int | None = None,
    out: str = "unused",
    **budget: Any,
) -> Request:
    return Request(
        job="measure",
        case=case(
            subject=f"tests.subjects.hostile:{subject}", batch=2, input="4", compile=compile_
        ),
        replicate=3,
        calls=calls,
        budget=Budget(**{**QUICK, **budget}),
        cache="unused",
        out=out,
        log="unused",
        timeout_s=60.0,
    )


def measured(
    subject: str = "Small", *, compile_: str = "off", calls: int | None = None, **budget: Any
) -> Measurement:
    found = case_process.JOBS["measure"](asked(subject, compile_=compile_, calls=calls, **budget))
    assert isinstance(found, Measurement)
    return found


def test_a_case_that_has_not_settled_is_flagged_unsteady() -> None:
    assert "unsteady" in measured(warmup_s=math.inf, warmup_cap_s=0.0).flags
    assert "unsteady" not in measured(warmup_s=0.0, warmup_cap_s=math.inf).flags


@pytest.mark.parametrize(
    ("settled", "moved", "words"),
    [
        (True, None, {}),
        (False, None, {"unsteady": "the times had not settled when the warm-up ended"}),
        (True, 0.123, {"unsteady": "the times rose by 12% through the samples"}),
        (False, -0.2, {"unsteady": "the times fell by 20% through the samples"}),
    ],
)
def test_a_doubt_of_the_times_says_why(
    settled: bool, moved: float | None, words: dict[str, str]
) -> None:
    assert case_process.doubts_of(settled, moved, {}) == words
    seen = {"doubts": {"unsteady": "it grows"}}
    assert case_process.doubts_of(settled, moved, seen)["unsteady"].startswith("it grows")
    full = case_process.doubts_of(settled, moved, {}, "memory is nearly full")
    assert full["unsteady"].startswith("memory is nearly full")


class Crowded:
    """A device with room for a case, or for the controls, or for both."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.emptied = 0

    def take(self, controls: Controls, needs: int) -> str:
        held = 0 if controls.left_out else 20
        if held + needs > self.room:
            raise torch.OutOfMemoryError("out of memory: no room")
        return "with controls" if held else "alone"

    def measured(self, needs: int) -> tuple[str, Controls]:
        controls = Controls("cpu", CpuDevice())

        def empty() -> None:
            self.emptied += 1

        def take() -> str:
            return self.take(controls, needs)

        return case_process.with_room(take, controls, _no_room, empty), controls


def _no_room(error: Exception) -> str | None:
    return str(error) if isinstance(error, torch.OutOfMemoryError) else None


def test_a_case_that_fits_without_the_controls_is_measured_without_them() -> None:
    device = Crowded(100)
    found, controls = device.measured(90)
    assert found == "alone"
    assert controls.left_out == "the case needs their memory: out of memory: no room"
    assert controls.times_s == {}
    assert device.emptied == 1
    assert Crowded(100).measured(80)[0] == "with controls"


def test_a_case_that_does_not_fit_alone_is_out_of_memory() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Crowded(100).measured(101)


def test_calls_per_sample_are_those_of_the_request() -> None:
    (pipelined,) = [one for one in measured(calls=7).samples if one.kind == "pipelined"]
    assert pipelined.calls_per_sample == 7


def test_a_record_has_first_call_controls_and_the_state_after_the_samples() -> None:
    found = measured()
    assert found.replicate == 3
    assert found.metrics["first_call_s"] > 0
    assert set(found.controls) == {"matmul", "copy", "convolution"}
    assert all(found.controls.values())
    assert found.state["end"]["training"] is False


def no_room(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")


def test_controls_and_transfers_that_memory_is_too_small_for_leave_a_good_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A device that is asynchronous, so that there is something to transfer."""
    monkeypatch.setattr(CpuDevice, "synchronous", False)
    plain = measured()
    assert "input_pageable" in {one.phase for one in plain.samples}
    assert "left_out" not in plain.state
    monkeypatch.setattr(torch, "mm", no_room)
    monkeypatch.setattr(transfer_times.Copies, "__call__", no_room)
    found = measured()
    assert {one.phase for one in found.samples} == {"forward"}
    assert found.controls == {}
    assert set(found.state["left_out"]) >= {"controls", "input_pageable", "output_pageable"}
    assert found.state["left_out"]["controls"].startswith("CUDA out of memory")


def test_transfers_that_the_host_has_no_room_for_leave_a_good_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CpuDevice, "synchronous", False)
    monkeypatch.setattr(transfer_times, "copies", no_room)
    found = measured()
    assert set(found.state["left_out"]) == {"transfers"}


def host_metrics(monkeypatch: pytest.MonkeyPatch, *, waits: bool, **settings: str) -> Any:
    """Of a case that an accelerator is said to have measured."""
    built = prepare.build(asked())
    built = dataclasses.replace(
        built,
        device=cast(Device, SimpleNamespace(synchronous=False)),
        case=dataclasses.replace(built.case, **settings),  # type: ignore[arg-type]
        process_start_s=0.3,
    )
    monkeypatch.setattr(cuda, "waits_for_device", lambda *_: waits)
    times = call_timing.Timing(
        samples=(), calls_per_sample=1, settled=True, moved=None, calls_made=1, calls_sampled=1,
        timed_s=0.1, warmup_s=0.05, host_issue_s=1e-4,
    )  # fmt: skip
    return case_process._host_metrics(built, times)


def test_an_accelerators_record_has_what_its_process_and_its_launches_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = host_metrics(monkeypatch, waits=False)
    assert found == {"process_start_s": 0.3, "host_issue_s": 1e-4}


@pytest.mark.parametrize(
    ("waits", "settings"), [(True, {}), (False, {"mode": "training", "amp": "float16"})]
)
def test_the_launches_of_a_call_that_waits_for_its_device_are_not_told(
    monkeypatch: pytest.MonkeyPatch, waits: bool, settings: dict[str, str]
) -> None:
    assert host_metrics(monkeypatch, waits=waits, **settings) == {"process_start_s": 0.3}


def test_a_cpu_has_neither() -> None:
    assert not {"process_start_s", "host_issue_s"} & measured().metrics.keys()


def test_a_batch_that_fits_is_one_that_can_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    request = dataclasses.replace(asked(), job="fits")
    found = case_process.JOBS["fits"](request)
    assert (found.kind, found.case) == ("facts", request.case)

    def no_room(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(call_timing, "measure", no_room)
    with pytest.raises(torch.OutOfMemoryError):
        case_process.JOBS["fits"](request)


@pytest.mark.parametrize(
    ("call_s", "fits", "measures"),
    [(7.0, True, True), (8.0, False, True), (9.0, False, False), (20.0, False, False)],
)
def test_a_batch_whose_calls_exceed_the_time_limit_does_not_fit(
    call_s: float, fits: bool, measures: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is 60 s, and a measurement needs 2 calls to warm up and 5 samples."""
    measure = call_timing.measure

    def slow(_step: Any, _device: Any, budget: Budget, **more: Any) -> call_timing.Timing:
        device = FakeDevice(launch_s=0.0, has_events=False, synchronous=True)
        more["limit"] = dataclasses.replace(more["limit"], start_s=device.clock())
        step = FakeStep(device, {"forward": call_s})
        return measure(step, device, budget, device.clock, resolution_s=1e-7, **more)

    monkeypatch.setattr(call_timing, "measure", slow)
    for job, passes in (("fits", fits), ("measure", measures)):
        request = dataclasses.replace(asked(), job=job)  # type: ignore[arg-type]
        with nullcontext() if passes else pytest.raises(call_timing.TooSlowError):
            case_process.JOBS[job](request)  # type: ignore[index]


def test_what_the_meter_saw_is_in_the_record_by_sampled_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A made-up machine: from look to look a second, half of it waited, and 600 pages faulted."""
    looks, sampled = list[contention.Snapshot](), list[int]()

    def look() -> contention.Snapshot:
        n = len(looks)
        looks.append(
            contention.Snapshot(
                at_s=float(n),
                run_wait_ns={1: n * 500_000_000},
                page_faults=n * 600,
                involuntary_switches=0,
            )
        )
        return looks[-1]

    measure = call_timing.measure

    def counted(*args: Any, **more: Any) -> call_timing.Timing:
        times = measure(*args, **more)
        sampled.append(times.calls_sampled)
        return times

    monkeypatch.setattr(contention, "snapshot", look)
    monkeypatch.setattr(call_timing, "measure", counted)
    found = measured()
    assert found.metrics["page_faults"] == len(looks) / 2 * 600 / sampled[0]
    assert found.metrics["contention_ratio"] == 0.5
    assert "contended" in found.flags


def test_the_meters_forget_samples_that_memory_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt faults 600 pages in each of its blocks, the second none."""
    measure, seen = call_timing.measure, list[meter.CountingMeter]()
    faults = itertools.count(0, 600)
    before = contention.snapshot

    def look() -> contention.Snapshot:
        return dataclasses.replace(before(), page_faults=0 if len(seen) > 1 else next(faults))

    def runs_out_once(*args: Any, **more: Any) -> call_timing.Timing:
        seen.append(more["meter"])
        if len(seen) > 1:
            return measure(*args, **more)
        more["between"]()  # the controls now hold memory
        more["meter"].start()
        more["meter"].counts["cycles"] = 1e9
        more["meter"].stop()
        assert more["meter"].load.columns(1)["page_faults"] == 600
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(contention, "snapshot", look)
    monkeypatch.setattr(meter, "counters_here", lambda: None)
    monkeypatch.setattr(call_timing, "measure", runs_out_once)
    found = measured()
    assert len(seen) == 2
    assert found.state["left_out"]["controls"].startswith("the case needs their memory")
    assert found.metrics["page_faults"] == 0
    assert "cycles" not in found.metrics


def test_compiled_code_that_recompiles_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_compiler.install(monkeypatch)
    with pytest.raises(RuntimeError) as caught:
        measured("RecompilesEachTime", compile_="default")
    status, reason = case_process.describe(caught.value)
    assert status == "invalid"
    assert reason.startswith("recompiled inside the samples: ")


@pytest.mark.parametrize(("name", "kind"), [("Small", Measurement), ("Raises", Failure)])
def test_a_handler_that_raises_after_the_job_changes_no_record(
    name: str, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [RuntimeError("in a handler")]

    def allow_writing() -> None:
        if left:
            raise left.pop()

    monkeypatch.setattr(limits, "allow_writing", allow_writing)  # this process goes on afterwards
    case_process.run(asked(name, out=str(tmp_path / "record")))
    found = decode.entry((tmp_path / "record").read_text())
    assert isinstance(found, kind)
    assert left == []
    assert not isinstance(found, Failure) or "shapes do not fit" in found.reason


def raised(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except BaseException as error:
        return error
    raise AssertionError("it raises")


def refuses(error: BaseException) -> Callable[[], object]:
    def act() -> None:
        raise error

    return act


def again() -> None:
    try:
        torch.bincount(torch.zeros(2))
    except RuntimeError:
        raise


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda: torch.bincount(torch.zeros(2)), "unsupported"),  # C++
        (again, "unsupported"),  # the same, passed on
        (lambda: nn.BatchNorm2d(1)(torch.zeros(1, 1, 1, 1)), "unsupported"),  # Python
        (lambda: torch.zeros(2).item(), "error"),  # no word of what is not supported
        (nn.Module(), "error"),  # it has no forward
        (refuses(ValueError("kernel size 9 is not supported")), "error"),
        (refuses(NotImplementedError("later")), "error"),
        (refuses(UnsupportedError("training cannot be done here")), "unsupported"),
        (refuses(StepError("training is not supported here")), "error"),
        (refuses(RuntimeError("out of memory")), "oom"),
        (refuses(MemoryError()), "oom"),
    ],
)
def test_only_what_torch_itself_refuses_is_unsupported(
    act: Callable[[], object], status: str
) -> None:
    assert case_process.describe(raised(act))[0] == status


def test_a_subject_that_runs_out_of_memory_when_it_is_built_is_oom() -> None:
    error = raised(lambda: build(parse("tests.subjects.hostile:TooLargeToBuild")))
    assert isinstance(error, SubjectRaised)
    status, reason = case_process.describe(error)
    assert status == "oom"
    assert reason.startswith(
        "tests.subjects.hostile:TooLargeToBuild: TooLargeToBuild raised RuntimeError"
    )


def test_steps_that_are_skipped_for_ever_are_invalid_and_no_words_are() -> None:
    words = "GradScaler skipped 24 of 24 steps"
    assert case_process.describe(NoSteps(words)) == ("invalid", words)
    assert case_process.describe(StepError(words)) == ("error", f"StepError: {words}")


def test_a_failure_for_want_of_room_on_the_disk_says_so_to_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "allow_writing", lambda: None)  # this process goes on afterwards
    for error, cause in (
        (OSError(errno.ENOSPC, "No space left on device"), "disk-full"),
        (RuntimeError("no space left on the disk"), None),
    ):
        act = refuses(error)
        monkeypatch.setattr(case_process, "JOBS", {"measure": lambda _, act=act: act()})
        case_process.run(asked("Small", out=str(tmp_path / "record")))
        found = decode.entry((tmp_path / "record").read_bytes())
        assert isinstance(found, Failure)
        assert found.cause == cause


def test_a_copy_that_a_subject_made_of_its_process_writes_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def forks(_: Request) -> None:
        monkeypatch.setattr(os, "getpid", lambda: -1)

    def end(code: int) -> None:
        assert code == 0
        raise Ended

    monkeypatch.setattr(case_process, "JOBS", {"measure": forks})
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended):
        case_process.run(asked("Small", out=str(tmp_path / "record")))
    assert not (tmp_path / "record").exists()
