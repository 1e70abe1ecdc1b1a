"""Counts over the samples of a case, per call; and the power of the packages."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.host.rapl import Rapl
from bench.worker.counting.meter import CountingMeter, PowerMeter
from bench.worker.timing.contention import Meter, Snapshot


@dataclass
class FakeCounters:
    answers: list[dict[str, float]]
    running: bool = False

    def start(self) -> None:
        assert not self.running
        self.running = True

    def stop(self) -> dict[str, float]:
        assert self.running
        self.running = False
        return self.answers.pop(0)


def quiet() -> Snapshot:
    return Snapshot(at_s=1.0, run_wait_ns=None, page_faults=None, involuntary_switches=None)


def counting(counters: Any) -> CountingMeter:
    return CountingMeter(Meter(quiet), counters)


def test_counts_of_all_blocks_are_divided_by_the_calls() -> None:
    meter = counting(
        FakeCounters([{"instructions": 600.0, "cycles": 300.0}, {"instructions": 400.0}])
    )
    for _ in range(2):
        meter.start()
        meter.stop()
    found = meter.columns(10)
    assert found["instructions"] == 100
    assert found["cycles"] == 30


def test_without_counters_there_are_no_columns_of_them() -> None:
    meter = counting(None)
    meter.start()
    meter.stop()
    assert meter.columns(10).keys().isdisjoint({"instructions", "cycles"})
    zero = counting(FakeCounters([{"instructions": 0.0}]))
    zero.start()
    zero.stop()
    assert "instructions" not in zero.columns(10)


@dataclass
class FakeRapl(Rapl):
    readings: list[float | None] = field(default_factory=list)

    def energy_j(self) -> float | None:
        return self.readings.pop(0)


@pytest.mark.parametrize(
    ("readings", "span_s", "columns"),
    [
        ([10.0, 30.0], 2.0, {"power_w": 10.0}),
        ([10.0, 30.0], 0.05, {}),  # too short to say anything
        ([10.0, 10.0], 2.0, {}),  # it stands still: virtual machines show such counters
        ([None, 30.0], 2.0, {}),
        ([10.0, None], 2.0, {}),
    ],
)
def test_power_is_energy_by_time(
    readings: list[float | None], span_s: float, columns: dict[str, float]
) -> None:
    times = [5.0, 5.0 + span_s]
    meter = PowerMeter(FakeRapl(readings=readings), clock=lambda: times.pop(0))
    meter.start()
    meter.stop()
    assert meter.columns() == columns


def test_without_rapl_there_is_no_power() -> None:
    meter = PowerMeter(None)
    meter.start()
    meter.stop()
    assert meter.columns() == {}
