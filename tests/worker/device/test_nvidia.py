"""The driver of an NVIDIA GPU: the real bindings over a library of ours."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from bench.worker.device.nvidia import Gpu
from tests.support.paths import ROOT


def library_without(*parts: str) -> Any:
    """The bindings' errors, over a driver that answers, without names that have one of `parts`."""

    def process(pid: int) -> Any:
        return SimpleNamespace(pid=pid, timeStamp=9, smUtil=50)

    answers = {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlDeviceGetHandleByUUID": "a handle",
        "nvmlDeviceIsMigDeviceHandle": 0,
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetTotalEnergyConsumption": 9000,
        "nvmlDeviceGetPowerUsage": 321500,
        "nvmlDeviceGetClockInfo": 1500,
        "nvmlDeviceGetTemperature": 71,
        "nvmlDeviceGetTemperatureV": 72,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=93),
        "nvmlDeviceGetViolationStatus": SimpleNamespace(violationTime=0),
        "nvmlDeviceGetCurrentClocksEventReasons": 0x40,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x08,
        "nvmlDeviceGetComputeRunningProcesses": [process(4001)],
        "nvmlDeviceGetProcessUtilization": [process(4001)],
        "nvmlSystemGetDriverVersion": "580.159.04",
        "nvmlDeviceGetPowerManagementLimit": 700000,
        "nvmlDeviceGetPersistenceMode": 1,
    }
    kept = {name: one for name, one in answers.items() if not any(part in name for part in parts)}
    functions = {name: (lambda *_, one=one: one) for name, one in kept.items()}
    return SimpleNamespace(NVMLError=pynvml.NVMLError, **functions)


def test_bindings_that_have_dropped_every_name_of_a_figure_still_give_the_others() -> None:
    """Neither constants nor functions, as nvidia-ml-py announces for some of them."""
    all_ = Gpu("x", library_without()).snapshot()
    assert None not in dataclasses.astuple(all_)
    assert all_.faulty is True
    none = Gpu("x", library_without("DeviceGetC", "DeviceGetT", "DeviceGetP", "DeviceGetU", "Vio"))
    found = dataclasses.asdict(none.snapshot())
    assert [name for name, value in found.items() if value is not None] == ["at_s"]


def test_how_a_gpu_is_set_is_told_each_for_itself() -> None:
    found = Gpu("x", library_without()).settings()
    assert dataclasses.astuple(found) == ("580.159.04", 700.0, True, False)
    unknown = Gpu("x", library_without("Driver", "Limit", "Persistence", "Mig")).settings()
    assert dataclasses.astuple(unknown) == (None, None, None, None)


@pytest.mark.parametrize(
    ("dropped", "temperature_c", "faulty"),
    [
        ("EventReasons", 71.0, True),
        ("ThrottleReasons", 71.0, True),
        ("Reasons", 71.0, None),
        ("Temperature", None, True),
    ],
)
def test_the_older_and_the_newer_name_of_a_figure_will_do(
    dropped: str, temperature_c: float | None, faulty: bool | None
) -> None:
    found = Gpu("x", library_without(dropped)).snapshot()
    assert (found.temperature_c, found.faulty) == (temperature_c, faulty)


def test_a_temperature_comes_by_its_newer_name_where_the_older_is_gone() -> None:
    nvml = library_without()
    del nvml.nvmlDeviceGetTemperature
    assert Gpu("x", nvml).snapshot().temperature_c == 72.0


LOOK_TWICE = """
import dataclasses, json, os, sys
from bench.worker.device.energy import energy_j_per_call
from bench.worker.device.gpu_monitor import power_w, throttled
from bench.worker.device.nvidia import Gpu, NvidiaError

def look(uuid):
    times = iter(range(0, 1000, 2))
    clock = lambda: float(next(times))
    try:
        gpu = Gpu(uuid, clock=clock)
    except NvidiaError as error:
        return {"error": str(error)}
    one, two = gpu.snapshot(), gpu.snapshot(since_us=500000)
    calls = []
    energy_j = energy_j_per_call(gpu, lambda: calls.append(None), lambda: None, clock)
    gpu.close()
    look = {**dataclasses.asdict(two), "contexts": two.contexts and sorted(two.contexts)}
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
        "contexts": [4001, 4002],
        "samples": [{"process": 4001, "at_us": 3000000, "busy_ratio": 0.8}],
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
    "processes": ["contexts"],
    "samples": ["samples"],
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
def test_a_gpu_that_no_process_used_has_samples_of_none(library: Path) -> None:
    assert seen(library, "first", "unused")["look"]["samples"] == []


@pytest.mark.slow
def test_where_the_board_is_sliced_its_energy_and_processes_are_nobodys(library: Path) -> None:
    found = seen(library, "first", "mig-on")
    empty = [name for name, value in found["look"].items() if value is None]
    assert empty == ["energy_j", "power_w", "contexts", "samples"]
    assert (found["power_w"], found["j"], found["calls"]) == (None, None, 0)
    assert found["is_slice"] is True
    assert seen(library, "first", "mig-next")["is_slice"] is False


@pytest.mark.slow
def test_a_slice_with_a_handle_of_its_own_has_its_own_processes(library: Path) -> None:
    found = seen(library, "slice")
    assert [name for name, value in found["look"].items() if value is None] == [
        "energy_j",
        "power_w",
        "samples",
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
