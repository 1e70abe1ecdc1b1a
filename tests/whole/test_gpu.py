"""Tests that need a GPU: `pytest -m gpu`, for owners of one.

Each test asks one thing of the device that the fake one (`tests/support/fake_accelerator.py`) can
only pretend: that waits wait, events agree with the clock, counters count, and flags change what
runs.
"""

import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from bench.core.protocol import Budget, Job, Request
from bench.core.records import Entry, Failure, Measurement
from bench.engine import static_metrics
from bench.engine.collect import collect
from bench.engine.fork_server import ForkServer
from bench.engine.requests import request
from bench.host.interpreter import Place
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.worker import peak_measuring
from bench.worker.device import (
    cuda,
    energy,
    gpu_monitor,
    nvidia,
    out_of_memory,
    reference_work,
    torch_private,
)
from bench.worker.device.device import Device, device_names, open_device
from bench.worker.jobs import profile, reference
from bench.worker.model.build import prepare
from bench.worker.model.step import InferenceStep
from bench.worker.probe import gpu_details
from bench.worker.process import limits
from bench.worker.selftest import known_devices
from bench.worker.timing import call_timing
from tests.support.cases import case
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator"),
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
needs_nvidia = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.version.cuda is None, reason="needs an NVIDIA GPU"
)
needs_two = pytest.mark.skipif(len(device_names()) < 3, reason="needs two accelerators")
needs_tf32 = pytest.mark.skipif(
    not (torch.cuda.is_available() and cuda.has_tf32(0)), reason="needs a GPU with TF32"
)
TICK_S = 2e-6  # CUDA's events have a resolution of half a microsecond
SMALL: dict[str, Any] = {"subject": "torch.nn:Linear(64, 64)", "input": "64"}
NAME = device_names()[-1]  # where there are several, not the current one


@pytest.fixture
def device() -> Device:
    return open_device(NAME)


def work(size: int = 4096) -> torch.Tensor:
    one = torch.randn(size, size, device=NAME)
    return one @ one


def timed(call: Any, device: Device, *, wait: bool) -> float:
    call()
    device.wait()
    start = time.perf_counter()
    for _ in range(20):
        call()
    if wait:
        device.wait()
    return time.perf_counter() - start


def test_a_wait_waits_for_the_work(device: Device) -> None:
    one = torch.randn(4096, 4096, device=NAME)
    launched = timed(lambda: one @ one, device, wait=False)
    device.wait()
    assert timed(lambda: one @ one, device, wait=True) > 3 * launched


def test_events_agree_with_the_hosts_clock(device: Device) -> None:
    if not device.has_events:
        pytest.skip("its events tell the host's time")
    one = torch.randn(4096, 4096, device=NAME)
    one @ one
    device.wait()
    first, start = device.event(), time.perf_counter()
    for _ in range(50):
        one @ one
    last = device.event()
    device.wait()
    host_s = time.perf_counter() - start
    assert first.seconds_until(last) == pytest.approx(host_s, rel=0.05)


def test_the_peak_counts_a_known_allocation(device: Device) -> None:
    device.wait()
    device.empty_cache()  # a larger block from the cache would count as a whole
    small = torch.empty(2**18, device=NAME)  # a peak of nothing is none
    device.reset_peak()
    before = device.peak_bytes()
    if before is None:
        pytest.skip("the device does not count its memory")
    assert before >= small.nbytes
    held = torch.empty(2**24, device=NAME)  # 64 MiB in float32
    after = device.peak_bytes()
    assert after is not None
    assert after - before == held.nbytes
    assert (device.reserved_peak_bytes() or 0) >= after


def test_events_that_have_not_passed_tell_no_time(device: Device) -> None:
    if not device.has_events:
        pytest.skip("its events tell the host's time")
    one = torch.randn(4096, 4096, device=NAME)
    one @ one
    device.wait()
    first = device.event()
    for _ in range(50):
        one @ one
    last = device.event()
    with pytest.raises(RuntimeError, match="completed"):
        first.seconds_until(last)
    device.wait()
    assert first.seconds_until(last) > 0


