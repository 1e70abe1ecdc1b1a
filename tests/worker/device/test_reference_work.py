"""The controls, on a device that only counts."""

import math

import pytest
import torch

from bench.worker.device.reference_work import Controls
from tests.support.fake_device import FakeDevice


class Looks:
    """A clock that moves by a second a look, so that a control takes what lies between two."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def test_each_call_leaves_one_figure_of_each_control() -> None:
    controls = Controls("cpu", FakeDevice(), Looks())
    assert controls.times_s == {"matmul": [], "copy": [], "convolution": []}  # none of the first
    controls()
    controls()
    assert controls.times_s == {name: [1.0, 1.0] for name in ("matmul", "copy", "convolution")}


def test_the_time_of_the_controls_has_their_first_and_untimed_calls_in_it() -> None:
    controls = Controls("cpu", FakeDevice(), Looks())
    assert controls.spent_s == 7.0  # two looks a control, and the last one
    controls()
    assert controls.spent_s == 14.0


def test_the_device_is_idle_when_a_control_begins_and_when_it_ends() -> None:
    device = FakeDevice()
    controls = Controls("cpu", device)
    before = device.waits
    controls()
    assert device.waits - before == 2 * 3


def test_controls_leave_the_random_numbers_of_the_case_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    Controls("cpu", FakeDevice())()
    assert torch.equal(torch.rand(3), expected)


def test_controls_that_never_ran_have_no_figure() -> None:
    controls = Controls("cpu", FakeDevice())
    assert all(math.fsum(times) == 0 for times in controls.times_s.values())


@pytest.mark.parametrize("room_for", [0, 1, 7])  # first calls, and rounds of the three controls
def test_controls_for_which_memory_is_too_small_are_given_up_and_say_why(
    monkeypatch: pytest.MonkeyPatch, room_for: int
) -> None:
    left, real = [room_for], torch.mm

    def product(*args: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        if not left[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
        left[0] -= 1
        return real(*args, out=out)

    monkeypatch.setattr(torch, "mm", product)
    controls = Controls("cpu", FakeDevice(), why_no_memory=str)
    for _ in range(4):
        controls()
    assert controls.left_out == "CUDA out of memory. Tried to allocate 2.00 MiB"
    assert controls.times_s == {}


def test_controls_that_fail_for_another_reason_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: torch.Tensor, **__: torch.Tensor) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch, "mm", fails)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Controls("cpu", FakeDevice())
