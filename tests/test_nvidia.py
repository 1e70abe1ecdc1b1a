"""The driver of an NVIDIA GPU: pure judgements, and the real bindings over a library of ours."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.worker import nvidia
from bench.worker.nvidia import Look, foreign_processes, throttled

COOL = Look(
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


def later(**changes: Any) -> Look:
    return dataclasses.replace(COOL, at_s=11.0, **changes)


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
    found = nvidia.figures(later(power_w=None))
    assert found == {"sm_clock_hz": 1.5e9, "temperature_c": 60.0, "gpu_utilization_ratio": 0.9}


class Told:
    """A GPU that looks as it is told to."""

    def __init__(self, *looks: Look) -> None:
        self.looks = iter(looks)

    def look(self) -> Look:
        return next(self.looks)


def around(*looks: Look) -> nvidia.Around:
    found = nvidia.Around(Told(*looks))  # type: ignore[arg-type]
    found.start()
    found.stop()
    return found


def test_heat_and_others_around_the_samples_are_flags_and_the_last_look_is_the_figures() -> None:
    quiet = later(processes=frozenset({os.getpid()}))
    assert around(quiet, quiet).flags() == []
    assert around(quiet, later(processes=quiet.processes, hot_s=9.0)).flags() == ["throttled"]
    others = later(processes=frozenset({os.getpid(), 8}))
    assert around(others, quiet).flags() == ["contended"]
    assert around(quiet, quiet).facts()["power_w"] == 300.0


def test_without_a_gpu_nothing_is_said_around_the_samples() -> None:
    found = nvidia.Around(nvidia.gpu_of("cpu"))
    found.start()
    found.stop()
    assert (found.flags(), found.facts()) == ([], {})


class Counter:
    """A GPU whose looks come half a second and 50 J apart."""

    def __init__(self, energy_j: float | None = 0.0) -> None:
        self.looks = 0
        self.energy_j = energy_j

    def look(self) -> Look:
        self.looks += 1
        energy_j = None if self.energy_j is None else self.looks * 50.0
        return dataclasses.replace(COOL, at_s=self.looks * 0.5, energy_j=energy_j)


def test_energy_is_counted_over_two_seconds_or_longer() -> None:
    calls: list[None] = []
    found = nvidia.energy_j_per_call(Counter(), lambda: calls.append(None), lambda: None)  # type: ignore[arg-type]
    assert len(calls) == 4 * 16  # four spans of half a second
    assert found == 4 * 50.0 / (4 * 16)


def test_the_gpu_is_idle_when_its_energy_is_read() -> None:
    order: list[str] = []

    class Noted(Counter):
        def look(self) -> Look:
            order.append("look")
            return super().look()

    nvidia.energy_j_per_call(Noted(), lambda: order.append("call"), lambda: order.append("wait"))  # type: ignore[arg-type]
    looks = [place for place, what in enumerate(order) if what == "look"]
    assert [order[place - 1] for place in looks] == ["wait"] * 5


def test_without_a_counter_there_is_no_energy_and_nothing_is_called() -> None:
    calls: list[None] = []
    found = nvidia.energy_j_per_call(Counter(None), lambda: calls.append(None), lambda: None)  # type: ignore[arg-type]
    assert (found, calls) == (None, [])


# --- the real bindings ----------------------------------------------------------------------

LOOK_TWICE = """
import dataclasses, json, sys
from bench.worker.nvidia import Gpu, NvidiaError, throttled
times = iter(range(100))
try:
    gpu = Gpu(sys.argv[1], clock=lambda: float(next(times)))
except NvidiaError as error:
    print(json.dumps({"error": str(error)}))
else:
    one, two = gpu.look(), gpu.look()
    gpu.close()
    look = {**dataclasses.asdict(two), "processes": two.processes and sorted(two.processes)}
    print(json.dumps({"look": look, "throttled": throttled(one, two)}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "g++", "clang"))), None)
    assert compiler, "a C compiler is needed: apt-get install gcc"
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-x", "c", "-shared", "-fPIC", "-o", str(target), str(source)], check=True
    )
    return folder


def seen(library: Path | None, uuid: str, wrong: str = "") -> dict[str, Any]:
    environment = {**os.environ, "FAKE_NVML": wrong, "LD_LIBRARY_PATH": str(library or "")}
    done = subprocess.run(
        [sys.executable, "-c", LOOK_TWICE, uuid],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_every_figure_comes_in_si_units_from_the_gpu_of_that_uuid(library: Path) -> None:
    found = seen(library, "first")
    assert found["look"] == {
        "at_s": 1.0,
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
    assert seen(library, "second")["look"]["sm_clock_hz"] == 1.0e9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "field"),
    [("energy", "energy_j"), ("violations", "hot_s"), ("processes", "processes")],
)
def test_a_function_that_is_not_supported_leaves_its_figure_empty_alone(
    library: Path, wrong: str, field: str
) -> None:
    look = seen(library, "first", wrong)["look"]
    assert [name for name, value in look.items() if value is None] == [field]


@pytest.mark.slow
def test_heat_and_brakes_are_throttled_and_a_power_cap_is_not(library: Path) -> None:
    assert seen(library, "first", "hot")["throttled"] is True
    assert seen(library, "first", "brake")["throttled"] is True
    assert seen(library, "first", "brake old")["throttled"] is True
    assert seen(library, "first", "violations reasons")["throttled"] is None


@pytest.mark.slow
def test_no_permission_no_such_gpu_and_no_library_are_said(library: Path) -> None:
    assert "Insufficient Permissions" in seen(library, "first", "deny")["error"]
    assert seen(library, "third")["error"] == "NVML knows no GPU 'third'"
    assert "NVML does not start" in seen(None, "first")["error"]
