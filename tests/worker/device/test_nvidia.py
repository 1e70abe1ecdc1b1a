"""The driver of an NVIDIA GPU: pure judgements, and the real bindings over a library of ours."""

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.worker.device import nvidia
from bench.worker.device.nvidia import GpuSnapshot, foreign_processes, throttled
from tests.support.paths import ROOT

COOL = GpuSnapshot(
    at_s=10.0,
    energy_j=100.0,
    sm_clock_hz=1.5e9,
    power_w=300.0,
    temperature_c=60.0,
    utilization_ratio=0.9,
    hot_s=5.0,
    faulty=False,
    processes=frozenset({7}),
)


def later(**changes: Any) -> GpuSnapshot:
    return dataclasses.replace(COOL, **{"at_s": 11.0, **changes})


def test_time_lost_to_heat_is_throttled_from_a_hundredth_on() -> None:
    assert throttled(COOL, later(hot_s=5.02)) is True
    assert throttled(COOL, later(hot_s=5.005)) is False
    assert throttled(COOL, later()) is False


def test_a_fault_at_either_look_is_throttled() -> None:
    assert throttled(COOL, later(faulty=True)) is True
    assert throttled(dataclasses.replace(COOL, faulty=True), later()) is True


def test_what_the_driver_does_not_count_is_unknown() -> None:
    assert throttled(dataclasses.replace(COOL, hot_s=None, faulty=None), later()) is None
    assert throttled(dataclasses.replace(COOL, hot_s=None), later()) is False


def test_others_on_the_gpu_are_counted_without_oneself() -> None:
    assert foreign_processes(COOL, own=7) == 0
    assert foreign_processes(later(processes=frozenset({7, 8})), own=7) == 1
    assert foreign_processes(later(processes=frozenset()), own=7) == 0
    assert foreign_processes(later(processes=None), own=7) is None


def test_in_a_container_one_of_the_unknown_ids_is_ones_own() -> None:
    assert foreign_processes(later(processes=frozenset({4001})), own=7) == 0
    assert foreign_processes(later(processes=frozenset({4001, 4002})), own=7) == 1


def test_figures_that_are_unknown_are_left_out() -> None:
    found = nvidia.figures(COOL, later(power_w=None))
    assert found == {"sm_clock_hz": 1.5e9, "temperature_c": 60.0, "gpu_utilization_ratio": 0.9}


def test_power_is_the_mean_of_two_seconds_or_longer_else_what_is_read_at_the_end() -> None:
    after = later(energy_j=600.0, power_w=40.0)
    assert nvidia.power_w(COOL, dataclasses.replace(after, at_s=12.0)) == 250.0
    assert nvidia.power_w(COOL, dataclasses.replace(after, at_s=11.9)) == 40.0
    assert nvidia.power_w(COOL, later(at_s=12.0, energy_j=None, power_w=40.0)) == 40.0
    assert nvidia.power_w(COOL, later(at_s=12.0, energy_j=99.0, power_w=40.0)) == 40.0
    assert nvidia.power_w(COOL, later(at_s=12.0, energy_j=None, power_w=None)) is None


class Told:
    """A GPU that looks as it is told to."""

    def __init__(self, *looks: GpuSnapshot) -> None:
        self.looks = iter(looks)

    def snapshot(self) -> GpuSnapshot:
        return next(self.looks)


def around(*looks: GpuSnapshot) -> nvidia.GpuMonitor:
    found = nvidia.GpuMonitor(Told(*looks))  # type: ignore[arg-type]
    found.start()
    found.stop()
    return found


def test_heat_and_others_around_the_samples_are_flags_and_the_last_look_is_the_figures() -> None:
    quiet = later(processes=frozenset({os.getpid()}))
    assert around(quiet, quiet).flags() == []
    assert around(quiet, later(processes=quiet.processes, hot_s=9.0)).flags() == ["throttled"]
    others = later(processes=frozenset({os.getpid(), 8}))
    assert around(others, quiet).flags() == ["contended"]
    assert around(quiet, quiet).columns()["power_w"] == 300.0
    later_on = dataclasses.replace(quiet, at_s=16.0, energy_j=1100.0, temperature_c=75.0)
    found = around(quiet, later_on).columns()
    assert (found["power_w"], found["temperature_c"]) == (200.0, 75.0)


