"""Durations are told in advance by a device whose clock moves with its work alone."""

import gc
import itertools
import math
import statistics
import weakref
from dataclasses import replace

import pytest

from bench.core.protocol import Budget
from bench.core.records import Samples
from bench.worker.timing.call_timing import (
    Limit,
    Timing,
    TooSlowError,
    calls_for,
    first_call,
    measure,
    warm_up,
)
from bench.worker.timing.stopwatch import ClockError, clock_resolution_s
from tests.support.fake_device import FakeDevice, FakeStep

TRAINING_S = {"forward": 0.002, "backward": 0.004, "optimizer": 0.001}
RESOLUTION_S = 1e-7
LAUNCH_S = 1e-5


def cpu() -> FakeDevice:
    return FakeDevice(launch_s=0.0, has_events=False, synchronous=True)


def timed(device: FakeDevice, step: FakeStep, budget: Budget | None = None) -> Timing:
    return measure(step, device, budget or Budget(), device.clock, resolution_s=RESOLUTION_S)


def only(timing: Timing, phase: str, kind: str) -> Samples:
    (found,) = [s for s in timing.samples if (s.phase, s.kind) == (phase, kind)]
    return found


def each(timing: Timing, phase: str, kind: str) -> float:
    """The time that all samples of a row have: seconds per call."""
    times_s = only(timing, phase, kind).times_s
    assert max(times_s) - min(times_s) < 1e-9
    return times_s[0]


def kinds(timing: Timing) -> list[tuple[str, str]]:
    return [(s.phase, s.kind) for s in timing.samples]


# What is measured


def test_the_time_of_the_host_to_issue_a_call_is_told_apart_from_that_of_the_device() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    found = timed(device, FakeStep(device, {"forward": 2e-3}))
    assert found.host_issue_s == pytest.approx(LAUNCH_S)
    assert each(found, "forward", "pipelined") == pytest.approx(2e-3, rel=0.01)


def test_a_call_that_waits_for_its_host_takes_as_long_as_the_host_issues_it() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    found = timed(device, FakeStep(device, {"forward": 1e-6}))
    assert found.host_issue_s == pytest.approx(LAUNCH_S)
    assert each(found, "forward", "pipelined") == pytest.approx(LAUNCH_S, rel=0.01)


def test_a_full_queue_is_not_taken_for_a_slow_host() -> None:
    """The device is slow; from the second call in the queue on, the host waits for it to empty."""
    device = FakeDevice(launch_s=LAUNCH_S)

    def wait_for_room() -> None:
        device.now_s = max(device.now_s, device.free_s)

    step = FakeStep(device, {"forward": 1e-3}, on_call=wait_for_room)
    assert timed(device, step).host_issue_s == pytest.approx(LAUNCH_S)


def test_a_cpu_issues_nothing() -> None:
    device = cpu()
    assert timed(device, FakeStep(device, {"forward": 1e-3})).host_issue_s is None


def test_samples_that_would_exceed_the_limit_are_not_begun() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 20.0})
    limit = Limit(device.clock(), 150.0)
    with pytest.raises(TooSlowError) as caught:
        measure(step, device, Budget(), device.clock, resolution_s=RESOLUTION_S, limit=limit)
    assert str(caught.value) == (
        "a call takes 20 s: 60 s were spent, and the 5 calls that are still needed would "
        "take 100 s more; give --timeout 240, or a smaller batch"
    )
    enough = Limit(device.clock(), 160.0)
    found = measure(step, device, Budget(), device.clock, resolution_s=RESOLUTION_S, limit=enough)
    assert device.clock() - enough.start_s == pytest.approx(160.0)
    assert len(only(found, "forward", "latency").times_s) == Budget().min_samples


def test_a_limit_counts_the_calls_of_the_budget_that_it_is_for() -> None:
    """One sample is taken here, and the whole budget needs two warm-up calls and five samples."""
    budget = replace(
        Budget(), warmup_s=0.0, warmup_calls=1, warmup_cap_s=0.0, samples_s=0.0, min_samples=1,
        max_samples=1,
    )  # fmt: skip

    def tried(timeout_s: float) -> Timing:
        device = cpu()
        step = FakeStep(device, {"forward": 20.0})
        limit = Limit(device.clock(), timeout_s, least=Budget())
        return measure(
            step, device, budget, device.clock, resolution_s=RESOLUTION_S, made=2, limit=limit
        )

    with pytest.raises(TooSlowError, match="20 s were spent, and the 6 calls that are still need"):
        tried(139.0)
    assert len(only(tried(140.0), "forward", "latency").times_s) == 1