def test_events_of_a_launch_bound_call_tell_the_issuing_and_lie_inside_the_hosts_time(
    device: Device,
) -> None:
    """Twenty launches of next to no work: the device waits for its host.

    Of one and the same call: other calls differ by what else the host does.
    """
    if not device.has_events:
        pytest.skip("its events tell the host's time")
    x = torch.ones(8, 8, device=NAME)
    layers = nn.Sequential(*(nn.ReLU() for _ in range(20)))
    first, last = device.event(), device.event()
    host_s, events_s, issued_s = [], [], []
    for _ in range(100):
        device.wait()
        start = time.perf_counter()
        first.record()
        begun = time.perf_counter()
        layers(x)
        issued = time.perf_counter()
        last.record()
        device.wait()
        host_s.append(time.perf_counter() - start)
        issued_s.append(issued - begun)
        events_s.append(first.seconds_until(last))
    assert all(one < other + TICK_S for one, other in zip(events_s, host_s, strict=True))
    assert statistics.median(events_s) > 0.8 * statistics.median(issued_s)


def test_a_step_in_the_current_stream_has_the_devices_times(device: Device) -> None:
    """Launch-bound, and long."""
    if not device.has_events:
        pytest.skip("its events tell the host's time")
    for size, layer in ((8, nn.ReLU()), (2048, nn.Linear(2048, 2048, device=NAME).eval())):
        layers = nn.Sequential(*(layer for _ in range(20))).eval()
        step = InferenceStep(layers, (torch.ones(size, size, device=NAME),), {}, device_type="cuda")
        call_timing.first_call(step, device)
        found = call_timing.measure(step, device, Budget(samples_s=0.05))
        assert found.missed_by_events is None
        assert "device" in {one.kind for one in found.samples}


@needs_cuda
def test_a_step_in_a_stream_of_its_own_has_the_hosts_times_alone(device: Device) -> None:
    side = torch.cuda.Stream(NAME)
    one = torch.randn(4096, 4096, device=NAME)

    class Aside(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.cuda.stream(side):
                return x @ x @ x

    step = InferenceStep(Aside().eval(), (one,), {}, device_type="cuda")
    call_timing.first_call(step, device)
    found = call_timing.measure(step, device, Budget(samples_s=0.05))
    assert found.missed_by_events is not None
    assert {sample.kind for sample in found.samples} == {"latency", "pipelined"}
    here_s = timed(lambda: one @ one @ one, device, wait=True) / 20
    assert statistics.median(found.samples[0].times_s) == pytest.approx(here_s, rel=0.15)


def test_an_event_is_recorded_again_at_another_moment(device: Device) -> None:
    if not device.has_events:
        pytest.skip("its events tell the host's time")
    one = torch.randn(4096, 4096, device=NAME)
    first, last = device.event(), device.event()
    one @ one
    device.wait()
    first.record()
    last.record()
    device.wait()
    alone_s = first.seconds_until(last)
    first.record()
    one @ one
    last.record()
    device.wait()
    assert first.seconds_until(last) > 2 * alone_s


@needs_two
def test_the_cases_own_device_is_meant_where_another_is_the_current_one(device: Device) -> None:
    assert torch.accelerator.current_device_index() == 0
    one = torch.randn(4096, 4096, device=NAME)
    launched = timed(lambda: one @ one, device, wait=False)
    device.wait()
    assert timed(lambda: one @ one, device, wait=True) > 3 * launched
    first = device.event()
    one @ one
    last = device.event()
    device.wait()
    assert first.seconds_until(last) > 1e-4


@needs_nvidia
def test_the_driver_knows_torchs_device_by_its_uuid() -> None:
    gpu = nvidia.gpu_of(NAME)
    assert gpu is not None
    found = gpu.snapshot()
    gpu.close()
    assert found.temperature_c is not None
    assert found.sm_clock_hz is not None


@needs_nvidia
def test_a_run_keeps_the_driver_and_the_memory_of_each_gpu() -> None:
    found = gpu_details(NAME)
    assert found.driver
    assert found.memory_bytes == torch.cuda.get_device_properties(NAME).total_memory
    assert found.power_limit_w is None or 10 < found.power_limit_w < 5000


def watched(gpu: nvidia.Gpu, device: Device) -> gpu_monitor.GpuMonitor:
    """Around enough work for the driver to sample its processes."""
    work()
    device.wait()
    monitor = gpu_monitor.GpuMonitor(gpu)
    monitor.start()
    start = time.perf_counter()
    while time.perf_counter() - start < known_devices.WATCHED_S:
        work()
        device.wait()
    monitor.stop()
    return monitor


@needs_nvidia
def test_an_idle_context_of_another_process_is_counted_and_disturbs_nothing(
    device: Device,
) -> None:
    gpu = nvidia.gpu_of(NAME)
    assert gpu is not None
    alone = watched(gpu, device).state()
    idle = f"import torch; torch.ones(9, device={NAME!r}).sum().item(); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", idle], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        beside = watched(gpu, device)
    gpu.close()
    assert beside.contended() in (False, None)
    if alone and beside.state():
        assert beside.state()["other_contexts"] == alone["other_contexts"] + 1


