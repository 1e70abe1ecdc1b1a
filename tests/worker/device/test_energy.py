"""Energy of a call, by a counter that behaves."""

import dataclasses
import itertools

import pytest

from bench.worker.device import energy
from bench.worker.device.nvidia import GpuSnapshot
from tests.worker.device.test_gpu_monitor import COOL


class Counter:
    """A GPU whose looks come half a second and 50 J apart."""

    def __init__(self, energy_j: float | None = 0.0) -> None:
        self.looks = 0
        self.energy_j = energy_j

    def snapshot(self) -> GpuSnapshot:
        self.looks += 1
        energy_j = None if self.energy_j is None else self.looks * 50.0
        return dataclasses.replace(COOL, at_s=self.looks * 0.5, energy_j=energy_j)


def test_energy_is_counted_over_two_seconds_or_longer() -> None:
    calls: list[None] = []
    found = energy.energy_j_per_call(Counter(), lambda: calls.append(None), lambda: None)  # type: ignore[arg-type]
    assert len(calls) == 1 + 3 + 4 + 2  # four spans of half a second, as many as would fit in each
    assert found == 4 * 50.0 / 10


class Busy:
    """A GPU whose time moves as it is called, with 50 J a call."""

    def __init__(self, call_s: float) -> None:
        self.calls, self.call_s = 0, call_s

    def call(self) -> None:
        self.calls += 1

    def snapshot(self) -> GpuSnapshot:
        return dataclasses.replace(COOL, at_s=self.calls * self.call_s, energy_j=50.0 * self.calls)


@pytest.mark.parametrize(("call_s", "calls"), [(12.0, 1), (2.0, 1), (0.9, 3), (0.3, 7)])
def test_a_slow_call_is_made_no_more_often_than_two_seconds_need(call_s: float, calls: int) -> None:
    gpu = Busy(call_s)
    assert energy.energy_j_per_call(gpu, gpu.call, lambda: None) == 50.0  # type: ignore[arg-type]
    assert gpu.calls == calls


def test_a_short_call_is_made_sixteen_times_at_most_without_a_wait() -> None:
    gpu, between = Busy(1e-3), [0]
    energy.energy_j_per_call(gpu, gpu.call, lambda: between.append(gpu.calls))  # type: ignore[arg-type]
    assert max(after - before for before, after in itertools.pairwise(between)) == 16
    assert 2000 <= gpu.calls <= 2001


def test_the_gpu_is_idle_when_its_energy_is_read() -> None:
    order: list[str] = []

    class Noted(Counter):
        def snapshot(self) -> GpuSnapshot:
            order.append("look")
            return super().snapshot()

    energy.energy_j_per_call(Noted(), lambda: order.append("call"), lambda: order.append("wait"))  # type: ignore[arg-type]
    looks = [place for place, what in enumerate(order) if what == "look"]
    assert [order[place - 1] for place in looks] == ["wait"] * 5


def test_without_a_counter_there_is_no_energy_and_nothing_is_called() -> None:
    calls: list[None] = []
    found = energy.energy_j_per_call(Counter(None), lambda: calls.append(None), lambda: None)  # type: ignore[arg-type]
    assert (found, calls) == (None, [])