def test_the_limit_counts_the_device_times_as_well() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    step = FakeStep(device, {"forward": 1.0})
    with pytest.raises(TooSlowError, match="the 15 calls that are still needed"):
        measure(
            step,
            device,
            Budget(),
            device.clock,
            resolution_s=RESOLUTION_S,
            limit=Limit(device.clock(), 17.9),
        )


def test_latency_is_launch_and_work_of_one_call_on_an_idle_device() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    timing = timed(device, FakeStep(device, {"forward": 0.003}))
    assert each(timing, "forward", "latency") == pytest.approx(0.00301)


def test_pipelined_calls_hide_their_launches_behind_the_work() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    timing = timed(device, FakeStep(device, {"forward": 0.0005}))
    pipelined = only(timing, "forward", "pipelined")
    assert pipelined.calls_per_sample == timing.calls_per_sample == 10
    assert each(timing, "forward", "pipelined") == pytest.approx(0.0005 + LAUNCH_S / 10)


def test_device_time_leaves_the_launch_of_the_first_phase_out_of_later_ones() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    timing = timed(device, FakeStep(device, TRAINING_S))
    assert each(timing, "forward", "device") == pytest.approx(0.00201)
    assert each(timing, "backward", "device") == pytest.approx(0.004)
    assert each(timing, "optimizer", "device") == pytest.approx(0.001)
    assert each(timing, "step", "device") == pytest.approx(0.00701)


def test_device_time_leaves_the_making_of_events_out() -> None:
    device = FakeDevice(launch_s=LAUNCH_S, event_s=0.002)
    timing = timed(device, FakeStep(device, TRAINING_S))
    assert each(timing, "step", "device") == pytest.approx(0.00701)
    assert each(timing, "backward", "device") == pytest.approx(0.004)


def test_an_accelerator_with_events_gets_phases_from_events_alone() -> None:
    device = FakeDevice()
    assert kinds(timed(device, FakeStep(device, TRAINING_S))) == [
        ("step", "latency"),
        ("step", "pipelined"),
        ("step", "device"),
        ("forward", "device"),
        ("backward", "device"),
        ("optimizer", "device"),
    ]


def test_inference_on_an_accelerator_has_one_row_of_each_kind() -> None:
    device = FakeDevice()
    assert kinds(timed(device, FakeStep(device, {"forward": 0.001}))) == [
        ("forward", "latency"),
        ("forward", "pipelined"),
        ("forward", "device"),
    ]


def test_an_accelerator_without_events_gets_the_whole_alone() -> None:
    device = FakeDevice(has_events=False)
    assert kinds(timed(device, FakeStep(device, TRAINING_S))) == [
        ("step", "latency"),
        ("step", "pipelined"),
    ]


def test_work_in_a_stream_that_nothing_waits_for_is_timed_by_the_host_alone() -> None:
    """Events around the call would tell the two launches: 0.02 ms."""
    device = FakeDevice(launch_s=LAUNCH_S)
    step = FakeStep(device, {"forward": 1e-9}, on_call=lambda: device.submit_aside(5e-3))
    found = timed(device, step)
    assert kinds(found) == [("forward", "latency"), ("forward", "pipelined")]
    assert each(found, "forward", "latency") == pytest.approx(LAUNCH_S + 5e-3, rel=0.01)
    assert each(found, "forward", "pipelined") == pytest.approx(5e-3, rel=0.01)
    assert found.missed_by_events is not None
    assert "5.01 ms by the host's clock and 0.02 ms by events" in found.missed_by_events
    assert found.calls_made == step.calls


