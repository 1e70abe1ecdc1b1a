"""The path of a GPU, from the opening of the device to the figures, on one that behaves like it.

Every wait on that path, if it is deleted, fails a test here or in
tests/worker/timing/test_call_timing.py.
"""

import math
import re
import statistics
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.ab.pair_journal import pair_of
from bench.core.protocol import Budget
from bench.core.records import Measurement
from bench.verdict.paired_test import pair_value
from bench.worker.device import cuda
from bench.worker.device.device import Device, DeviceError, open_device
from bench.worker.device.reference_work import Controls
from bench.worker.jobs import count_static_metrics
from bench.worker.jobs.interleaved import InterleavedSampler
from bench.worker.model.build import Prepared
from bench.worker.model.loss import FixedGradient
from bench.worker.model.step import InferenceStep, TrainingStep
from bench.worker.timing import call_timing
from tests.support.cases import PLAIN, case
from tests.support.fake_accelerator import LAUNCH_S, NAME, Layer, Machine, Stamps, install

X = torch.zeros(2, 4)
BUDGET = Budget(warmup_s=0.05, samples_s=0.1)  # of the made-up clock


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return install(monkeypatch)


def opened(machine: Machine) -> Device:
    device = open_device(NAME)
    assert machine.queues[1].initialised
    return device


def inference(machine: Machine, **costs: Any) -> InferenceStep:
    layer = Layer(machine, **costs).eval()
    return InferenceStep(layer, (X,), {}, device_type="cpu")


def training(machine: Machine, **costs: Any) -> TrainingStep:
    layer = Layer(machine, **costs).train()
    loss = FixedGradient(scaled=False)
    return TrainingStep(layer, (X,), {}, loss=loss, device_type="cpu")


def median(times: call_timing.Timing, phase: str, kind: str) -> float:
    (found,) = [one for one in times.samples if (one.phase, one.kind) == (phase, kind)]
    return statistics.median(found.times_s)


def measured(step: Any, device: Device, machine: Machine) -> call_timing.Timing:
    call_timing.first_call(step, device, machine.clock)
    return call_timing.measure(step, device, BUDGET, machine.clock, resolution_s=1e-9)


def test_the_device_that_is_opened_is_the_one_asked_for_and_has_events(machine: Machine) -> None:
    device = opened(machine)
    assert (device.name, device.type) == ("cuda:1", "cuda")
    assert device.has_events
    assert device.events_doubt is None
    assert not device.synchronous
    assert not machine.queues[0].initialised  # the current one was left alone


@pytest.mark.usefixtures("machine")
def test_opening_waits_so_that_a_device_that_cannot_be_waited_for_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no such backend")

    monkeypatch.setattr(torch.accelerator, "synchronize", fails)
    with pytest.raises(DeviceError, match="cannot be waited for"):
        open_device(NAME)


@pytest.mark.parametrize(
    ("stamps", "words"),
    [
        ("host", "they tell .* ms for work of .* ms by the host's clock"),
        ("listener", "the host stamps them when it hears of them"),
        ("microseconds", "they tell .* ms for work of .* ms by the host's clock"),
        ("zero", "they tell 0 ms for work of"),
        ("raises", "they raise NotImplementedError: no events on this backend"),
    ],
)
def test_events_that_tell_no_device_time_are_found_out_and_the_device_has_host_times(
    monkeypatch: pytest.MonkeyPatch, stamps: Stamps, words: str
) -> None:
    machine = install(monkeypatch, stamps)
    device = opened(machine)  # else the wait for it returned at once, and nobody noticed
    assert not device.has_events
    assert re.search(words, str(device.events_doubt))
    times = measured(inference(machine, forward_s=0.001), device, machine)
    assert {one.kind for one in times.samples} == {"latency", "pipelined"}


def test_the_cpu_is_opened_without_a_look_at_the_accelerators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loads_a_driver(**_: object) -> None:
        raise AssertionError("its memory would count as that of the case")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", loads_a_driver)
    assert open_device("cpu").name == "cpu"


def test_the_first_call_has_all_of_its_work_and_nothing_of_what_was_queued_before(
    machine: Machine,
) -> None:
    device = opened(machine)
    step = inference(machine, forward_s=0.001, slow_first_s=0.5)
    machine.submit(3.0)  # what building and moving the weights left in the queue
    first_s = call_timing.first_call(step, device, machine.clock)
    assert first_s == pytest.approx(0.501 + LAUNCH_S)