def test_without_a_gpu_nothing_is_said_around_the_samples() -> None:
    found = nvidia.GpuMonitor(nvidia.gpu_of("cpu"))
    found.start()
    found.stop()
    assert (found.flags(), found.columns()) == ([], {})


class Counter:
    """A GPU whose looks come half a second and 50 J apart."""

    def __init__(self, energy_j: float | None = 0.0) -> None:
        self.looks = 0
        self.energy_j = energy_j

    def snapshot(self) -> GpuSnapshot:
        self.looks += 1
        energy_j = None if self.energy_j is None else self.looks * 50.0
        return dataclasses.replace(COOL, at_s=self.looks * 0.5, energy_j=energy_j)


def test_energy_is_counted_over_two_seconds_or_longer() -> None:
    calls: list[None] = []
    found = nvidia.energy_j_per_call(Counter(), lambda: calls.append(None), lambda: None)  # type: ignore[arg-type]
    assert len(calls) == 1 + 3 + 4 + 2  # four spans of half a second, as many as would fit in each
    assert found == 4 * 50.0 / 10


class Busy:
    """A GPU whose time moves as it is called, with 50 J a call."""

    def __init__(self, call_s: float) -> None:
        self.calls, self.call_s = 0, call_s

    def call(self) -> None:
        self.calls += 1

    def snapshot(self) -> GpuSnapshot:
        return dataclasses.replace(COOL, at_s=self.calls * self.call_s, energy_j=50.0 * self.calls)


@pytest.mark.parametrize(("call_s", "calls"), [(12.0, 1), (2.0, 1), (0.9, 3), (0.3, 7)])
def test_a_slow_call_is_made_no_more_often_than_two_seconds_need(call_s: float, calls: int) -> None:
    gpu = Busy(call_s)
    assert nvidia.energy_j_per_call(gpu, gpu.call, lambda: None) == 50.0  # type: ignore[arg-type]
    assert gpu.calls == calls


def test_a_short_call_is_made_sixteen_times_at_most_without_a_wait() -> None:
    gpu, between = Busy(1e-3), [0]
    nvidia.energy_j_per_call(gpu, gpu.call, lambda: between.append(gpu.calls))  # type: ignore[arg-type]
    assert max(after - before for before, after in itertools.pairwise(between)) == 16
    assert 2000 <= gpu.calls <= 2001


def test_the_gpu_is_idle_when_its_energy_is_read() -> None:
    order: list[str] = []

    class Noted(Counter):
        def snapshot(self) -> GpuSnapshot:
            order.append("look")
            return super().snapshot()

    nvidia.energy_j_per_call(Noted(), lambda: order.append("call"), lambda: order.append("wait"))  # type: ignore[arg-type]
    looks = [place for place, what in enumerate(order) if what == "look"]
    assert [order[place - 1] for place in looks] == ["wait"] * 5


def test_without_a_counter_there_is_no_energy_and_nothing_is_called() -> None:
    calls: list[None] = []
    found = nvidia.energy_j_per_call(Counter(None), lambda: calls.append(None), lambda: None)  # type: ignore[arg-type]
    assert (found, calls) == (None, [])


# --- the real bindings ----------------------------------------------------------------------