@pytest.mark.parametrize("aside_s", [0.0, 2e-4])
def test_events_that_see_nearly_all_work_are_used(aside_s: float) -> None:
    """A stream of its own that ends before the current one hides nothing."""
    device = FakeDevice(launch_s=LAUNCH_S)
    step = FakeStep(device, {"forward": 5e-3}, on_call=lambda: device.submit_aside(aside_s))
    found = timed(device, step)
    assert found.missed_by_events is None
    assert each(found, "forward", "device") == pytest.approx(5e-3 + 2 * LAUNCH_S, rel=0.01)


def test_launch_bound_calls_keep_their_events() -> None:
    """The host's clock runs while it records events; the share is large, and no work is missed."""
    device = FakeDevice(launch_s=1e-6, event_s=2e-5, wait_s=2e-5)
    found = timed(device, FakeStep(device, {"forward": 1e-6}))
    assert found.missed_by_events is None
    assert ("forward", "device") in kinds(found)


def test_work_that_prepares_a_call_is_not_taken_for_work_that_events_miss() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    found = timed(device, FakeStep(device, {"forward": 1e-3}, copy_s=1e-2))
    assert found.missed_by_events is None


def test_a_cpu_gets_its_phases_from_the_clock_and_they_add_up_to_the_step() -> None:
    device = cpu()
    timing = timed(device, FakeStep(device, TRAINING_S))
    assert kinds(timing) == [
        ("step", "latency"),
        ("forward", "latency"),
        ("backward", "latency"),
        ("optimizer", "latency"),
        ("step", "pipelined"),
    ]
    assert each(timing, "forward", "latency") == pytest.approx(0.002)
    assert each(timing, "backward", "latency") == pytest.approx(0.004)
    assert each(timing, "optimizer", "latency") == pytest.approx(0.001)
    assert each(timing, "step", "latency") == pytest.approx(0.007)


def test_restoring_an_input_is_never_inside_a_sample() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    step = FakeStep(device, {"forward": 0.001}, copy_s=0.5)
    timing = timed(device, step, Budget(samples_s=0.0))
    assert each(timing, "forward", "latency") == pytest.approx(0.00101)
    assert each(timing, "forward", "device") == pytest.approx(0.001)
    assert max(only(timing, "forward", "pipelined").times_s) < 0.00101


def test_a_sample_has_no_more_calls_than_inputs_could_be_prepared() -> None:
    device = FakeDevice()
    timing = timed(device, FakeStep(device, {"forward": 0.0005}, copy_s=1e-6, room=3))
    pipelined = only(timing, "forward", "pipelined")
    assert pipelined.calls_per_sample == timing.calls_per_sample == 3
    assert each(timing, "forward", "pipelined") == pytest.approx(0.0005 + LAUNCH_S / 3)


def test_a_sample_holds_one_look_at_the_clock_and_no_more() -> None:
    device = FakeDevice(launch_s=0.0, look_s=1e-6, has_events=False, synchronous=True)
    timing = timed(device, FakeStep(device, {"forward": 0.0005}))
    assert each(timing, "forward", "latency") == pytest.approx(0.000501)
    assert each(timing, "forward", "pipelined") == pytest.approx(0.0005001)


def test_a_sample_with_fewer_inputs_than_before_is_divided_by_its_own_calls() -> None:
    device = FakeDevice(launch_s=0.0)
    step = FakeStep(device, {"forward": 0.0005})

    def shrink() -> None:
        step.room = 2

    timing = measure(
        step, device, Budget(), device.clock, resolution_s=RESOLUTION_S, between=shrink
    )
    assert each(timing, "forward", "pipelined") == pytest.approx(0.0005)


def test_the_first_call_waits_before_and_after() -> None:
    device = FakeDevice(launch_s=LAUNCH_S)
    device.submit(7.0)  # weights that are still being copied
    step = FakeStep(device, {"forward": 0.01}, slower=(100,))
    assert first_call(step, device, device.clock) == pytest.approx(1.00001)
    assert step.calls == 1


# How much is measured


def test_the_slow_first_calls_are_no_samples_and_size_none() -> None:
    device = cpu()
    timing = timed(device, FakeStep(device, {"forward": 0.0005}, slower=(2000, 50, 50)))
    assert max(max(s.times_s) for s in timing.samples) == pytest.approx(0.0005)
    assert timing.calls_per_sample == 10