def test_one_call_takes_launch_and_work_and_calls_in_a_row_hide_the_launches(
    machine: Machine,
) -> None:
    times = measured(inference(machine, forward_s=0.001), opened(machine), machine)
    assert median(times, "forward", "latency") == pytest.approx(0.001 + LAUNCH_S)
    assert median(times, "forward", "pipelined") == pytest.approx(0.001, rel=0.01)
    # The queue is empty when the first event comes, so that its window holds a launch (rule 2).
    assert median(times, "forward", "device") == pytest.approx(0.001 + LAUNCH_S)


class Waiting(Layer):
    """Asks for a number at the end of its forward, as `.item()` does."""

    def forward(self, x: torch.Tensor) -> Any:
        out = super().forward(x)
        self.machine.synchronize(1)
        return out


def test_a_wait_at_the_end_of_a_forward_is_seen_in_what_turns_take_back_to_back(
    machine: Machine,
) -> None:
    taken = []
    for kind in (Layer, Waiting):
        step = InferenceStep(kind(machine, forward_s=3e-5).eval(), (X,), {}, device_type="cpu")
        sampler = InterleavedSampler(
            step, opened(machine), NoMeter(), machine.clock, lambda _: None
        )
        turn = sampler.turn(50, 20)
        entry = Measurement(case=PLAIN, replicate=0, samples=tuple(turn))
        taken.append(entry)
    pair = pair_of("first", 0, "a", *taken)
    assert set(pair.samples) == {"forward", "forward, back-to-back"}
    single, in_a_row = (pair_value(*both) for both in pair.samples.values())
    assert single == pytest.approx(0.0, abs=1e-6)
    assert in_a_row == pytest.approx(math.log(4 / 3), rel=0.01)  # launch and work, one by one


class NoMeter:
    def start(self) -> None: ...

    def stop(self) -> None: ...


def test_calls_that_are_bound_by_their_launches_are_seen_as_such(machine: Machine) -> None:
    times = measured(inference(machine, forward_s=1e-6), opened(machine), machine)
    assert median(times, "forward", "pipelined") == pytest.approx(LAUNCH_S, rel=0.01)
    assert median(times, "forward", "device") == pytest.approx(1e-6 + LAUNCH_S, rel=0.01)


def test_phases_are_told_by_events_alone_and_make_up_the_step(machine: Machine) -> None:
    step = training(machine, forward_s=0.002, backward_s=0.005)
    times = measured(step, opened(machine), machine)
    kinds = {(one.phase, one.kind) for one in times.samples}
    assert ("forward", "latency") not in kinds  # it would be the time of the launch
    phases = [median(times, name, "device") for name in ("forward", "backward", "optimizer")]
    assert phases[0] == pytest.approx(0.002, rel=0.02)
    assert phases[1] == pytest.approx(0.005, rel=0.02)
    assert sum(phases) == pytest.approx(median(times, "step", "device"))
    assert median(times, "step", "latency") == pytest.approx(0.007, rel=0.01)


class Copying(InferenceStep):
    """Restoring an input is work on the device, and no part of a sample."""

    machine: Machine

    def prepare(self, calls: int) -> int:
        self.machine.submit(0.02 * calls)
        return super().prepare(calls)


def test_work_that_was_queued_before_a_sample_is_not_in_it(machine: Machine) -> None:
    step = Copying(Layer(machine, forward_s=0.001).eval(), (X,), {}, device_type="cpu")
    step.machine = machine
    times = measured(step, opened(machine), machine)
    assert median(times, "forward", "latency") == pytest.approx(0.001 + LAUNCH_S)
    assert median(times, "forward", "pipelined") == pytest.approx(0.001, rel=0.01)
    assert median(times, "forward", "device") == pytest.approx(0.001)


def test_controls_take_what_they_take_on_the_device_whatever_the_case_left_there(
    machine: Machine,
) -> None:
    device = opened(machine)
    controls = Controls("cpu", device, machine.clock)
    for name in controls._works:
        controls._works[name] = lambda: machine.submit(0.003)
    machine.submit(1.0)
    controls()
    assert [times[-1] for times in controls.times_s.values()] == pytest.approx(
        [0.003 + LAUNCH_S] * 3
    )