@needs_nvidia
def test_a_process_that_computes_is_told_from_a_gpu_of_ones_own(device: Device) -> None:
    gpu = nvidia.gpu_of(NAME)
    assert gpu is not None
    found = known_devices.neighbour(
        lambda: gpu_monitor.GpuMonitor(gpu),
        lambda: watched(gpu, device),
        lambda: known_devices.another_process(NAME),
    )
    gpu.close()
    assert found in ({}, {"contended_alone": False, "contended_beside": True})


@needs_nvidia
@pytest.mark.parametrize("size", [256, 8192])
def test_the_energy_of_a_call_is_the_power_of_calls_back_to_back_and_their_time(
    device: Device, size: int
) -> None:
    """A short call, of which launches take the most, and a long one."""
    gpu = nvidia.gpu_of(NAME)
    assert gpu is not None
    if gpu.energy_j() is None:
        pytest.skip("the driver does not count this GPU's energy")
    one, out = torch.randn(size, size, device=NAME), torch.empty(size, size, device=NAME)

    def call() -> None:
        torch.mm(one, one, out=out)

    energy.energy_j_per_call(gpu, call, device.wait)  # the board is as warm as it gets
    begun_s, begun_j, calls = time.perf_counter(), gpu.energy_j(), 0
    while time.perf_counter() - begun_s < gpu_monitor.ENERGY_S:
        for _ in range(16):
            call()
        calls += 16
        if calls % 1024 == 0 or size > 256:
            device.wait()
    device.wait()
    ended_j = gpu.energy_j()
    assert begun_j is not None
    assert ended_j is not None
    found = energy.energy_j_per_call(gpu, call, device.wait)
    gpu.close()
    assert found == pytest.approx((ended_j - begun_j) / calls, rel=0.08)


@needs_cuda
def test_a_gpu_has_a_cache_of_known_size() -> None:
    size = cuda.l2_bytes(NAME)
    assert size is None or 2**17 < size < 2**31