def test_an_outlier_of_the_warm_up_sizes_no_sample() -> None:
    device = cpu()
    slower = [1.0] * 395 + [100.0]  # the last block before 0.2 s are over
    timing = timed(device, FakeStep(device, {"forward": 0.0005}, slower=slower))
    assert timing.calls_per_sample == 10


def test_warm_up_divides_by_the_calls_that_it_made() -> None:
    device = cpu()
    steady = warm_up(FakeStep(device, {"forward": 0.0005}, room=3), device, Budget(), device.clock)
    assert steady.call_s == pytest.approx(0.0005)


def test_warm_up_takes_three_calls_at_least() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 2.0})
    steady = warm_up(step, device, Budget(), device.clock)
    assert (step.calls, steady.calls_made) == (3, 3)
    assert steady.timed_s == pytest.approx(6.0)


def test_calls_before_the_warm_up_count_among_its_three() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 2.0})
    steady = warm_up(step, device, Budget(), device.clock, made=2)
    assert (step.calls, steady.settled) == (2, True)  # two that agree


def test_warm_up_takes_two_tenths_of_a_second_at_least() -> None:
    device = cpu()
    steady = warm_up(FakeStep(device, {"forward": 0.001}), device, Budget(), device.clock)
    assert steady.settled
    assert 0.2 <= steady.timed_s < 0.22


def test_warm_up_goes_on_while_the_calls_get_faster() -> None:
    device = cpu()
    slower = [1 + 9 * 0.8**i for i in range(40)]  # settled within 1 % from the 31st call on
    step = FakeStep(device, {"forward": 0.02}, slower=slower)
    steady = warm_up(step, device, Budget(), device.clock)
    assert steady.settled
    assert step.calls > 20
    assert steady.timed_s > 1.2


def test_a_case_that_never_settles_is_measured_and_says_so() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 0.02}, slower=[1.2**i for i in range(40)])
    timing = timed(device, step, Budget(samples_s=0.1))
    assert not timing.settled
    assert len(only(timing, "forward", "latency").times_s) >= 5


def test_a_settled_case_says_so() -> None:
    device = cpu()
    assert timed(device, FakeStep(device, {"forward": 0.02})).settled


def settling_step(device: FakeDevice, more: float, time_s: float) -> FakeStep:
    """A call of 0.5 ms that first takes `more` as long again, which fades with `time_s`."""
    start = device.now_s

    def fade() -> None:
        device.submit(0.0005 * more * math.exp(-(device.now_s - start) / time_s))

    return FakeStep(device, {"forward": 0.0005}, on_call=fade)


@pytest.mark.parametrize(("more", "time_s"), [(0.5, 0.5), (0.5, 1.0), (1.0, 0.5)])
def test_what_settles_slowly_is_warm_before_its_samples(more: float, time_s: float) -> None:
    device = cpu()
    timing = timed(device, settling_step(device, more, time_s))
    assert timing.settled
    assert timing.moved is None
    median_s = statistics.median(only(timing, "forward", "pipelined").times_s)
    assert median_s < 0.0005 * 1.02


def test_what_settles_within_many_seconds_is_measured_and_says_so() -> None:
    device = cpu()
    timing = timed(device, settling_step(device, 1.0, 5.0))
    assert timing.moved is not None
    assert timing.moved < -0.03
    assert timing.timed_s < 4 * Budget().warmup_cap_s + 1.0


def test_times_that_rise_in_each_call_are_said_to_move() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 0.01}, slower=[1 + 0.002 * i for i in range(2000)])
    timing = timed(device, step)
    assert timing.moved == pytest.approx(0.1, abs=0.06)
    assert timing.moved is not None
    assert timing.moved > 0.05


def test_times_that_step_up_between_the_samples_are_said_to_move() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 0.01}, slower=[1] * 50 + [1.2] * 1000)
    timing = timed(device, step)
    assert timing.settled
    assert timing.moved == pytest.approx(0.2)


