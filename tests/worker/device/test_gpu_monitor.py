"""The driver's view of a GPU around the samples, and the times of the looks."""

import dataclasses
import os
from typing import Any

import pytest

from bench.worker.device import gpu_monitor, nvidia
from bench.worker.device.gpu_monitor import contended, throttled
from bench.worker.device.nvidia import GpuSnapshot, ProcessSample

COOL = GpuSnapshot(
    at_s=10.0,
    energy_j=100.0,
    sm_clock_hz=1.5e9,
    power_w=300.0,
    temperature_c=60.0,
    utilization_ratio=0.9,
    hot_s=5.0,
    faulty=False,
    contexts=frozenset({7}),
    samples=(ProcessSample(7, 100, 0.9),),
)


def later(**changes: Any) -> GpuSnapshot:
    return dataclasses.replace(COOL, **{"at_s": 11.0, **changes})


def test_time_lost_to_heat_is_throttled_from_a_hundredth_on() -> None:
    assert throttled(COOL, later(hot_s=5.02)) is True
    assert throttled(COOL, later(hot_s=5.005)) is False
    assert throttled(COOL, later()) is False


def test_a_fault_at_either_look_is_throttled() -> None:
    assert throttled(COOL, later(faulty=True)) is True
    assert throttled(dataclasses.replace(COOL, faulty=True), later()) is True


def test_what_the_driver_does_not_count_is_unknown() -> None:
    assert throttled(dataclasses.replace(COOL, hot_s=None, faulty=None), later()) is None
    assert throttled(dataclasses.replace(COOL, hot_s=None), later()) is False


def used(*samples: tuple[int, int, float]) -> tuple[ProcessSample, ...]:
    """By process, time, and share of the period."""
    return tuple(ProcessSample(*one) for one in samples)


def disturbed(before: GpuSnapshot, after: GpuSnapshot, was_busy: bool | None = None) -> bool | None:
    return contended(before, after, was_busy=was_busy, own=7)


BOTH = dataclasses.replace(COOL, contexts=frozenset({7, 8}))


def test_an_idle_context_of_another_process_disturbs_nothing() -> None:
    after = later(contexts=BOTH.contexts, samples=used((7, 200, 0.9)))
    assert disturbed(BOTH, after) is False
    assert gpu_monitor.other_contexts(after, own=7) == 1


def test_a_process_whose_kernels_ran_meanwhile_disturbs_from_a_tenth_of_the_time_on() -> None:
    for share, wanted in ((0.1, True), (0.09, False)):
        after = later(contexts=BOTH.contexts, samples=used((7, 200, 0.9), (8, 200, share)))
        assert disturbed(BOTH, after) is wanted


def test_a_process_that_came_meanwhile_disturbs_where_it_computes() -> None:
    idle = later(contexts=BOTH.contexts, samples=used((7, 200, 0.9)))
    busy = later(contexts=BOTH.contexts, samples=used((7, 200, 0.9), (8, 200, 0.5)))
    assert disturbed(COOL, idle) is False
    assert disturbed(COOL, busy) is True


def test_the_last_period_of_a_process_that_had_ended_disturbs_nothing() -> None:
    before = dataclasses.replace(COOL, samples=used((6, 90, 0.9), (7, 100, 0.2)))
    assert disturbed(before, later(samples=used((6, 110, 0.9), (7, 200, 0.9)))) is False
    unknown = dataclasses.replace(before, contexts=None)
    assert disturbed(unknown, later(samples=used((6, 110, 0.9), (7, 200, 0.9)))) is True


def test_in_a_container_one_of_the_unknown_ids_is_ones_own() -> None:
    before = dataclasses.replace(COOL, contexts=frozenset({4001, 4002}), samples=())
    one = later(contexts=before.contexts, samples=used((4001, 200, 0.9)))
    two = later(contexts=before.contexts, samples=used((4001, 200, 0.5), (4002, 200, 0.5)))
    assert disturbed(before, one) is False
    assert disturbed(before, two) is True
    assert gpu_monitor.other_contexts(two, own=7) == 1


UNTOLD = dataclasses.replace(COOL, samples=None)


@pytest.mark.parametrize("samples", [None, ()])
def test_where_no_process_use_is_told_a_new_context_or_a_gpu_busy_before_disturbs(
    samples: tuple[ProcessSample, ...] | None,
) -> None:
    same = later(samples=samples)
    assert disturbed(UNTOLD, same, False) is False
    assert disturbed(UNTOLD, same, None) is False
    assert disturbed(UNTOLD, same, True) is True
    assert disturbed(UNTOLD, later(samples=samples, contexts=frozenset({7, 8})), False) is True
    assert disturbed(BOTH, later(samples=samples, contexts=BOTH.contexts), False) is False


@pytest.mark.parametrize("contexts", [None, frozenset()])
def test_an_empty_list_of_processes_is_unknown_as_this_one_is_not_in_it(
    contexts: frozenset[int] | None,
) -> None:
    before = dataclasses.replace(UNTOLD, contexts=contexts)
    after = later(samples=None, contexts=contexts)
    assert disturbed(before, after, None) is None
    assert disturbed(before, after, False) is False
    assert disturbed(before, after, True) is True
    assert gpu_monitor.other_contexts(after, own=7) is None


