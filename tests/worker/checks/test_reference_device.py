"""Where float64 is computed: by the CPU if it is soon done, else by the case's accelerator."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.records import Case
from bench.results.run_directory import RunDir
from bench.worker.checks.exact import Reference
from bench.worker.checks.values import NoReferenceError, Values
from bench.worker.jobs import reference
from bench.worker.jobs.reference import CostError
from tests.support.cases import case

ON_GPU = case(subject="torch.nn:Linear(4, 4)", input="4", device="cuda:0")
ON_CPU = case(subject="torch.nn:Linear(4, 4)", input="4")


def computing(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Reference]
) -> list[tuple[str, float]]:
    """Let `answer` compute on a device; return the devices that are asked, and their seconds."""
    asked: list[tuple[str, float]] = []

    def computed(_build: Any, _case: Case, device: str, most_s: float) -> Reference:
        asked.append((device, most_s))
        return answer(device)

    monkeypatch.setattr(reference, "_computed", computed)
    return asked


def made_on(device: str) -> Reference:
    return Reference(Values({}), {}, device)


def slow_on_cpu(device: str) -> Reference:
    if device == "cpu":
        raise CostError("the float64 reference would take over 5 s")
    return made_on(device)


def test_what_the_cpu_computes_soon_no_accelerator_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = computing(monkeypatch, made_on)
    assert reference.of_whole(ON_GPU, 60.0).device == "cpu"
    assert reference.of_whole(ON_GPU, 2.0).device == "cpu"
    assert asked == [("cpu", reference.ON_CPU_S), ("cpu", 2.0)]


def test_what_takes_the_cpu_long_the_accelerator_of_the_case_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = computing(monkeypatch, slow_on_cpu)
    assert reference.of_whole(ON_GPU, 60.0).device == "cuda:0"
    assert asked == [("cpu", reference.ON_CPU_S), ("cuda:0", 60.0)]


def test_a_case_of_the_cpu_has_all_of_the_time_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = computing(monkeypatch, slow_on_cpu)
    with pytest.raises(CostError):
        reference.of_whole(ON_CPU, 60.0)
    assert asked == [("cpu", 60.0)]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (TypeError("Cannot convert a MPS Tensor to float64"), "cuda:0 cannot compute it: Cannot"),
        (torch.OutOfMemoryError("CUDA out of memory"), "cuda:0 cannot compute it: CUDA out"),
        (CostError("it would take over 60 s"), "on cuda:0: it would take over 60 s"),
    ],
)
def test_an_accelerator_that_cannot_either_is_named_with_both_reasons(
    raised: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def neither(device: str) -> Reference:
        raise CostError("the CPU is slow") if device == "cpu" else raised

    asked = computing(monkeypatch, neither)
    with pytest.raises(NoReferenceError, match=rf"^the CPU is slow; {said}"):
        reference.of_whole(ON_GPU, 60.0)
    assert asked[-1] == ("cpu", 60.0)  # as much as before there was an accelerator to ask


def test_the_cpu_has_all_of_the_time_where_the_accelerator_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times_s = iter([5.0, 60.0])

    def answer(device: str) -> Reference:
        if device != "cpu":
            raise TypeError("there is no float64")
        if next(times_s) < 20.0:
            raise CostError("it takes 20 s")
        return made_on("cpu")

    asked = computing(monkeypatch, answer)
    assert reference.of_whole(ON_GPU, 60.0).device == "cpu"
    assert [device for device, _ in asked] == ["cpu", "cuda:0", "cpu"]


def test_an_accelerator_is_asked_once_where_the_cpu_need_not_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(device: str) -> Reference:
        if device != "cpu":
            raise TypeError("there is no float64")
        return made_on("cpu")

    asked = computing(monkeypatch, answer)
    monkeypatch.setattr(reference, "_values", lambda *_: (Values({}), 1.0))
    reference.of_whole(dataclasses.replace(ON_GPU, batch=64), 60.0)
    assert asked == [("cuda:0", 60.0), ("cpu", 60.0)]


@pytest.mark.parametrize(
    ("batch", "few_s", "first"), [(64, 1.0, "cuda:0"), (64, 0.01, "cpu"), (8, 1.0, "cpu")]
)
def test_a_few_images_tell_that_the_cpu_need_not_try(
    batch: int, few_s: float, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = computing(monkeypatch, made_on)
    monkeypatch.setattr(reference, "_values", lambda *_: (Values({}), few_s))
    reference.of_whole(dataclasses.replace(ON_GPU, batch=batch), 60.0)
    assert [device for device, _ in asked] == [first]


def test_what_has_no_reference_at_all_is_not_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def random(_: str) -> Reference:
        raise NoReferenceError("the module draws random numbers")

    asked = computing(monkeypatch, random)
    with pytest.raises(NoReferenceError, match="draws random"):
        reference.of_whole(ON_GPU)
    assert [device for device, _ in asked] == ["cpu"]


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, 4.0), (64.0, 128.0)])
def test_a_gpu_with_few_float64_units_is_expected_to_take_long(
    ratio: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # start and end of two products in float32, then of two in float64
    times = iter([0.0, 9.0, 9.0, 10.0, 10.0, 30.0, 30.0, 30.0 + ratio])
    monkeypatch.setattr(reference, "wall_clock", lambda: next(times))
    assert reference._slower("cpu") == expected


def test_the_reference_of_a_device_has_a_file_of_its_own(tmp_path: Path) -> None:
    folders = RunDir(tmp_path).folders
    assert folders.reference(ON_GPU) != folders.reference(ON_CPU)


def test_the_device_of_a_reference_is_kept_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "reference.pt"
    reference.save(Reference(Values({}), {}, "cuda:0"), path)
    assert reference.load(path).device == "cuda:0"