def test_what_still_falls_at_the_cap_is_given_four_times_as_long() -> None:
    device = cpu()
    steady = warm_up(settling_step(device, 3.0, 2.0), device, Budget(), device.clock)
    assert not steady.settled
    assert 6.0 <= steady.timed_s < 6.1
    rising = FakeStep(device, {"forward": 0.02}, slower=[1.1**i for i in range(200)])
    assert warm_up(rising, device, Budget(), device.clock).timed_s < 2.0


def test_fast_calls_get_as_many_single_samples_as_are_wanted() -> None:
    device = cpu()
    timing = timed(device, FakeStep(device, {"forward": 5e-6}))
    assert len(only(timing, "forward", "latency").times_s) == 200
    assert timing.calls_per_sample == 1000
    assert 50 <= len(only(timing, "forward", "pipelined").times_s) <= 200


def test_slow_calls_get_the_fewest_samples_of_each_kind() -> None:
    device = FakeDevice()
    step = FakeStep(device, {"forward": 0.5})
    timing = timed(device, step)
    assert [len(s.times_s) for s in timing.samples] == [5, 5, 5]
    assert timing.calls_made == step.calls == 19  # three warm up; one tries the events


def test_one_long_call_without_a_queue_is_a_sample_of_both_kinds() -> None:
    device = cpu()
    step = FakeStep(device, TRAINING_S | {"backward": 0.5})
    timing = timed(device, step)
    assert timing.calls_per_sample == 1
    assert timing.calls_made == step.calls == 8  # three of them warm-up
    latency = only(timing, "step", "latency").times_s
    assert len(latency) == 5
    assert only(timing, "step", "pipelined").times_s == latency
    assert len(only(timing, "backward", "latency").times_s) == 5


def test_samples_stop_when_their_time_is_spent() -> None:
    device = cpu()
    timing = timed(device, FakeStep(device, {"forward": 0.003}))
    assert len(only(timing, "forward", "latency").times_s) == 100  # three a round
    assert len(only(timing, "forward", "pipelined").times_s) == 50  # of two calls
    assert timing.timed_s == pytest.approx(0.801)


def test_samples_of_all_kinds_are_taken_in_turn() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 0.003}, slower=[1] * 60 + [2] * 1000)  # drift in the middle
    timing = timed(device, step, Budget(warmup_s=0.1))
    for kind in ("latency", "pipelined"):
        times_s = only(timing, "forward", kind).times_s
        assert times_s[0] == pytest.approx(0.003)
        assert times_s[-1] == pytest.approx(0.006)


def test_frozen_calls_per_sample_are_kept() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 0.001})
    timing = measure(step, device, Budget(), device.clock, resolution_s=RESOLUTION_S, calls=7)
    assert timing.calls_per_sample == only(timing, "forward", "pipelined").calls_per_sample == 7
    assert each(timing, "forward", "pipelined") == pytest.approx(0.001)


def test_a_sample_is_a_thousand_times_the_clocks_resolution() -> None:
    assert calls_for(0.001, Budget(), resolution_s=1e-7) == 5
    assert calls_for(0.001, Budget(), resolution_s=1e-3) == 1000
    assert calls_for(0.5, Budget(), resolution_s=1e-7) == 1


def test_an_outlier_stays_among_the_samples() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 0.01}, slower=[1] * 30 + [100] + [1] * 100)
    timing = timed(device, step)
    assert max(max(s.times_s) for s in timing.samples) == pytest.approx(1.0)


@pytest.mark.parametrize("device", [FakeDevice(), cpu()], ids=["accelerator", "cpu"])
def test_calls_made_are_all_calls_but_the_first(device: FakeDevice) -> None:
    step = FakeStep(device, TRAINING_S)
    first_call(step, device, device.clock)
    assert timed(device, step).calls_made == step.calls - 1


def test_controls_run_between_blocks_of_samples_and_cost_no_sample_time() -> None:
    device = cpu()
    step = FakeStep(device, {"forward": 0.01})
    ran_after: list[int] = []

    def control() -> None:
        ran_after.append(step.calls)
        device.submit(5.0)

    timing = measure(
        step, device, Budget(), device.clock, resolution_s=RESOLUTION_S, between=control
    )
    assert len(ran_after) == 6  # 0.6 s in blocks of 0.1 s
    # ten samples and one untimed call from one control to the next
    assert {b - a for a, b in itertools.pairwise(ran_after)} == {11}
    assert timing.timed_s == pytest.approx(0.8)
    assert timing.calls_made == step.calls