@needs_cuda
def test_an_input_that_no_cache_holds_is_not_read_faster_than_one_that_it_holds(
    device: Device,
) -> None:
    cache = cuda.l2_bytes(NAME)
    if cache is None:
        pytest.skip("the driver does not tell the size of the cache")
    x = torch.randn(cache // 16, device=NAME)  # a quarter of it

    def device_s(rotate_bytes: int) -> float:
        layer = nn.Threshold(0.0, 0.0).eval()
        step = InferenceStep(layer, (x,), {}, device_type="cuda", rotate_bytes=rotate_bytes)
        assert step.cold is (rotate_bytes > 0)
        call_timing.first_call(step, device)
        times = call_timing.measure(step, device, Budget())
        (found,) = [one for one in times.samples if one.kind == "pipelined"]
        call_s = statistics.median(found.times_s)
        if times.host_issue_s is not None and times.host_issue_s > 0.8 * call_s:
            pytest.skip("the call is launch-bound, so that its time is the host's")
        return call_s

    assert device_s(2 * cache) > 0.97 * device_s(0)


@needs_cuda
def test_the_mode_of_cudnn_is_read_back() -> None:
    image, kernel = torch.randn(1, 8, 28, 28, device=NAME), torch.randn(8, 8, 3, 3, device=NAME)
    for on in (True, False):
        cuda.set_cudnn_benchmark(on)
        nn.functional.conv2d(image, kernel)
        assert cuda.cudnn_benchmark() is on


@needs_tf32
def test_tf32_changes_matrix_products_and_convolutions_alike() -> None:
    one = torch.randn(512, 512, device=NAME)
    image, kernel = torch.randn(1, 64, 28, 28, device=NAME), torch.randn(64, 64, 3, 3, device=NAME)

    def errors() -> tuple[float, float]:
        product = (one @ one).double() - one.double() @ one.double()
        exact = nn.functional.conv2d(image.double(), kernel.double())
        convolved = nn.functional.conv2d(image, kernel).double() - exact
        return float(product.norm() / 512), float(convolved.norm() / exact.norm())

    cuda.set_tf32("off")
    exact = errors()
    cuda.set_tf32("on")
    coarse = errors()
    cuda.set_tf32("off")
    assert coarse[0] > 20 * exact[0]
    assert coarse[1] > 20 * exact[1]


@needs_cuda
def test_the_peaks_of_a_gpu_are_those_of_a_gpu(device: Device) -> None:
    rungs = peak_measuring.arithmetic(device, "float32")
    assert max(rung["per_s"] for rung in rungs) > 5e11
    assert max(rung["per_s"] for rung in peak_measuring.byte_rates(device)) > 5e10


# --- through the path of a run ---------------------------------------------------------------


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    log = tmp_path_factory.mktemp("session") / "log"
    one = ForkServer(allocator=None, modules=["convnet"], inductor=True, log=log)
    yield one
    one.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch folder for many cases, so that a reference is made once."""
    return tmp_path_factory.mktemp("shared")


def asked(session: ForkServer, folder: Path, job: Job, **settings: Any) -> Entry:
    folders = Folders(scratch=folder, failures=folder / "failures")
    own = {"device": NAME, "threads": None, "allocator": None, "cudnn_benchmark": "off"}
    one = case(**{**own, "tf32": "off", **settings})
    wish = request(job, one, 0, RunOptions(samples_s=0.2), folders)
    return collect(wish, session.ask(wish), folders)


@needs_cuda
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": "training"},
        {"mode": "training", "amp": "float16"},
        {"memory_format": "channels_last", "amp": "bfloat16"},
        {"cudnn_benchmark": "on", "tf32": "on"},
        {"mode": "training", "amp": "bfloat16", "compile": "default"},
        {"compile": "reduce-overhead"},
        {"mode": "training", "compile": "reduce-overhead"},
        {"subject": "convnet/relu1", "mode": "training"},
    ],
)
def test_every_setting_is_measured_read_back_and_right(
    session: ForkServer, shared: Path, settings: dict[str, Any]
) -> None:
    found = asked(session, shared, "measure", **settings)
    assert isinstance(found, Measurement), found
    kinds = {(one.phase, one.kind) for one in found.samples}
    if settings.get("mode") == "training":
        assert ("backward", "device") in kinds
        assert ("backward", "latency") not in kinds
    assert found.state["cudnn_benchmark"] == settings.get("cudnn_benchmark", "off")
    assert found.state["tf32"] == settings.get("tf32", "off")
    if settings.get("cudnn_benchmark") == "on":
        assert found.metrics["tuning_s"] >= 0
    if settings.get("compile") == "reduce-overhead":
        assert found.state["cuda_graphs"] == "recorded"
    if "subject" in settings:
        assert found.state["cold"] is True
    counted = static_metrics.find(
        found.case,
        lambda job, _: asked(session, shared, job, **settings),
        Folders(scratch=shared, failures=shared / "failures"),
    )
    assert counted.invalid is None
    assert counted.metrics["peak_bytes"] > 0
    assert "relative_error" in counted.metrics


@needs_cuda
def test_the_search_of_cudnn_is_what_it_adds_to_a_first_call(
    session: ForkServer, tmp_path: Path
) -> None:
    """Each case in a process of its own; the first of all loads files that the disk then keeps."""
    own = {"mode": "training", "batch": 256}
    found = {}
    for name in ("off", "on", "off", "on"):
        found[name] = asked(session, tmp_path, "measure", **own, cudnn_benchmark=name)
    off, on = found["off"], found["on"]
    assert isinstance(off, Measurement)
    assert isinstance(on, Measurement)
    added_s = on.metrics["first_call_s"] - off.metrics["first_call_s"]
    assert on.metrics["tuning_s"] > 0.005
    assert on.metrics["tuning_s"] == pytest.approx(added_s, rel=0.5, abs=0.05)


@needs_cuda
def test_forks_of_a_process_that_has_used_the_gpu_are_not_made(tmp_path: Path) -> None:
    module = tmp_path / "uses_the_gpu.py"
    module.write_text("import torch\ntorch.zeros(1, device='cuda')\n")
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{before}"
    try:
        log = tmp_path / "log"
        one = ForkServer(allocator=None, modules=["uses_the_gpu"], inductor=False, log=log)
    finally:
        os.environ["PYTHONPATH"] = before
    found = asked(one, tmp_path, "measure", **SMALL)
    one.close()
    assert isinstance(found, Measurement)


@needs_cuda
def test_a_session_opens_the_gpu_once_and_its_cases_agree_with_those_of_their_own(
    session: ForkServer, tmp_path: Path
) -> None:
    """Products that keep the GPU busy, so that the host's noise is no part of their time."""
    busy: dict[str, Any] = {"subject": "torch.nn:Linear(4096, 4096)", "input": "4096"}
    found = []
    each: tuple[tuple[Literal["process", "session"], int], ...]
    each = (("process", 4096), ("session", 2048), ("session", 4096))
    for isolation, batch in each:
        folders = Folders(scratch=tmp_path, failures=tmp_path / "failures")
        own = {"device": NAME, "threads": None, "allocator": None, "cudnn_benchmark": "off"}
        one = case(**{**own, "tf32": "off", "batch": batch, **busy})
        wish = request("measure", one, 0, RunOptions(samples_s=0.2, isolation=isolation), folders)
        found.append(collect(wish, session.ask(wish), folders))
    alone, first, second = found
    assert isinstance(alone, Measurement), alone
    assert isinstance(first, Measurement), first
    assert isinstance(second, Measurement), second
    assert first.metrics["process_start_s"] > 0
    assert second.state["earlier_cases"] == 1
    assert "process_start_s" not in second.metrics

    def pipelined_s(one: Measurement) -> float:
        (samples,) = [
            row for row in one.samples if (row.phase, row.kind) == ("forward", "pipelined")
        ]
        return statistics.median(samples.times_s)

    assert pipelined_s(second) == pytest.approx(pipelined_s(alone), rel=0.1)


HOLDS = """
import os, sys
from bench.host.gpu_driver import kept_loaded

with kept_loaded(["cuda:0"]):
    assert "pynvml" in sys.modules
    import torch
    child = os.fork()
    if child == 0:
        torch.ones(9, device="cuda:0").sum().item()
        os._exit(0)
    sys.exit(os.waitpid(child, 0)[1] != 0)
"""


@needs_nvidia
def test_a_fork_of_a_process_that_keeps_the_driver_loaded_can_use_the_gpu() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLDS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@needs_cuda
def test_a_phase_of_a_step_and_its_whole_agree(session: ForkServer, tmp_path: Path) -> None:
    found = asked(session, tmp_path, "measure", mode="training", batch=32)
    assert isinstance(found, Measurement)
    medians = {
        one.phase: statistics.median(one.times_s) for one in found.samples if one.kind == "device"
    }
    parts = sum(medians[name] for name in ("forward", "backward", "optimizer"))
    assert parts == pytest.approx(medians["step"], rel=0.05)


def test_a_profile_sees_the_kernels_and_what_bounds_the_step(
    tmp_path: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large products, back to back: device-bound, and busy as long as the events say."""
    if not device.has_events:
        pytest.skip("its events tell the host's time")
    if torch_private.profiler_activity(device.type) is None:
        pytest.skip("torch's profiler does not see its kernels")
    monkeypatch.setattr(limits, "allow_writing", lambda: None)
    asked = Request(
        job="profile",
        case=case(
            subject="torch.nn:Linear(4096, 4096)",
            input="4096",
            batch=4096,
            mode="training",
            device=NAME,
            threads=None,
            allocator=None,
        ),
        replicate=0,
        calls=None,
        budget=Budget(),
        cache=str(tmp_path),
        out=str(tmp_path / "x.profile.json"),
        log=str(tmp_path / "log"),
        timeout_s=60.0,
    )
    profile.run(asked)
    found = json.loads((profile.folder_of(asked.out) / profile.FOUND).read_text())
    assert found["kernels"]
    assert found["device"]["bound_by"] == "device"
    assert found["device"]["busy_s"] == pytest.approx(found["device"]["event_s"], rel=0.1)
    host = found["host"]  # the profiler takes next to nothing of products that long
    assert host["profiled_s"] == pytest.approx(host["unprofiled_s"], rel=0.1)
    (network,) = [row for row in found["layers"] if row["layer"] == "(network)"]
    # One product each: the input needs no gradient.
    assert network["backward_device_s"] == pytest.approx(network["forward_device_s"], rel=0.25)
    assert network["forward_device_s"] > 0
    owned_s = sum(row["device_s"] for row in found["layers"])
    assert owned_s == pytest.approx(found["device"]["busy_s"], rel=1e-6)
    assert found["memory"]["bytes"]["parameters"][0] == 4 * (4096 * 4096 + 4096)
    assert not [one for one in found["notes"] if "allocator" in one]
    if device.type == "cuda":
        file = profile.folder_of(asked.out) / profile.SNAPSHOT
        traces = pickle.loads(file.read_bytes())["device_traces"]
        actions = [one for trace in traces for one in trace]
        output_bytes = 4 * 4096 * 4096
        assert output_bytes in {one["size"] for one in actions if one["action"] == "alloc"}
        assert any(one.get("frames") for one in actions)


# --- what was asked for is proven --------------------------------------------------------------


@pytest.mark.slow
@needs_cuda
def test_a_network_of_which_no_cuda_graph_can_be_recorded_is_invalid(
    session: ForkServer, tmp_path: Path
) -> None:
    found = asked(
        session,
        tmp_path,
        "measure",
        subject="tests.subjects.not_captured:Doubles",
        input="4",
        batch=2,
        compile="reduce-overhead",
    )
    assert isinstance(found, Failure), found
    assert found.status == "invalid"
    assert "CUDA graph" in found.reason


@pytest.mark.slow
@needs_tf32
@pytest.mark.parametrize(("override", "asked_for"), [("1", "off"), ("0", "on")])
def test_a_variable_that_overrules_tf32_makes_the_row_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, asked_for: str
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    one = ForkServer(allocator=None, modules=["torch.nn"], inductor=False, log=tmp_path / "log")
    try:
        found = asked(one, tmp_path, "measure", tf32=asked_for, **SMALL)
        agrees = "on" if asked_for == "off" else "off"
        right = asked(one, tmp_path, "measure", tf32=agrees, **SMALL)
    finally:
        one.close()
    assert isinstance(found, Failure), found
    assert found.status == "invalid"
    assert f"NVIDIA_TF32_OVERRIDE={override} overrules the flags" in found.reason
    assert isinstance(right, Measurement), right


@pytest.mark.slow
@needs_nvidia
def test_a_driver_that_another_library_began_leaves_the_cases_measurable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As cupy and triton do, past torch, which knows nothing of it."""
    module = tmp_path / "begins_cuda.py"
    module.write_text("import ctypes\nctypes.CDLL('libcuda.so.1').cuInit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    place = Place(path=(tmp_path, ROOT))
    log = tmp_path / "log"
    one = ForkServer(
        allocator=None, modules=["begins_cuda", "torch.nn"], inductor=False, log=log, place=place
    )
    try:
        found = asked(one, tmp_path, "measure", **SMALL)
    finally:
        one.close()
    assert isinstance(found, Measurement), found
    assert one.unshared == {"begins_cuda"}


# --- events ---------------------------------------------------------------------------------------


@pytest.mark.skipif(NAME.partition(":")[0] not in ("cuda", "xpu"), reason="needs CUDA or XPU")
def test_the_events_of_a_gpu_are_trusted_each_time_and_the_trial_is_short() -> None:
    """Both stamp events on the device, so that a doubt would be a fault of the trial."""
    open_device(NAME)
    took_s = []
    for _ in range(20):
        start = time.perf_counter()
        found = open_device(NAME)
        took_s.append(time.perf_counter() - start)
        assert found.events_doubt is None
        assert found.has_events
    assert statistics.median(took_s) < 0.3


# --- the CPU's own rows ---------------------------------------------------------------------------


@pytest.mark.slow
@needs_cuda
def test_a_row_on_the_cpu_is_measured_in_a_process_that_sees_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "counts_gpus.py"
    module.write_text(
        "import torch\n\n\nclass Counts(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        assert torch.cuda.device_count() == 0\n"
        "        super().__init__(4, 4)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    log = tmp_path / "log"
    one = ForkServer(
        allocator="retained",
        modules=["torch.nn"],
        inductor=False,
        log=log,
        place=Place(path=(tmp_path, ROOT)),
        cpu_only=True,
    )
    on_cpu: dict[str, Any] = {"device": "cpu", "threads": "auto", "allocator": "retained"}
    on_cpu |= {"cudnn_benchmark": None, "tf32": None}
    try:
        found = asked(
            one,
            tmp_path,
            "measure",
            subject="counts_gpus:Counts",
            input="4",
            batch=2,
            mode="training",
            **on_cpu,
        )
    finally:
        one.close()
    assert isinstance(found, Measurement), found


@needs_nvidia
def test_controls_that_find_no_memory_on_a_gpu_are_given_up_in_its_own_words(
    device: Device,
) -> None:
    device.empty_cache()
    index = torch.device(NAME).index or 0
    total = torch.cuda.get_device_properties(index).total_memory
    room = torch.cuda.memory_reserved(index) + 4 * 2**20  # the controls need 20 MB
    torch.cuda.set_per_process_memory_fraction(room / total, index)
    try:
        controls = reference_work.Controls(
            NAME, device, why_no_memory=lambda error: out_of_memory.reason(error, str(error))
        )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, index)
    assert str(controls.left_out).startswith("CUDA out of memory")
    assert controls.times_s == {}
    assert reference_work.Controls(NAME, device).left_out is None


@needs_cuda
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_float64_that_takes_the_cpu_long_is_computed_on_the_gpu(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu: dict[str, Any] = {"subject": "convnet", "mode": mode, "batch": 4, "device": NAME}
    one = case(**on_gpu, threads=None, allocator=None)
    before = cuda.precisions()
    on_cpu = reference.of_whole(one)
    monkeypatch.setattr(reference, "ON_CPU_S", 0.0)
    found = reference.of_whole(one)
    assert (on_cpu.device, found.device) == ("cpu", NAME)
    assert cuda.precisions() == before
    for group, tensors in on_cpu.values.groups.items():
        for a, b in zip(tensors, found.values.groups[group], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
        if group in on_cpu.rounding:  # float32 was IEEE's, or its error would be 1000 times that
            assert found.rounding[group] < 30 * on_cpu.rounding[group] + 1e-12
    others = reference.witnesses(one, prepare(one), "tf32", ["output"], NAME)
    assert len(others) == reference.WITNESSES