class Cooling:
    """A GPU whose use falls, by what each look tells."""

    def __init__(self, *ratios: float | None) -> None:
        self.ratios, self.looks = ratios, 0

    def utilization_ratio(self) -> float | None:
        self.looks += 1
        return self.ratios[min(self.looks, len(self.ratios)) - 1]


@pytest.mark.parametrize(
    ("ratios", "busy", "looks"),
    [((0.0,), False, 1), ((0.9, 0.4, 0.0), False, 3), ((0.9,), True, 12), ((None,), None, 1)],
)
def test_a_gpu_that_stays_busy_while_it_is_left_alone_is_used_by_others(
    ratios: tuple[float | None, ...], busy: bool | None, looks: int
) -> None:
    gpu, paused_s = Cooling(*ratios), list[float]()
    assert gpu_monitor.busy_beforehand(gpu, paused_s.append) is busy  # type: ignore[arg-type]
    assert gpu.looks == looks
    assert sum(paused_s) == pytest.approx(0.1 * (looks - 1))


def test_figures_that_are_unknown_are_left_out() -> None:
    found = gpu_monitor.figures(COOL, later(power_w=None))
    assert found == {"sm_clock_hz": 1.5e9, "temperature_c": 60.0, "gpu_utilization_ratio": 0.9}


def test_power_is_the_mean_of_two_seconds_or_longer_else_what_is_read_at_the_end() -> None:
    after = later(energy_j=600.0, power_w=40.0)
    assert gpu_monitor.power_w(COOL, dataclasses.replace(after, at_s=12.0)) == 250.0
    assert gpu_monitor.power_w(COOL, dataclasses.replace(after, at_s=11.9)) == 40.0
    assert gpu_monitor.power_w(COOL, later(at_s=12.0, energy_j=None, power_w=40.0)) == 40.0
    assert gpu_monitor.power_w(COOL, later(at_s=12.0, energy_j=99.0, power_w=40.0)) == 40.0
    assert gpu_monitor.power_w(COOL, later(at_s=12.0, energy_j=None, power_w=None)) is None


class Told:
    """A GPU that looks as it is told to, and whose kernels of others never stop."""

    def __init__(self, *looks: GpuSnapshot) -> None:
        self.looks = iter(looks)
        self.since_us: list[int] = []

    def snapshot(self, since_us: int = 0) -> GpuSnapshot:
        self.since_us.append(since_us)
        return next(self.looks)

    def utilization_ratio(self) -> float:
        return 0.8


def around(*looks: GpuSnapshot) -> gpu_monitor.GpuMonitor:
    found = gpu_monitor.GpuMonitor(Told(*looks), pause=lambda _: None)  # type: ignore[arg-type]
    found.start()
    found.stop()
    return found


OWN = os.getpid()
QUIET = later(contexts=frozenset({OWN}), samples=used((OWN, 300, 0.9)))


def test_heat_and_others_around_the_samples_are_flags_and_the_last_look_is_the_figures() -> None:
    assert around(QUIET, QUIET).flags() == []
    assert around(QUIET, dataclasses.replace(QUIET, hot_s=9.0)).flags() == ["throttled"]
    beside = used((OWN, 300, 0.5), (OWN + 1, 300, 0.5))
    others = dataclasses.replace(QUIET, samples=beside)
    assert around(QUIET, others).flags() == ["contended"]
    assert around(QUIET, QUIET).columns()["power_w"] == 300.0
    later_on = dataclasses.replace(QUIET, at_s=16.0, energy_j=1100.0, temperature_c=75.0)
    found = around(QUIET, later_on).columns()
    assert (found["power_w"], found["temperature_c"]) == (200.0, 75.0)


def test_the_last_look_asks_for_what_came_after_the_first_one() -> None:
    gpu = Told(QUIET, QUIET)
    watch = gpu_monitor.GpuMonitor(gpu)  # type: ignore[arg-type]
    watch.start()
    watch.stop()
    assert gpu.since_us == [0, 300]


def test_the_use_of_the_whole_gpu_is_asked_for_where_that_of_processes_is_not_told() -> None:
    silent = dataclasses.replace(QUIET, samples=None)
    assert around(silent, silent).flags() == ["contended"]
    assert around(QUIET, silent).flags() == []


def test_contexts_of_others_are_kept_beside_the_figures() -> None:
    assert around(QUIET, QUIET).state() == {"other_contexts": 0}
    three = frozenset({OWN, OWN + 1, OWN + 2})
    assert around(QUIET, dataclasses.replace(QUIET, contexts=three)).state() == {
        "other_contexts": 2
    }
    assert around(QUIET, dataclasses.replace(QUIET, contexts=None)).state() == {}


def test_without_a_gpu_nothing_is_said_around_the_samples() -> None:
    found = gpu_monitor.GpuMonitor(nvidia.gpu_of("cpu"))
    found.start()
    found.stop()
    assert (found.flags(), found.columns(), found.state()) == ([], {}, {})
    assert found.contended() is None