def test_the_call_whose_caches_a_control_has_cooled_is_no_sample() -> None:
    device, cooled = cpu(), list[float]()

    def fill_caches() -> None:
        while cooled:
            device.submit(cooled.pop())

    step = FakeStep(device, {"forward": 0.01}, on_call=fill_caches)
    timing = measure(
        step,
        device,
        Budget(),
        device.clock,
        resolution_s=RESOLUTION_S,
        between=lambda: cooled.append(0.05),
    )
    assert each(timing, "forward", "latency") == pytest.approx(0.01)
    assert each(timing, "forward", "pipelined") == pytest.approx(0.01)


# The clock


def test_the_meter_runs_during_samples_alone() -> None:
    running, seen = False, list[bool]()

    class Switch:
        def start(self) -> None:
            nonlocal running
            running = True

        def stop(self) -> None:
            nonlocal running
            running = False

    device = FakeDevice()
    step = FakeStep(device, {"forward": 0.01}, on_call=lambda: seen.append(running))
    between: list[bool] = []
    timing = measure(
        step,
        device,
        Budget(),
        device.clock,
        resolution_s=RESOLUTION_S,
        between=lambda: between.append(running),
        meter=Switch(),
    )
    assert between == [False] * 5  # of more than 0.1 s each
    assert not running
    assert sum(seen) == timing.calls_sampled
    assert seen[0] is False  # while it warms up


def test_a_clock_that_stands_still_is_an_error() -> None:
    device = FakeDevice(launch_s=0.0, synchronous=True)
    with pytest.raises(ClockError, match="did not advance"):
        measure(FakeStep(device, {"forward": 0.001}), device, Budget(), lambda: 5.0)
    with pytest.raises(ClockError, match="does not advance"):
        measure(
            FakeStep(device, {"forward": 0.001}),
            device,
            Budget(),
            lambda: 5.0,
            resolution_s=RESOLUTION_S,
        )


def test_a_clock_that_runs_backwards_is_an_error() -> None:
    looks = itertools.count()
    with pytest.raises(ClockError):
        clock_resolution_s(lambda: -1e-6 * next(looks))
    device = cpu()
    with pytest.raises(ClockError):
        first_call(FakeStep(device, {"forward": 0.001}), device, lambda: -device.clock())


def test_the_resolution_is_the_smallest_step_between_two_looks() -> None:
    looks = itertools.cycle([0.5, 0.5, 0.25, 0.0])
    now_s = itertools.accumulate(looks)
    assert clock_resolution_s(lambda: next(now_s)) == 0.25


# Garbage collection


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_collected_inside_a_sample_and_the_collector_is_left_as_it_was(
    enabled: bool,
) -> None:
    device = cpu()
    inside: set[bool] = set()
    step = FakeStep(device, TRAINING_S, on_call=lambda: inside.add(gc.isenabled()))
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        timed(device, step)
        after = gc.isenabled()
    finally:
        (gc.enable if was_enabled else gc.disable)()
    assert inside == {False}
    assert after is enabled


def test_what_was_left_behind_is_cleared_away_before_the_samples() -> None:
    class Loop:
        def __init__(self) -> None:
            self.me = self

    device = cpu()
    left = weakref.ref(Loop())
    gc.disable()
    try:
        timed(device, FakeStep(device, TRAINING_S))
    finally:
        gc.enable()
    assert left() is None


def test_the_collector_is_left_as_it_was_when_a_call_raises() -> None:
    device = cpu()

    def fail() -> None:
        raise ZeroDivisionError

    step = FakeStep(device, TRAINING_S, on_call=fail)
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        first_call(step, device, device.clock)
    assert gc.isenabled()


def test_the_budget_bounds_the_samples_of_each_kind() -> None:
    device = FakeDevice()
    budget = replace(Budget(), max_samples=20, samples_s=10.0)
    timing = timed(device, FakeStep(device, {"forward": 0.001}), budget)
    assert [len(s.times_s) for s in timing.samples] == [20, 20, 20]