LOOK_TWICE = """
import dataclasses, json, os, sys
from bench.worker.device.nvidia import Gpu, NvidiaError, energy_j_per_call, power_w, throttled

def look(uuid):
    times = iter(range(0, 1000, 2))
    try:
        gpu = Gpu(uuid, clock=lambda: float(next(times)))
    except NvidiaError as error:
        return {"error": str(error)}
    one, two = gpu.snapshot(), gpu.snapshot()
    calls = []
    energy_j = energy_j_per_call(gpu, lambda: calls.append(None), lambda: None)
    gpu.close()
    look = {**dataclasses.asdict(two), "processes": two.processes and sorted(two.processes)}
    found = {"throttled": throttled(one, two), "power_w": power_w(one, two)}
    return found | {"look": look, "j": energy_j, "calls": len(calls), "is_slice": gpu.is_slice}

for wrong in sys.argv[2:]:
    os.environ["FAKE_NVML"] = wrong
    print(json.dumps(look(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "g++", "clang"))), None)
    assert compiler, "a C compiler is needed: apt-get install gcc"
    folder = tmp_path_factory.mktemp("nvml")
    source = ROOT / "tests" / "support" / "fake_nvml.c"
    target = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-x", "c", "-shared", "-fPIC", "-o", str(target), str(source)], check=True
    )
    return folder


def seen_each(library: Path | None, uuid: str, wrongs: Sequence[str]) -> list[dict[str, Any]]:
    """By what goes wrong, in one process: torch is imported once."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK_TWICE, uuid, *wrongs],
        env={**os.environ, "LD_LIBRARY_PATH": str(library or "")},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def seen(library: Path | None, uuid: str, wrong: str = "") -> dict[str, Any]:
    (found,) = seen_each(library, uuid, [wrong])
    return found


@pytest.mark.slow
def test_every_figure_comes_in_si_units_from_the_gpu_of_that_uuid(library: Path) -> None:
    found = seen(library, "first")
    assert found["look"] == {
        "at_s": 2.0,
        "energy_j": 801.0,
        "sm_clock_hz": 1.5e9,
        "power_w": 321.5,
        "temperature_c": 71.0,
        "utilization_ratio": 0.93,
        "hot_s": 0.0,
        "faulty": False,
        "processes": [4001, 4002],
    }
    assert found["throttled"] is False
    assert (found["power_w"], found["j"], found["calls"]) == (200.0, 400.0, 1)
    assert found["is_slice"] is False
    assert seen(library, "second")["look"]["sm_clock_hz"] == 1.0e9


FIGURES = {  # by what the fake calls their functions
    "energy": ["energy_j"],
    "clock": ["sm_clock_hz"],
    "power": ["power_w"],
    "temperature": ["temperature_c"],
    "utilization": ["utilization_ratio"],
    "violations": ["hot_s"],
    "reasons": ["faulty"],
    "processes": ["processes"],
    "mig": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["", ":denied"])
def test_a_function_that_is_not_supported_or_allowed_leaves_its_figure_empty_alone(
    library: Path, how: str
) -> None:
    found = seen_each(library, "first", [f"{name}{how}" for name in FIGURES])
    empty = [[name for name, value in one["look"].items() if value is None] for one in found]
    assert dict(zip(FIGURES, empty, strict=True)) == FIGURES


@pytest.mark.slow
def test_where_the_board_is_sliced_its_energy_and_processes_are_nobodys(library: Path) -> None:
    found = seen(library, "first", "mig-on")
    empty = [name for name, value in found["look"].items() if value is None]
    assert empty == ["energy_j", "power_w", "processes"]
    assert (found["power_w"], found["j"], found["calls"]) == (None, None, 0)
    assert found["is_slice"] is True
    assert seen(library, "first", "mig-next")["is_slice"] is False


@pytest.mark.slow
def test_a_slice_with_a_handle_of_its_own_has_its_own_processes(library: Path) -> None:
    found = seen(library, "slice")
    assert [name for name, value in found["look"].items() if value is None] == [
        "energy_j",
        "power_w",
    ]
    assert found["is_slice"] is True


@pytest.mark.slow
def test_an_energy_counter_that_runs_backward_counts_nothing(library: Path) -> None:
    found = seen(library, "first", "backward")
    assert (found["power_w"], found["j"]) == (321.5, None)


@pytest.mark.slow
def test_heat_and_brakes_are_throttled_and_a_power_cap_is_not(library: Path) -> None:
    found = seen_each(library, "first", ["hot", "brake", "brake old", "violations reasons", ""])
    assert [one["throttled"] for one in found] == [True, True, True, None, False]


@pytest.mark.slow
def test_no_permission_no_such_gpu_and_no_library_are_said(library: Path) -> None:
    assert "Insufficient Permissions" in seen(library, "first", "deny")["error"]
    assert seen(library, "third")["error"] == "NVML knows no GPU 'third'"
    assert "NVML does not start" in seen(None, "first")["error"]
