"""Peaks in a run: from an earlier run of the day, or measured in its course."""

import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.commands.machine_peaks import MachinePeaks, store, told
from bench.core.records import Case
from bench.host.kept_peaks import Store
from bench.results import run_directory, run_json
from tests.support.cases import case

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
CPU = case()
CUDA = case(device="cuda:0", threads=None, allocator=None)
POINT = {"what": "matrix product 64", "amount": 524288.0, "per_s": 1e11}
SWEEP: dict[str, Any] = {
    "threads": "auto",
    "arithmetic": {"float32": [POINT]},
    "traffic": [],
    "cache_bytes": None,
    "disturbed": False,
}
Build = Callable[..., MachinePeaks]


@pytest.fixture
def measured() -> list[list[str]]:
    return []


@pytest.fixture
def build(tmp_path: Path, measured: list[list[str]]) -> Build:
    def make(*cases: Case, disturbed: bool = False, problems: Sequence[str] = ()) -> MachinePeaks:
        def measure(
            asked: Sequence[Case], _: float
        ) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
            measured.append([one.device for one in asked])
            sweep = SWEEP | {"disturbed": disturbed}
            found = {} if problems else {one.device: [sweep] for one in asked}
            return found, list(problems)

        return MachinePeaks(Store(tmp_path / "cache", {}), cases, lambda: NOON, measure)

    return make


def run_dir(path: Path, machine: dict[str, Any]) -> run_directory.RunDir:
    return run_directory.create(path, {"machine": machine})


def machine_of(directory: run_directory.RunDir) -> dict[str, Any]:
    document = json.loads(directory.description.read_text())
    run_json.of(document)
    return dict(document["machine"])


def test_what_a_run_measures_stands_in_its_description_and_serves_the_next(
    tmp_path: Path, build: Build, measured: list[list[str]]
) -> None:
    first = build(CPU)
    machine = first.kept()
    assert machine == {"peaks": {}, "peaks_from": {}}
    directory = run_dir(tmp_path / "one", machine)
    work = first.one_off(machine, directory, 1.0, print)
    assert work is not None
    work.work()
    at_noon = "2026-01-02T12:00:00+00:00"
    assert machine_of(directory) == {
        "peaks": {"cpu": [SWEEP]},
        "peaks_from": {"cpu": {"measured": at_noon, "kept": False}},
    }
    second = build(CPU).kept()
    assert json.loads(json.dumps(second["peaks"])) == {"cpu": [SWEEP]}
    assert second["peaks_from"] == {"cpu": {"measured": at_noon, "kept": True}}
    assert build(CPU).one_off(second, directory, 1.0, print) is None
    assert measured == [["cpu"]]
    (line,) = told(second)
    assert line.startswith("note: the peaks of cpu are those of 2026-01-02T12:00:00+00:00; --fresh")
    assert told(machine_of(directory)) == []


def test_only_the_devices_that_lack_peaks_are_measured(
    tmp_path: Path, build: Build, measured: list[list[str]]
) -> None:
    machine = {"peaks": {"cpu": [SWEEP]}, "peaks_from": {}}
    directory = run_dir(tmp_path / "one", machine)
    work = build(CPU, CUDA).one_off(machine, directory, 1.0, print)
    assert work is not None
    work.work()
    assert measured == [["cuda:0"]]
    assert list(machine_of(directory)["peaks"]) == ["cpu", "cuda:0"]


def test_disturbed_peaks_are_said_and_not_kept(tmp_path: Path, build: Build) -> None:
    said: list[str] = []
    peaks = build(CPU, disturbed=True)
    directory = run_dir(tmp_path / "one", peaks.kept())
    work = peaks.one_off(peaks.kept(), directory, 1.0, said.append)
    assert work is not None
    work.work()
    (line,) = said
    assert line.startswith("note: other work disturbed the measuring of the machine's peaks; ")
    assert build(CPU).kept()["peaks"] == {}


def test_peaks_that_cannot_be_measured_are_said(tmp_path: Path, build: Build) -> None:
    said: list[str] = []
    peaks = build(CPU, problems=["cpu: no such device"])
    directory = run_dir(tmp_path / "one", peaks.kept())
    work = peaks.one_off(peaks.kept(), directory, 1.0, said.append)
    assert work is not None
    work.work()
    assert said == [
        "note: its peaks are unknown, so no row is held against them (cpu: no such device)"
    ]
    assert machine_of(directory)["peaks"] == {}


HOST = {"machine_id": "m1", "governor": "performance", "gpus": {"cuda:0": {"power_limit_w": 700.0}}}


@pytest.mark.parametrize(
    ("machine", "variables"),
    [
        ({}, {"DNNL_MAX_CPU_ISA": "SSE41"}),
        ({}, {"NVIDIA_TF32_OVERRIDE": "0"}),
        ({"gpus": {"cuda:0": {"power_limit_w": 200.0}}}, {}),
        ({"governor": "powersave"}, {}),
    ],
)
def test_peaks_under_what_slows_the_machine_serve_no_run_without_it(
    tmp_path: Path, machine: dict[str, Any], variables: dict[str, str]
) -> None:
    home = {"HOME": str(tmp_path)}
    slow = store({**HOST, **machine}, {"torch": "2.13.0"}, {**home, **variables})
    slow.save([CPU], {"cpu": [SWEEP]}, NOON)
    assert store(HOST, {"torch": "2.13.0"}, home).load([CPU], NOON) == {}
    assert list(slow.load([CPU], NOON)) == ["cpu"]


def test_what_changes_no_rate_leaves_the_kept_peaks_in_use(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    store(HOST, {"torch": "2.13.0"}, home).save([CPU], {"cpu": [SWEEP]}, NOON)
    awake = {"gpus": {"cuda:0": {"power_limit_w": 700.0, "persistence": True}}}
    again = store(
        {**HOST, **awake}, {"torch": "2.13.0"}, {**home, "TORCH_HOME": "/t", "EDITOR": "e"}
    )
    assert list(again.load([CPU], NOON)) == ["cpu"]
