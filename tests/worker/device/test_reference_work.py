"""The controls, on a device that only counts."""

import math

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


def test_the_device_is_idle_when_a_control_begins_and_when_it_ends() -> None:
    device = FakeDevice()
    controls = Controls("cpu", device)
    before = device.waits
    controls()
    assert device.waits - before == 2 * 3


def test_controls_leave_the_random_numbers_of_the_case_alone() -> None:
    import torch

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    Controls("cpu", FakeDevice())()
    assert torch.equal(torch.rand(3), expected)


def test_controls_that_never_ran_have_no_figure() -> None:
    controls = Controls("cpu", FakeDevice())
    assert all(math.fsum(times) == 0 for times in controls.times_s.values())
