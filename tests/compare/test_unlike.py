"""GPUs that are compared and are not alike."""

from pathlib import Path
from typing import Any

from bench.compare.unlike import between, within
from bench.core.records import Entry
from bench.results.results import Results
from tests.support.cases import case
from tests.support.results import RUN, measurement, run_of

FREE: dict[str, Any] = {"threads": None, "allocator": None, "tf32": "off", "cudnn_benchmark": "off"}


def run_on(folder: Path, names: dict[str, str], gpus: dict[str, Any]) -> Results:
    """A run on the devices of these names, set as `gpus` says."""
    entries: list[Entry] = [
        measurement(case(device=device, **FREE), 0, 0.01) for device in names if device != "cpu"
    ]
    machine = {**RUN["machine"], "gpus": gpus}
    return run_of(folder, entries, devices={"cpu": "AMD EPYC", **names}, machine=machine)


def test_two_cards_of_one_run_are_told_apart_by_name_limit_and_slices(tmp_path: Path) -> None:
    run = run_on(
        tmp_path / "one",
        {"cuda:0": "NVIDIA H100", "cuda:1": "NVIDIA A100"},
        {
            "cuda:0": {"driver": "580.1", "power_limit_w": 700.0, "mig": False},
            "cuda:1": {"driver": "580.1", "power_limit_w": 400.0, "mig": True},
        },
    )
    (said,) = within(run)
    assert said == (
        "cuda:0 and cuda:1 are not alike (card: NVIDIA H100 and NVIDIA A100; power limit: 700 W "
        "and 400 W; MIG: off and on): a ratio is not of the settings alone"
    )


def test_equal_cards_and_cards_of_which_nothing_is_known_are_not_mentioned(tmp_path: Path) -> None:
    names = {"cuda:0": "NVIDIA H100", "cuda:1": "NVIDIA H100"}
    known = {"power_limit_w": 700.0}
    assert within(run_on(tmp_path / "equal", names, {"cuda:0": known, "cuda:1": known})) == []
    assert within(run_on(tmp_path / "unknown", names, {"cuda:0": known})) == []
    assert within(run_on(tmp_path / "alone", {"cuda:0": "NVIDIA H100"}, {"cuda:0": known})) == []


def test_devices_of_two_types_are_meant_to_be_unlike(tmp_path: Path) -> None:
    run = run_on(tmp_path / "one", {"cuda:0": "NVIDIA H100", "xpu:0": "Intel Max 1550"}, {})
    assert within(run) == []


def test_one_device_of_two_runs_with_another_limit_is_said(tmp_path: Path) -> None:
    names = {"cuda:0": "NVIDIA H100"}
    one = run_on(tmp_path / "one", names, {"cuda:0": {"driver": "1", "power_limit_w": 700.0}})
    other = run_on(tmp_path / "other", names, {"cuda:0": {"driver": "2", "power_limit_w": 700.0}})
    assert between(one, other) == [
        "cuda:0 is not alike in the two runs (driver: 1 and 2): a ratio is not of the code alone"
    ]
    assert between(one, one) == []
