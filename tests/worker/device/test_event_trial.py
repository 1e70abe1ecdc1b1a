"""Events are trusted by a trial; the devices and their clocks are made up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import pytest
import torch

from bench.worker.device import event_trial
from tests.support.fake_device import FakeDevice, FakeEvent

WORKS_S = (1e-5, 4e-5, 2e-4, 1e-3)


def doubt(device: FakeDevice, works_s: tuple[float, ...] = WORKS_S) -> str | None:
    def work(work_s: float) -> Callable[[], object]:
        return lambda: device.submit(work_s)

    return event_trial.doubt(device, map(work, works_s), device.clock)


@dataclass(slots=True)
class Changed(FakeEvent):
    """An event that tells another time than that at which the device passes it."""

    told_s: float = 0.0
    unit: float = 1.0

    def seconds_until(self, later: Self) -> float:
        FakeEvent.seconds_until(self, later)
        return (later.told_s - self.told_s) * self.unit


class Other(FakeDevice):
    """A device whose events are as told.

    late_s: after the device has passed it, in turn.
    """

    def __init__(
        self, *, on_host: bool = False, unit: float = 1.0, late_s: tuple[float, ...] = (0.0,)
    ) -> None:
        super().__init__()
        self.on_host, self.unit, self.late_s, self.made = on_host, unit, late_s, 0

    def event(self) -> FakeEvent:
        at_s = max(self.now_s, self.free_s)
        told_s = self.now_s if self.on_host else at_s + self.late_s[self.made % len(self.late_s)]
        self.made += 1
        return Changed(device=self, at_s=at_s, told_s=told_s, unit=self.unit)


def test_events_that_the_device_stamps_are_trusted() -> None:
    assert doubt(FakeDevice()) is None
    assert doubt(Other()) is None
    assert doubt(Other(late_s=(0.0, 5e-7))) is None  # what an event can resolve


@pytest.mark.parametrize("unit", [0.0, 1e-3, 1e3, 0.93, 1.08, -1.0])
def test_events_in_another_unit_are_not_trusted(unit: float) -> None:
    assert "by the host's clock" in str(doubt(Other(unit=unit)))


def test_events_that_are_stamped_when_they_are_recorded_are_not_trusted() -> None:
    assert "by the host's clock" in str(doubt(Other(on_host=True)))


def test_events_that_a_listener_stamps_are_not_trusted_though_their_sums_are_right() -> None:
    for late_s in ((1e-5, 8e-5, 3e-5, 1.2e-4, 2e-5), (0.0, 4e-5)):
        said = doubt(Other(late_s=late_s))
        assert "they scatter by" in str(said)
        assert "the host stamps them when it hears of them" in str(said)


def test_events_that_are_right_on_an_idle_device_alone_are_not_trusted() -> None:
    class SecondWaits(Other):
        """The second event after a wait blocks until the work before it is done."""

        since_wait = 0

        def wait(self) -> None:
            super().wait()
            self.since_wait = 0

        def event(self) -> FakeEvent:
            self.since_wait += 1
            if self.since_wait == 2:
                super().wait()
            return super().event()

    said = doubt(SecondWaits(on_host=True))
    assert "behind a busy queue" in str(said)
    assert "they are stamped when they are recorded" in str(said)


def test_one_disturbance_of_the_host_is_no_fault_of_the_events() -> None:
    class Disturbed(FakeDevice):
        def wait(self) -> None:
            super().wait()
            if self.waits % 3 == 0:
                self.now_s += 0.01  # the host was doing something else

    assert doubt(Disturbed()) is None


def test_another_process_that_shares_the_device_for_a_while_is_no_fault_of_the_events() -> None:
    class Shared(FakeDevice):
        """Another one takes its turns among the pieces of the first try behind a busy queue."""

        made = 0

        def submit(self, work_s: float) -> None:
            self.made += 1
            # Before it: six waits to find a piece of work, four of nothing, ten of the host's.
            first_try = self.waits == 21
            super().submit(work_s * (1.0, 1.3, 1.6)[self.made % 3] if first_try else work_s)

    shared = Shared()
    assert doubt(shared) is None
    assert shared.waits == 24  # a second try was made


def test_a_device_whose_work_is_shorter_than_its_launch_proves_nothing() -> None:
    assert "longer than to launch it" in str(doubt(FakeDevice(), (1e-6, 2e-6)))


def test_the_trial_takes_less_than_a_third_of_a_second_of_the_devices_time() -> None:
    for launch_s in (1e-6, 1e-5, 1e-4):
        device = FakeDevice(launch_s=launch_s)
        start = device.now_s
        assert doubt(device, tuple(1e-5 * 4**power for power in range(8))) is None
        assert device.now_s - start < 0.3


def test_the_works_of_a_trial_are_refused_by_no_setting_and_leave_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    stood = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        works = [work for _, work in zip(range(3), event_trial.scans("cpu"), strict=False)]
        for work in works:
            work()
    finally:
        torch.use_deterministic_algorithms(stood)
    assert len(works) == 3
    assert torch.equal(torch.rand(3), expected)
