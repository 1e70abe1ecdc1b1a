"""Devices through one path; what needs a real accelerator is marked."""

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.worker.device import cuda
from bench.worker.device.cuda import CudaError
from bench.worker.device.device import (
    Accelerator,
    CpuDevice,
    DeviceError,
    device_names,
    memory_pressure,
    open_device,
)
from tests.support.paths import ROOT

has_accelerator = torch.accelerator.is_available()
needs_accelerator = pytest.mark.skipif(not has_accelerator, reason="needs an accelerator")


class FakeAccelerator:
    """Stands for `torch.accelerator`: two devices, the first of them the current one."""

    def __init__(self, stats: dict[str, int] | None = None, *, can_reset: bool = True) -> None:
        self.stats = stats
        self.can_reset = can_reset
        self.busy = {0, 1}
        self.earlier_peak = {0: 10**6, 1: 10**6}  # of what ran before the peak was reset

    def synchronize(self, index: int = 0) -> None:
        self.busy.discard(index)

    def memory_stats(self, index: int = 0) -> dict[str, int]:
        if self.stats is None:
            raise RuntimeError("Allocator for mps is not a DeviceAllocator.")
        earlier = self.earlier_peak[index]
        return {name: max(earlier, value + index) for name, value in self.stats.items()}

    def empty_cache(self) -> None:
        if self.stats is None:
            raise RuntimeError("Allocator for mps is not a DeviceAllocator.\nException raised from")

    def reset_peak_memory_stats(self, index: int = 0) -> None:
        if not self.can_reset:
            raise RuntimeError("not supported")
        self.earlier_peak[index] = 0


def accelerator(fake: FakeAccelerator, index: int = 0) -> Accelerator:
    return Accelerator("cuda", index, has_events=False, accelerator=fake)


def test_the_cpu_is_open_and_idle() -> None:
    device = open_device("cpu")
    assert (device.name, device.type) == ("cpu", "cpu")
    assert device.synchronous
    assert not device.has_events
    device.wait()


def test_the_cpu_counts_no_memory_and_says_none() -> None:
    device = open_device("cpu")
    device.reset_peak()
    device.empty_cache()
    assert device.peak_bytes() is None
    assert device.reserved_peak_bytes() is None


def test_the_cpu_has_no_events() -> None:
    with pytest.raises(DeviceError, match="no events"):
        CpuDevice().event()


@pytest.mark.parametrize("name", ["cuda:97", "xpu:97", "meta", "cpu:1", "vulkan"])
def test_a_device_that_does_not_exist_is_an_error_that_says_what_there_is(name: str) -> None:
    with pytest.raises(DeviceError, match=r"does not exist here; there is: cpu"):
        open_device(name)


def test_a_gpu_that_does_not_exist_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError("No CUDA GPUs are available\nat line 3")

    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda **_: None)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.init", init)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(DeviceError, match=r"there is: cpu; CUDA_VISIBLE_DEVICES=-1 hides the GPU"):
        open_device("cuda")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with pytest.raises(DeviceError, match=r"no GPU \(No CUDA GPUs are available at line 3\)$"):
        open_device("cuda:0")
    with pytest.raises(DeviceError, match=r"there is: cpu$"):
        open_device("xpu")
    monkeypatch.setattr("torch.version.cuda", None)
    with pytest.raises(DeviceError, match="is built for the CPU alone"):
        open_device("cuda")


def test_a_name_that_is_none_is_an_error_in_one_line() -> None:
    with pytest.raises(DeviceError, match="'gpu' is not the name of a device") as caught:
        open_device("gpu")
    assert "\n" not in str(caught.value)


def test_the_cpu_is_always_among_the_devices() -> None:
    assert device_names()[0] == "cpu"
    assert has_accelerator or device_names() == ("cpu",)


def test_waiting_is_for_the_cases_own_device_not_for_the_current_one() -> None:
    fake = FakeAccelerator()
    accelerator(fake, 1).wait()
    assert fake.busy == {0}


def test_peaks_are_those_of_the_cases_own_device() -> None:
    fake = FakeAccelerator({"allocated_bytes.all.peak": 1000, "reserved_bytes.all.peak": 2000})
    device = accelerator(fake, 1)
    device.reset_peak()
    assert device.peak_bytes() == 1001
    assert device.reserved_peak_bytes() == 2001


def test_an_allocator_that_asked_again_has_its_retries_and_failures_counted() -> None:
    counts = {"num_alloc_retries": 3, "num_ooms": 1}
    fake = FakeAccelerator(counts)
    fake.reset_peak_memory_stats(1)
    assert memory_pressure("cuda:1", fake) == (4, 2)  # each is one more on the second device
    assert memory_pressure("cuda:1", FakeAccelerator(None)) == (0, 0)
    assert memory_pressure("cuda:0", FakeAccelerator({})) == (0, 0)
    assert memory_pressure("cpu", FakeAccelerator(counts)) == (0, 0)


@pytest.mark.parametrize("stats", [None, {}, {"allocated_bytes.all.peak": 0}])
def test_a_counter_that_a_device_lacks_is_none_and_never_zero(
    stats: dict[str, int] | None,
) -> None:
    device = accelerator(FakeAccelerator(stats))
    device.reset_peak()
    assert device.peak_bytes() is None
    assert device.reserved_peak_bytes() is None


def test_an_allocator_that_torch_cannot_ask_leaves_the_peak_unknown_in_its_own_words() -> None:
    device = accelerator(FakeAccelerator(None))
    device.empty_cache()
    assert device.memory_doubt is None
    assert device.peak_bytes() is None
    assert device.memory_doubt == "Allocator for mps is not a DeviceAllocator."


