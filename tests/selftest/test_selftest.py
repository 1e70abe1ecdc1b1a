"""`bench selftest`: every check can fail, and the real thing says so line by line."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import torch

from bench.core.records import Entry, Failure
from bench.engine import fork_server
from bench.host import probe
from bench.host.probed import Device, Probe
from bench.plan.config import RunOptions
from bench.selftest import checks, command, devices, expectations, work
from bench.selftest.expectations import Result
from bench.selftest.work import Check, Line, NotMeasured, Workbench
from bench.terminal.progress import PipedConsole
from bench.worker.device.gpu_monitor import GpuMonitor
from bench.worker.device.nvidia import GpuSnapshot, ProcessSample
from bench.worker.selftest import known_devices
from tests.support.cases import case
from tests.support.fake_device import FakeDevice, FakeEvent
from tests.support.paths import ROOT

# Verdicts: each with a right figure and a wrong one


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (
            lambda: expectations.busy_wait(0.002, 0.00201, 0.00199, busy=False),
            lambda: expectations.busy_wait(0.002, 0.00203, 0.002, busy=False),
        ),
        (
            lambda: expectations.busy_wait(0.002, 0.002, 0.002, busy=False),
            lambda: expectations.busy_wait(0.002, 0.002, 0.00197, busy=False),
        ),
        (
            lambda: expectations.busy_wait(0.002, 0.002, 0.002, busy=True),
            lambda: expectations.busy_wait(0.002, 0.00197, 0.002, busy=True),
        ),
        (
            lambda: expectations.empty_call(5e-6, busy=False),
            lambda: expectations.empty_call(2.1e-5, busy=False),
        ),
        (
            lambda: expectations.empty_call(5e-6, busy=False),
            lambda: expectations.empty_call(0.0, busy=False),
        ),
        (lambda: expectations.count(2048, 2048.0), lambda: expectations.count(2048, 2049.0)),
        (lambda: expectations.count(2048, 2048.0), lambda: expectations.count(2048, None)),
        (
            lambda: expectations.rate(1e8, 1.1e-3, 1e-3, busy=False),
            lambda: expectations.rate(1e8, 1e-4, 1e-3, busy=False),
        ),
        (
            lambda: expectations.rate(1e8, 1.1e-3, 1e-3, busy=False),
            lambda: expectations.rate(1e8, 2.1e-3, 1e-3, busy=False),
        ),
        (
            lambda: expectations.right_result(2e-7, None),
            lambda: expectations.right_result(2e-4, None),
        ),
        (
            lambda: expectations.right_result(2e-7, None),
            lambda: expectations.right_result(2e-7, "output differs"),
        ),
        (
            lambda: expectations.right_result(2e-7, None),
            lambda: expectations.right_result(None, None),
        ),
        (
            lambda: expectations.ending("crash", "ended by SIGSEGV", "crash", "SIGSEGV"),
            lambda: expectations.ending("crash", "ended by SIGABRT", "crash", "SIGSEGV"),
        ),
        (
            lambda: expectations.ending("invalid", "threads is 3", "invalid", "threads is"),
            lambda: expectations.ending("measured", "", "invalid", "threads is"),
        ),
        (
            lambda: expectations.wrong_result("differs by 0.5"),
            lambda: expectations.wrong_result(None),
        ),
        (
            lambda: expectations.endless_loop("timeout", "not done after 2 s", 2.5),
            lambda: expectations.endless_loop("timeout", "not done after 2 s", 7.5),
        ),
        (
            lambda: expectations.endless_loop("timeout", "not done after 2 s", 2.5),
            lambda: expectations.endless_loop("timeout", "not done after 2 s", 1.5),
        ),
        (
            lambda: expectations.endless_loop("timeout", "not done after 2 s", 2.5),
            lambda: expectations.endless_loop("crash", "ended by SIGKILL", 2.5),
        ),
        (
            lambda: expectations.alone(0.02, contended=False, busy_share=0.0),
            lambda: expectations.alone(0.3, contended=True, busy_share=0.05),
        ),
        (
            lambda: expectations.beside(1.3, contended=True),
            lambda: expectations.beside(0.02, contended=False),
        ),
        (lambda: expectations.launch(0.02, 1e-4), lambda: expectations.launch(0.02, 0.019)),
        (lambda: expectations.events(0.02, 0.0195), lambda: expectations.events(0.02, 0.0185)),
        (
            lambda: expectations.device_memory(67108864),
            lambda: expectations.device_memory(67108863),
        ),
        (
            lambda: expectations.other_process(False, True),
            lambda: expectations.other_process(False, False),
        ),
    ],
)
def test_a_right_figure_is_ok_and_a_wrong_one_failed(
    right: Callable[[], Result], wrong: Callable[[], Result]
) -> None:
    assert right().verdict == "ok"
    assert wrong().verdict == "FAILED"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: expectations.busy_wait(0.002, 0.003, 0.002, busy=True),
        lambda: expectations.empty_call(1e-4, busy=True),
        lambda: expectations.alone(0.3, contended=True, busy_share=0.5),
        lambda: expectations.rate(1e8, 3e-3, 1e-3, busy=True),
    ],
)
def test_a_wrong_time_on_a_busy_machine_is_not_the_suites_fault(
    wrong: Callable[[], Result],
) -> None:
    assert (wrong().verdict, wrong().why) == ("skipped", "machine busy")


def test_a_time_that_is_wrong_once_is_measured_again_and_a_fault_stays_one() -> None:
    wrong, right = Result("0.002074", "FAILED"), Result("0.002008", "ok")
    seen = iter([wrong, right])
    assert checks.persistent(lambda: next(seen))() == right
    asked: list[Result] = []

    def always() -> Result:
        asked.append(wrong)
        return wrong

    assert checks.persistent(always)() == wrong
    assert len(asked) == 3


@pytest.mark.parametrize(
    "unknown",
    [
        expectations.alone(None, contended=False, busy_share=0.0),
        expectations.beside(None, contended=False),
        expectations.events(0.02, None),
        expectations.device_memory(None),
        expectations.other_process(None, None),
        expectations.other_process(False, None),
        expectations.other_process(True, True),
    ],
)
def test_what_the_machine_does_not_tell_is_skipped_and_said_why(unknown: Result) -> None:
    assert unknown.verdict == "skipped"
    assert unknown.why


# Devices


class CountingDevice(FakeDevice):
    """An accelerator that counts its memory; `lost_bytes` of each allocation it overlooks."""

    name = type = "fake:0"
    events_doubt: str | None = None
    trial_s = 0.0
    memory_doubt: str | None = None
    lost_bytes = 0

    def __init__(self, **how: Any) -> None:
        super().__init__(look_s=1e-7, **how)
        self.held = self.peak = 0

    def work(self) -> None:
        self.submit(0.02)

    def allocate(self, size_bytes: int) -> object:
        self.held += size_bytes - self.lost_bytes
        self.peak = max(self.peak, self.held)
        return size_bytes

    def reset_peak(self) -> None:
        self.peak = self.held

    def peak_bytes(self) -> int | None:
        return self.peak

    def reserved_peak_bytes(self) -> int | None:
        return None

    def empty_cache(self) -> None:
        pass


def side_on(flop_per_s: float, launch_s: float = 1e-5) -> int:
    on = CountingDevice()

    def products(side: int) -> Callable[[], None]:
        def work() -> None:
            on.now_s += launch_s
            on.submit(8 * 2 * side**3 / flop_per_s)

        return work

    return known_devices.side(products, on.wait, on.clock)


def test_an_accelerator_is_given_work_by_its_speed() -> None:
    assert side_on(1e9) == 256  # of 4096 one call would take 18 minutes
    assert side_on(1e12) == 2048  # 137 ms; 17 ms of 1024 are not enough
    assert side_on(5e13) == 4096
    assert side_on(5e13, launch_s=0.03) == 256  # its launches are no faster with larger ones


class NeverWaits(CountingDevice):
    """Its wait comes back at once, so that a launch is all there is to time."""

    def wait(self) -> None:
        self.waited_s = self.free_s  # its events may be asked all the same


class Overlooks(CountingDevice):
    lost_bytes = 512


class SlowEvent(FakeEvent):
    def seconds_until(self, later: Self) -> float:
        return 1.1 * super().seconds_until(later)


class SlowEvents(CountingDevice):
    """Its events count 10 % more than the host."""

    def event(self) -> Any:
        return SlowEvent(device=self, at_s=max(self.now_s, self.free_s))


def verdicts(on: CountingDevice) -> list[str]:
    figures = known_devices.accelerator(on, on.work, on.allocate, on.clock)
    return [one.verdict for one in devices.accelerator(figures)]


def test_an_accelerator_that_waits_and_counts_is_right() -> None:
    assert verdicts(CountingDevice()) == ["ok", "ok", "ok", "skipped"]


class Shared:
    """A GPU that one process uses, and a second one while it is planted.

    tells: the figures that its driver has.
    """

    def __init__(self, tells: Collection[str]) -> None:
        self.tells, self.planted, self.works = tells, False, False
        self.at_us = 0

    def snapshot(self, since_us: int = 0) -> GpuSnapshot:
        mine, other = os.getpid(), os.getpid() + 1
        there = {mine, other} if self.planted else {mine}
        samples = tuple(ProcessSample(one, self.at_us, 0.5) for one in sorted(there))
        newer = tuple(one for one in samples if one.at_us > since_us)
        return GpuSnapshot(
            at_s=self.at_us / 1e6,
            energy_j=None,
            sm_clock_hz=None,
            power_w=None,
            temperature_c=None,
            utilization_ratio=None,
            hot_s=None,
            faulty=None,
            contexts=frozenset(there) if "contexts" in self.tells else None,
            samples=newer if "samples" in self.tells else None,
        )

    def utilization_ratio(self) -> float | None:
        if "utilization" not in self.tells:
            return None
        return 0.99 if self.planted else 0.0

    def work(self) -> None:
        self.at_us += 2_500_000

    @contextmanager
    def beside(self) -> Iterator[None]:
        self.planted = True
        yield
        self.planted = False


@pytest.mark.parametrize("tells", ["samples", "contexts", "utilization"])
def test_a_planted_process_is_seen_by_each_of_what_a_driver_may_tell(tells: str) -> None:
    gpu = Shared({tells})
    found = known_devices.neighbour(
        lambda: GpuMonitor(gpu, pause=lambda _: None),  # type: ignore[arg-type]
        gpu.work,
        gpu.beside,
    )
    assert found == {"contended_alone": False, "contended_beside": True}
    assert not gpu.planted


def test_a_driver_that_tells_nothing_of_others_is_not_held_against_a_planted_process() -> None:
    gpu = Shared(())
    found = known_devices.neighbour(lambda: GpuMonitor(gpu), gpu.work, gpu.beside)  # type: ignore[arg-type]
    assert found == {}


def test_an_accelerator_without_a_wait_fails() -> None:
    assert verdicts(NeverWaits())[0] == "FAILED"


def test_an_accelerator_whose_clock_is_wrong_fails() -> None:
    assert verdicts(SlowEvents()) == ["ok", "FAILED", "ok", "skipped"]


def test_an_accelerator_that_overlooks_memory_fails() -> None:
    assert verdicts(Overlooks()) == ["ok", "ok", "FAILED", "skipped"]


def test_an_accelerator_whose_allocator_tells_nothing_is_skipped_in_its_own_words() -> None:
    class Plain(CountingDevice):
        memory_doubt = "Allocator for fake is not a DeviceAllocator."

        def peak_bytes(self) -> int | None:
            return None

    on = Plain()
    figures = known_devices.accelerator(on, on.work, on.allocate, on.clock)
    line = devices.accelerator(figures)[2]
    assert (line.verdict, line.why) == (
        "skipped",
        "Allocator for fake is not a DeviceAllocator.",
    )


def test_a_slow_accelerator_loses_no_figures_of_those_before_it(tmp_path: Path) -> None:
    class EndedError(Exception):
        """As a process that is ended for being late."""

    out, seen = tmp_path / "answer.json", list[str]()

    def figures(name: str) -> known_devices.Figures:
        seen.append(out.read_text())
        if name == "slow:1":
            raise EndedError
        return {"latency_s": 0.02}

    with pytest.raises(EndedError):
        known_devices.answer(out, ["fast:0", "slow:1"], figures)
    assert seen == ["{}", '{"fast:0": {"latency_s": 0.02}}']
    assert out.read_text() == '{"fast:0": {"latency_s": 0.02}}'


def test_an_accelerator_without_figures_says_that_it_was_not_come_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = list[float]()

    def look(limit_s: float) -> devices.Figures:
        limits.append(limit_s)
        return {"cuda:0": {"latency_s": 0.02, "launch_s": 1e-4, "device_s": 0.02}}

    monkeypatch.setattr(devices, "look", look)
    lines = devices.all_(["cuda:0", "cuda:1"]).run()
    assert [one.result.verdict for one in lines[:3]] == ["ok", "ok", "skipped"]
    assert {one.result.verdict for one in lines[4:]} == {"FAILED"}
    assert "ended early or was too slow" in lines[4].result.measured
    assert limits == [2 * devices.LIMIT_S]


def test_an_accelerator_without_events_is_not_judged_by_them() -> None:
    assert verdicts(CountingDevice(has_events=False)) == ["ok", "skipped", "ok", "skipped"]


def test_what_an_accelerator_raises_fails_its_lines_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    well = {"latency_s": 0.02, "launch_s": 1e-4, "device_s": 0.02, "counted_bytes": 67108864}
    found = {"cuda:0": well, "cuda:1": {"error": "out of memory"}}
    monkeypatch.setattr(devices, "look", lambda _: found)
    lines = devices.all_(["cuda:0", "cuda:1"]).run()
    verdicts = [one.result.verdict for one in lines]
    assert verdicts == ["ok", "ok", "ok", "skipped", "FAILED", "FAILED", "FAILED", "FAILED"]
    assert lines[4].result.measured == "out of memory"


@pytest.mark.slow
def test_a_machine_without_accelerators_answers_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.look() == {}


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator")
def test_the_accelerators_of_this_machine_are_right() -> None:
    seen = devices.look()
    assert seen
    for figures in seen.values():
        found = devices.accelerator(figures)
        assert "FAILED" not in [one.verdict for one in found], found
        assert not figures.get("contended_alone")


# What is measured


def failing() -> list[Result]:
    raise NotMeasured("crash ended by SIGBUS")


def test_known_work_that_is_not_measured_fails_all_its_lines() -> None:
    lines = Check((("one", "1"), ("two", "2")), failing).run()
    failed = Result("crash ended by SIGBUS", "FAILED")
    assert lines == [Line("one", "1", failed), Line("two", "2", failed)]


class Refusing(Workbench):
    """Every case fails."""

    def __init__(self) -> None:
        pass

    def ask(self, *_: object, **__: Any) -> Entry:
        reason, log = "ended by SIGBUS", "known-1234.txt"
        return Failure(case=case(), replicate=0, status="crash", reason=reason, log=log)


def test_a_record_that_is_no_measurement_is_not_taken_for_one() -> None:
    with pytest.raises(NotMeasured, match=r"^crash ended by SIGBUS$"):
        Refusing().timed("x:Y")
    with pytest.raises(NotMeasured, match=r"^crash ended by SIGBUS$"):
        Refusing().static_metrics("x:Y")


# The table


def found(**more: Device) -> Probe:
    cpu = {"cpu": Device(name="cpu", shown="A Processor")}
    return Probe(
        torch="2.13.0", torch_details={"compiler": "g++"}, devices={**cpu, **more}, subjects={}
    )


def every_line(on: Probe, *, compiles: bool) -> list[tuple[str, str]]:
    every = checks.every(Refusing(), on, compiles=compiles)
    return [line for check in every for line in check.lines]


def test_no_two_lines_have_one_name_and_each_leaves_room_for_what_was_measured() -> None:
    gpu = Device(name="cuda:0", shown="A GPU")
    lines = every_line(found(**{"cuda:0": gpu}), compiles=True)
    names = [name for name, _ in lines]
    assert len(set(names)) == len(names)
    assert [name for name in names if name.startswith("cuda:0")]
    assert max(len(name) for name in names) <= 34
    assert max(len(expected) for _, expected in lines) <= 20


def test_the_table_is_at_most_100_columns_wide(capsys: pytest.CaptureFixture[str]) -> None:
    why = Result("crash: " + "[bold]long\x1b[31m " * 20, "FAILED")
    line = Line("2 ms busy-wait, also back-to-back", "0.002 s ± 1.0 %", why)
    PipedConsole(width=100).print(command.table([line]))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert "[bold]" in shown
    assert "\x1b" not in shown


def lines_of(*given: expectations.Outcome) -> list[Line]:
    return [Line("a", "b", Result("c", one)) for one in given]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (("ok", "skipped"), 0),
        (("ok", "FAILED", "skipped"), 1),
        (("skipped",), 4),
        ((), 4),
    ],
)
def test_a_failed_check_is_1_and_nothing_judged_is_4(
    given: tuple[expectations.Outcome, ...], code: int
) -> None:
    assert command.code(lines_of(*given)) == code


def test_a_selftest_that_stops_early_is_4_unless_a_check_had_failed() -> None:
    assert command.code(lines_of("ok", "skipped"), stopped=True) == 4
    assert command.code(lines_of("ok", "FAILED"), stopped=True) == 1


def test_the_load_is_that_of_the_allowed_processors_where_some_are_switched_off() -> None:
    stat = "cpu  1 2\ncpu0 1 2\ncpu2 1 2\ncpu4 1 2\nintr 7\n"
    shares = [5.0, 10.0, 90.0]
    assert work.busiest(shares, stat, [0, 2, 4]) == 90.0
    assert work.busiest(shares, stat, [2]) == 10.0
    assert work.busiest(shares, "", [1]) == 10.0
    assert work.busiest([], "", [0]) == 0.0


def test_the_summary_counts_the_verdicts() -> None:
    assert command.summary(lines_of("ok", "FAILED", "ok")) == "2 ok, 1 FAILED"


def test_the_first_line_names_torch_and_the_devices() -> None:
    gpu = Device(name="cuda:0", shown="A GPU")
    shown = command.heading(found(**{"cuda:0": gpu}), quick=True)
    assert shown.startswith("bench selftest --quick: ")
    assert shown.endswith("torch 2.13.0; cpu (A Processor), cuda:0 (A GPU)")


def test_where_no_interpreter_starts_it_says_so_and_is_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*_: object, **__: object) -> None:
        raise fork_server.StartError("the replicate ended with exit code 1: no torch")

    monkeypatch.setattr(probe, "look", lambda *_: found())
    monkeypatch.setattr(fork_server.ForkServer, "__init__", start)
    assert command.run(quick=True) == 4
    shown = capsys.readouterr().out
    assert "the replicate ended with exit code 1: no torch" in " ".join(shown.split())


# In processes


@pytest.mark.slow
@pytest.mark.alone
def test_a_neighbour_computes_and_ends_with_the_block() -> None:
    with work.neighbours():
        mine = psutil.Process().children()
        assert len(mine) >= len(work.processors())
    assert not [one for one in mine if one.is_running()]


@pytest.mark.slow
@pytest.mark.alone
def test_known_work_on_the_path_of_a_run(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, RunOptions(samples_s=0.02, warmup_s=0.01))
    try:
        assert bench.timed("torch.nn:Identity").latency_s > 0
        assert bench.static_metrics("bench.worker.selftest.models:WellBehaved").invalid is None
        with pytest.raises(NotMeasured, match="ended by SIGSEGV"):
            bench.timed("bench.worker.selftest.models:Crashes")
    finally:
        bench.close()


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "selftest", "--quick"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left(folder: Path) -> list[str]:
    """Of the suite's own; torch makes an empty folder for its compiler whoever imports it."""
    return [one.name for one in folder.iterdir() if not one.name.startswith("torchinductor_")]


# What no other work on the machine can change.
EXACT = (
    "FLOPs of a linear layer",
    "its result",
    "peak memory of known tensors",
    "wrong result in channels_last",
    "segmentation fault",
    "the case after these faults",
)


@pytest.mark.slow
@pytest.mark.alone
def test_the_real_thing_has_a_line_for_each_check_and_its_exit_code_says_what_they_say(
    tmp_path: Path,
) -> None:
    """Of times, a machine with much else to do may fail one: then the exit code is 1."""
    process = start(tmp_path)
    out, errors = process.communicate(timeout=600)
    assert errors == ""
    rows = out.splitlines()
    for name, _ in every_line(found(), compiles=False):
        (row,) = [row for row in rows if row.startswith(name + "  ")]
        assert re.search(r"\b(ok|FAILED|skipped)\b", row), row
        assert name not in EXACT or re.search(r"\bok\b", row), row
    assert process.returncode == (1 if "FAILED" in out else 0), out
    assert max(map(len, rows)) <= 100
    assert left(tmp_path) == []


@pytest.mark.slow
@pytest.mark.alone
def test_ctrl_c_ends_it_with_130_and_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    process.stdout.readline()  # the machine is known, measuring begins
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "bench: interrupted\n")
    assert left(tmp_path) == []