def peak(device: Device, step: Any) -> dict[str, float]:
    prepared = Prepared(
        module=step._module,
        args=(X,),
        kwargs={},
        loss=FixedGradient(scaled=False),
        restore=False,
    )
    one = case(device=NAME, threads=None, allocator=None)
    return dict(count_static_metrics.peak(step, prepared, one, device))


def test_the_peak_is_that_of_the_call_and_not_of_what_ran_before(machine: Machine) -> None:
    device = opened(machine)
    step = inference(machine, forward_s=0.001, bytes_=1_000)
    machine.submit(0.1, bytes_=1_000_000)  # warm-up that is still in the queue
    found = peak(device, step)
    assert found["peak_bytes"] == 1_000 + machine.queues[1].held
    assert found["reserved_bytes"] == 1_000 + machine.queues[1].held


# --- inputs that no cache holds (rule 17) ----------------------------------------------------


class Seen(nn.Module):
    """Remembers where its input lies."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.places.append(x.data_ptr())
        return x * 2


def test_a_layers_inputs_take_turns_until_they_exceed_what_a_cache_holds() -> None:
    layer = Seen().eval()
    x = torch.zeros(8)  # 32 bytes
    step = InferenceStep(layer, (x,), {}, device_type="cpu", rotate_bytes=100)
    assert step.cold
    for _ in range(8):
        step()
    assert len(set(layer.places)) == 4  # 128 bytes
    assert layer.places[:4] == layer.places[4:]


def test_a_large_input_has_one_other_at_least() -> None:
    layer = Seen().eval()
    step = InferenceStep(layer, (torch.zeros(1000),), {}, device_type="cpu", rotate_bytes=100)
    for _ in range(4):
        step()
    assert len(set(layer.places)) == 2


def test_a_model_is_hot() -> None:
    layer = Seen().eval()
    step = InferenceStep(layer, (X,), {}, device_type="cpu")
    step()
    step()
    assert not step.cold
    assert len(set(layer.places)) == 1


def test_an_input_that_would_need_too_many_turns_stays_hot_and_says_so() -> None:
    layer = Seen().eval()  # X has 32 bytes
    most = InferenceStep(layer, (X,), {}, device_type="cpu", rotate_bytes=32 * 4096 - 1)
    assert most.cold
    assert not InferenceStep(layer, (X,), {}, device_type="cpu", rotate_bytes=32 * 4096).cold


class Operators(TorchDispatchMode):
    """Every operator, with the tensor that comes first."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if args and isinstance(args[0], torch.Tensor):
            self.seen.append((func.overloadpacket.__name__, args[0]))
        return func(*args, **(kwargs or {}))


def test_a_restored_input_is_driven_out_of_the_cache_before_the_call() -> None:
    layer = nn.ReLU(inplace=True).eval()
    step = InferenceStep(layer, (X,), {}, device_type="cpu", restore=True, rotate_bytes=100)
    assert step.cold
    with Operators() as run:
        step.prepare(3)
    names = [name for name, _ in run.seen]
    assert names.count("copy_") == 3
    assert names[-1] == "zero_"  # after the last copy
    assert run.seen[-1][1].nbytes == 100
    hot = InferenceStep(layer, (X,), {}, device_type="cpu", restore=True)
    assert not hot.cold
    with Operators() as run:
        hot.prepare(3)
    assert "zero_" not in [name for name, _ in run.seen]


def test_inputs_that_take_turns_keep_strides_and_gradients_and_lose_them_after_each_step() -> None:
    x = torch.zeros(4, 2, requires_grad=True).t().detach().requires_grad_()
    seen: list[torch.Tensor] = []
    layer = nn.Linear(4, 4)
    step = TrainingStep(
        layer, (x,), {}, loss=FixedGradient(scaled=False), device_type="cpu", rotate_bytes=100
    )
    for _ in range(5):
        step(observe=lambda inputs, _loss: seen.append(inputs[0][0]))
    assert {one.stride() for one in seen} == {(1, 2)}
    assert all(one.requires_grad and one.grad is None for one in seen)
    assert len({one.data_ptr() for one in seen}) == 4


def test_the_cache_of_what_is_no_cuda_device_is_unknown() -> None:
    assert cuda.l2_bytes("cpu") is None
    assert cuda.l2_bytes("xpu:0") is None