def test_a_peak_that_cannot_begin_anew_is_none() -> None:
    device = accelerator(FakeAccelerator({"allocated_bytes.all.peak": 1000}, can_reset=False))
    device.reset_peak()
    assert device.peak_bytes() is None


def test_mps_is_written_without_an_index() -> None:
    assert Accelerator("mps", 0, has_events=False).name == "mps"
    assert Accelerator("cuda", 0, has_events=False).name == "cuda:0"


# CUDA's own flags, settable without a GPU


@pytest.fixture
def flags() -> Iterator[None]:
    """Leaves torch's flags as they come."""
    yield
    cuda.set_tf32("default")
    torch.backends.cudnn.benchmark = False


@pytest.mark.usefixtures("flags")
def test_the_cudnn_mode_is_read_back_as_it_was_set() -> None:
    for on in (True, False):
        cuda.set_cudnn_benchmark(on)
        assert cuda.cudnn_benchmark() is on
        assert torch.backends.cudnn.benchmark is on


@pytest.mark.usefixtures("flags")
def test_tf32_is_switched_for_convolutions_and_matrix_products_alike() -> None:
    cuda.set_tf32("on")
    assert cuda.tf32_state() == "on"
    assert cuda.tf32_precisions() == {"conv": "tf32", "rnn": "tf32", "matmul": "tf32"}
    cuda.set_tf32("off")
    assert cuda.tf32_state() == "off"
    assert "tf32" not in cuda.tf32_precisions().values()


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("before", ["off", "on"])
def test_the_default_of_tf32_is_that_of_torch(before: cuda.Tf32) -> None:
    """A fresh process says what torch comes with; here the flags may have been turned before."""
    cuda.set_tf32(before)
    cuda.set_tf32("default")
    assert cuda.tf32_state() == "default"
    assert cuda.tf32_precisions()["conv"] == cuda.tf32_precisions()["rnn"] == "tf32"
    assert cuda.tf32_precisions()["matmul"] != "tf32"
    assert torch.backends.cudnn.allow_tf32 is True
    assert torch.backends.cuda.matmul.allow_tf32 is False


@pytest.mark.slow
def test_a_fresh_torch_reads_as_the_default_of_tf32() -> None:
    code = "from bench.worker.device import cuda; print(cuda.tf32_state())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["default"]


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("setting", ["default", "off", "on"])
@pytest.mark.parametrize(
    "before",
    [
        lambda backends: setattr(backends, "fp32_precision", "tf32"),
        lambda backends: setattr(backends.cudnn, "fp32_precision", "tf32"),
        lambda backends: setattr(backends.cudnn.conv, "fp32_precision", "ieee"),
        lambda backends: setattr(backends.cuda.matmul, "fp32_precision", "tf32"),
        lambda backends: setattr(backends.cuda.matmul, "allow_tf32", True),
        lambda _: torch.set_float32_matmul_precision("medium"),
    ],
)
def test_torch_can_still_read_tf32_in_its_older_way(before: Any, setting: cuda.Tf32) -> None:
    before(torch.backends)
    cuda.set_tf32(setting)
    products = setting == "on"
    assert torch.backends.cudnn.allow_tf32 is (setting != "off")
    assert torch.backends.cuda.matmul.allow_tf32 is products
    assert torch.get_float32_matmul_precision() == ("high" if products else "highest")


@pytest.mark.usefixtures("flags")
def test_one_operation_apart_from_the_others_is_mixed() -> None:
    cuda.set_tf32("on")
    torch.backends.cudnn.allow_tf32 = False
    assert cuda.tf32_state() == "mixed"


@pytest.mark.usefixtures("flags")
def test_a_flag_that_does_not_take_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda _: None)
    with pytest.raises(CudaError, match=r"tf32 was set to on and reads .*'matmul'"):
        cuda.set_tf32("on")


def fake_nvml(*uuids: str) -> Any:
    """Stands for pynvml."""

    class NVMLError(Exception):
        pass

    def by_uuid(uuid: str) -> str:
        if uuid not in uuids:
            raise NVMLError("Not Found")
        return uuid

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetHandleByUUID=by_uuid,
    )


def test_nvml_is_asked_for_the_device_by_its_uuid() -> None:
    nvml = fake_nvml("GPU-1111", "GPU-2222", "MIG-3333")
    assert cuda.nvml_handle("2222", nvml) == "GPU-2222"
    assert cuda.nvml_handle("3333", nvml) == "MIG-3333"
    assert cuda.nvml_handle("4444", nvml) is None
    assert cuda.nvml_handle("", nvml) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="for a machine without CUDA")
def test_without_cuda_there_is_no_tf32() -> None:
    assert cuda.has_tf32(0) is False


@pytest.mark.gpu
@needs_accelerator
class TestRealAccelerator:
    """Every accelerator found."""

    def test_it_opens_waits_and_counts(self) -> None:
        for name in device_names()[1:]:
            device = open_device(name)
            assert device.name == name
            assert not device.synchronous
            device.reset_peak()
            kept = torch.ones(1 << 20, device=name)
            device.wait()
            peak_bytes = device.peak_bytes()
            assert peak_bytes is None or peak_bytes >= kept.nbytes

    def test_events_count_device_time_in_order(self) -> None:
        for name in device_names()[1:]:
            device = open_device(name)
            if not device.has_events:
                continue
            x = torch.randn(2048, 2048, device=name)
            first = device.event()
            x @ x
            middle = device.event()
            for _ in range(50):
                x @ x
            last = device.event()
            device.wait()
            assert 0 < first.seconds_until(middle) < first.seconds_until(last) < 60
