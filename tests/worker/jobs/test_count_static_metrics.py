"""All static metrics of a case together, each failing alone."""

import dataclasses
from typing import Any

import pytest

from bench.core.records import COLUMNS, Case
from bench.worker.device import energy, nvidia
from bench.worker.device.device import open_device
from bench.worker.jobs import count_static_metrics
from bench.worker.jobs.prepare import make_step
from bench.worker.model.build import prepare
from bench.worker.model.step import Step
from tests.support.cases import case

RESIDUAL = "tests.subjects.models:Residual"


def find(of: Case) -> tuple[dict[str, float], dict[str, str]]:
    prepared = prepare(of)
    step = make_step(prepared, prepared.module, of, "cpu")
    return count_static_metrics.find(step, step, prepared, of, open_device("cpu"))


def small(**changes: Any) -> Case:
    return case(**{"subject": RESIDUAL, "batch": 2, "input": "3,8,8"} | changes)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("layer", ["", "/relu1", "/bn"])
def test_every_metric_of_a_cpu_is_found(mode: str, layer: str) -> None:
    found, problems = find(small(mode=mode, subject=RESIDUAL + layer))
    problems.pop("process_peak_bytes", None)  # /proc may be missing or closed
    assert problems == {}
    assert {name.partition(":")[0] for name in found} >= {
        "parameters",
        "peak_bytes",
        "flops",
        "operators",
        "bytes_moved",
        "layout_flips",
    }
    assert {name.partition(":")[0] for name in found} <= set(COLUMNS)
    assert "reserved_bytes" not in found
    assert ("flops:backward" in found) is (mode == "training")


def test_the_metrics_of_a_layer_are_those_of_the_layer() -> None:
    found, _ = find(small(subject=f"{RESIDUAL}/first"))
    image, maps, weights = 2 * 3 * 64 * 4, 2 * 8 * 64 * 4, (8 * 27 + 8) * 4
    assert found["parameters"] == 224
    assert found["flops"] == 2 * 2 * 64 * 8 * 27
    assert found["bytes_moved"] == image + maps + weights
    # input, weights and output are the least; a backend may need scratch memory on top
    assert found["peak_bytes"] >= image + maps + weights
    assert found["operators"] == 1


@pytest.mark.parametrize("restored", [False, True])
def test_training_moves_what_backward_needs_again_and_what_the_optimizer_does(
    restored: bool,
) -> None:
    of = small(subject="torch.nn:Linear(8, 3)", input="8", mode="training")
    prepared = dataclasses.replace(prepare(of), restore=restored)
    step = make_step(prepared, prepared.module, of, "cpu")
    found, _ = count_static_metrics.find(step, step, prepared, of, open_device("cpu"))
    x, y, weight, bias = 2 * 8 * 4, 2 * 3 * 4, 8 * 3 * 4, 3 * 4
    assert found["bytes_moved:forward"] == x + y + weight + bias
    assert found["bytes_moved:backward"] == y + weight + bias + x
    assert found["bytes_moved:optimizer"] == 3 * (weight + bias)
    assert found["bytes_moved"] == 2 * (x + y) + 5 * (weight + bias)


def test_an_in_place_layers_input_counts_once() -> None:
    found, _ = find(small(subject=f"{RESIDUAL}/relu1"))
    assert found["peak_bytes"] == 2 * 8 * 64 * 4


def test_one_metric_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr("bench.worker.metrics.flops.count", fails)
    found, problems = find(small())
    assert problems.get("flops") == "ZeroDivisionError: by zero"
    assert "flops" not in found
    assert found["parameters"] == 1677


def test_compiled_code_has_no_operators_but_the_mathematics_of_its_module() -> None:
    of = small(subject="torch.nn:Linear(8, 3)", input="8")
    prepared = prepare(of)
    step, eager = (make_step(prepared, prepared.module, of, "cpu") for _ in range(2))
    found, problems = count_static_metrics.find(step, eager, prepared, of, open_device("cpu"))
    assert set(problems) - {"process_peak_bytes"} == {"operators", "layout_flips"}
    assert found["flops"] == 2 * 2 * 8 * 3


class FakeGpu:
    """An accelerator that counts its memory, and what it was asked in which order."""

    name, type, synchronous, has_events = "fake:0", "fake", False, False
    events_doubt: str | None = None
    trial_s = 0.0
    memory_doubt: str | None = None

    def __init__(self, peak: int | None, reserved: int | None) -> None:
        self.peak, self.reserved = peak, reserved
        self.asked: list[str] = []
        self.step: Step | None = None

    def wait(self) -> None:
        self.asked.append("wait")

    def event(self) -> Any:
        raise NotImplementedError

    def empty_cache(self) -> None:
        self.asked.append("empty")

    def reset_peak(self) -> None:
        left_over = self.step is not None and self.step.output is not None
        self.asked.append("reset with an output left over" if left_over else "reset")

    def peak_bytes(self) -> int | None:
        self.asked.append("peak")
        return self.peak

    def reserved_peak_bytes(self) -> int | None:
        return self.reserved


def on_gpu(gpu: FakeGpu, **changes: Any) -> tuple[dict[str, float], dict[str, str]]:
    of = small(**changes)
    prepared = prepare(of)
    step = make_step(prepared, prepared.module, of, "cpu")
    gpu.step = step
    return count_static_metrics.find(step, step, prepared, of, gpu)


def test_an_accelerators_own_counters_are_read_after_waiting() -> None:
    gpu = FakeGpu(1000, 4000)
    found, _ = on_gpu(gpu)
    assert (found["peak_bytes"], found["reserved_bytes"]) == (1000, 4000)
    assert gpu.asked == ["wait", "empty", "reset", "wait", "peak"]


def test_a_counter_that_is_missing_is_unknown_and_never_zero() -> None:
    found, problems = on_gpu(FakeGpu(None, None))
    assert "peak_bytes" not in found
    assert "reserved_bytes" not in found
    assert problems["peak_bytes"] == "fake:0: the device does not count its memory"
    plain = FakeGpu(None, None)
    plain.memory_doubt = "Allocator for fake is not a DeviceAllocator."
    _, problems = on_gpu(plain)
    assert problems["peak_bytes"] == "fake:0: Allocator for fake is not a DeviceAllocator."


def test_with_cuda_graphs_the_peak_is_the_reserved_one() -> None:
    gpu = FakeGpu(1000, 4000)
    gpu.type = "cuda"
    found, _ = on_gpu(gpu, compile="reduce-overhead")
    assert found["peak_bytes"] == 4000


class Board:
    """A driver that counts a joule a look, or nothing of a slice."""

    def __init__(self, *, is_slice: bool = False) -> None:
        self.is_slice, self.looks, self.closed = is_slice, 0, False

    def energy_j(self) -> float | None:
        self.looks += 1
        return None if self.is_slice else 5000.0 + self.looks

    def close(self) -> None:
        self.closed = True


def test_the_energy_of_a_board_is_not_that_of_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "gpu_of", lambda _: Board(is_slice=True))
    found, problems = find(small())
    assert "energy_j_per_image" not in found
    assert problems["energy_j_per_image"] == (
        "the driver counts the energy of the board, of which this is a slice"
    )


def test_energy_is_found_of_wholes_and_not_of_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "ENERGY_S", 1e-9)
    board = Board()
    monkeypatch.setattr(nvidia, "gpu_of", lambda _: board)
    found, problems = find(small(subject=f"{RESIDUAL}/first"))
    assert (board.looks, found.keys() & {"energy_j_per_image"}, problems) == (0, set(), {})
    found, _ = find(small())
    assert found["energy_j_per_image"] > 0
    assert board.closed
