"""The Python door on an accelerator: `pytest -m gpu`, for owners of one."""

import time
from typing import Any

import pytest
import torch
from torch import nn

import bench
from bench.api.comparing import Compared
from bench.api.measuring import Measured
from bench.api.session import SessionError
from bench.worker.device.device import device_names, open_device
from tests.api.models import restless
from tests.api.state import unchanged

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator"),
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
NAME = device_names()[-1]  # where there are several, not the current one
QUICK: dict[str, Any] = {"samples_s": 0.02, "warmup_s": 0.0}


def images() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(nn.Conv2d(8, 64, 3), nn.BatchNorm2d(64), nn.ReLU(inplace=True))
    return model.to(NAME), torch.randn(16, 8, 56, 56, device=NAME)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_measurement_leaves_model_and_process_as_they_were(mode: str) -> None:
    model, x = restless().to(NAME), torch.randn(6, 4, device=NAME)
    torch.rand(1, device=NAME)
    found = unchanged(lambda: bench.measure(model, x, mode=mode, **QUICK), model)
    assert isinstance(found, Measured)
    assert found.device == NAME


def test_a_training_has_the_phases_that_events_tell_and_a_peak() -> None:
    model, x = images()
    found = bench.measure(model, x, mode="training", **QUICK)
    if open_device(NAME).has_events:
        assert list(found.phases) == ["forward", "backward", "optimizer"]
    assert found.memory is not None
    output_bytes = 4 * 16 * 64 * 54 * 54
    assert 2 * output_bytes < found.memory.peak_bytes < 12 * output_bytes


def test_a_model_of_the_cpu_can_be_measured_there_and_stays_where_it_is() -> None:
    model, x = restless(), torch.randn(6, 4)
    found = unchanged(lambda: bench.measure(model, x, device=NAME, mode="training", **QUICK), model)
    assert isinstance(found, Measured)
    assert found.device == NAME
    assert {one.device.type for one in model.parameters()} == {"cpu"}


def test_an_input_on_the_cpu_is_refused_with_both_places() -> None:
    model, x = images()
    with pytest.raises(SessionError, match="tensor 1 of the inputs is on cpu"):
        bench.measure(model, x.cpu())


@needs_cuda
def test_settings_of_cuda_are_in_force_and_do_not_outlive_the_call() -> None:
    seen = set[tuple[bool, str]]()

    class Seeing(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            backends: Any = torch.backends
            seen.add((backends.cudnn.benchmark, str(backends.cuda.matmul.fp32_precision)))
            return super().forward(x)

    model, x = Seeing(8, 8, 3).to(NAME), torch.randn(2, 8, 9, 9, device=NAME)
    unchanged(lambda: bench.measure(model, x, cudnn_benchmark=True, tf32=True, **QUICK), model)
    assert seen == {(True, "tf32")}


@needs_cuda
def test_work_in_a_stream_of_its_own_is_waited_for() -> None:
    """Neither inputs nor models show the device: the tensor that both callables use does."""
    a = torch.randn(4096, 4096, device=NAME)
    side = torch.cuda.Stream(NAME)

    def here() -> torch.Tensor:
        return a @ a @ a

    def aside() -> torch.Tensor:
        with torch.cuda.stream(side):
            return a @ a @ a

    found = bench.compare({"here": here, "aside": aside}, **QUICK)
    assert isinstance(found, Compared)
    assert found.device == NAME
    assert found.same_outputs, found.outputs["aside"]
    assert 0.7 < found.speedup.ratio < 1.4, found
    alone = bench.measure(aside, **QUICK)
    assert isinstance(alone, Measured)
    assert "by events: part of its work runs in a stream of its own" in " ".join(alone.doubts)
    assert alone.latency.median == pytest.approx(found.times["here"].median, rel=0.3)


@needs_cuda
def test_a_callable_that_makes_its_tensors_on_the_gpu_is_waited_for() -> None:
    def makes() -> None:
        one = torch.ones(4096, 4096, device=NAME)
        for _ in range(8):
            one @ one

    found = bench.measure(makes, **QUICK)
    assert isinstance(found, Measured)
    assert found.device == NAME
    start = time.perf_counter()
    makes()
    launched_s = time.perf_counter() - start
    torch.cuda.synchronize(NAME)
    assert found.latency.median > 3 * launched_s


def test_a_comparison_interleaves_there_too() -> None:
    model, x = images()

    def twice(x: torch.Tensor) -> torch.Tensor:
        model(x)
        out: torch.Tensor = model(x)
        return out

    found = bench.compare({"single": model, "twice": twice}, x, mode="inference", **QUICK)
    assert found.speedup.ratio < 1
    assert found.same_outputs
