"""The parts of a difference add up to it, without the profiler's own cost and with their noise."""

import math
from dataclasses import replace

import pytest

from bench.explain import differences as differing
from bench.explain.align import renamed
from bench.explain.differences import IDLE, Difference
from bench.results.profile_parts import Round, StepParts
from tests.explain.sides import BACK, CONV, FC, NORM, PLAIN, part, side
from tests.support.cases import case


def between(a: StepParts, b: StepParts) -> dict[tuple[str, str, str], Difference]:
    found = differing.differences(renamed(a, b), b)
    return {(one.layer, one.phase, one.operator): one for one in found}


def test_the_parts_of_both_sides_add_up_to_their_steps() -> None:
    a = side(PLAIN, noise=(1.0, 1.3, 0.9))
    b = side({**PLAIN, CONV: (1, 15e-3)}, noise=(1.1, 0.8, 1.0))
    found, whole = between(a, b).values(), differing.whole(a, b)
    assert math.fsum(one.a_s for one in found) == pytest.approx(whole.a_s)
    assert math.fsum(one.difference_s for one in found) == pytest.approx(whole.difference_s)


def test_recording_an_event_costs_the_part_with_many_events_its_share() -> None:
    parts = (
        part(CONV, 1, 10e-3, events=1),
        part(FC, 1000, 12e-3, events=999),  # 2 ms of it are the profiler's
    )
    one = Round(unprofiled_s=20e-3, profiled_s=22e-3, parts=parts)
    own = StepParts(case=case(), rounds=(one,) * 3)
    found = between(own, own)
    assert found[FC].a_s == pytest.approx(10e-3, rel=0.01)
    assert found[CONV].a_s == pytest.approx(10e-3, rel=0.01)


def test_a_profiler_that_slows_the_host_makes_no_kernel_longer() -> None:
    busy = part(CONV, 1, 0.0, device_s=10e-3)
    idle = part(("fc", "forward", IDLE), 0, 0.0, device_s=8e-3)
    one = Round(unprofiled_s=12e-3, profiled_s=18e-3, parts=(busy, idle))
    own = StepParts(case=case(), rounds=(one,) * 3)
    found = between(own, own)
    assert found[CONV].a_s == pytest.approx(10e-3)
    assert found["fc", "forward", IDLE].a_s == pytest.approx(2e-3)


def test_gaps_whose_medians_do_not_add_up_make_no_kernel_longer() -> None:
    """In each round another of three gaps is long."""
    rounds = []
    for long in range(3):
        gaps = [
            part((f"fc{place}", "forward", IDLE), 0, 0.0, device_s=5e-3 if place == long else 1e-3)
            for place in range(3)
        ]
        own = (part(CONV, 1, 0.0, device_s=10e-3), *gaps)
        rounds.append(Round(unprofiled_s=17e-3, profiled_s=17e-3, parts=own))
    both = StepParts(case=case(), rounds=tuple(rounds))
    found = between(both, both)
    assert found[CONV].a_s == pytest.approx(10e-3)
    assert math.fsum(one.b_s for one in found.values()) == pytest.approx(17e-3)


def test_noise_of_every_round_is_no_difference() -> None:
    a = side(PLAIN, noise=(1.0, 1.2, 0.9, 1.1, 1.0))
    b = side(PLAIN, noise=(1.15, 1.0, 1.05, 0.95, 1.2))
    assert not any(one.beyond or one.counted for one in between(a, b).values())


def test_a_part_that_is_longer_in_every_round_is_beyond_the_noise() -> None:
    found = between(side(PLAIN), side({**PLAIN, CONV: (1, 16e-3)}))
    assert [key for key, one in found.items() if one.beyond] == [CONV]
    assert found[CONV].difference_s == pytest.approx(6e-3)


def test_a_steady_difference_below_two_percent_of_the_step_is_noise() -> None:
    found = between(side(PLAIN), side({**PLAIN, NORM: (1, 2.5e-3)}))
    assert not any(one.beyond for one in found.values())


def test_two_rounds_give_no_interval() -> None:
    found = between(side(PLAIN, noise=(1, 1)), side({**PLAIN, CONV: (1, 90e-3)}, noise=(1, 1)))
    assert found[CONV].low_s is None
    assert not found[CONV].beyond


def test_calls_that_differ_from_round_to_round_are_not_counted() -> None:
    a, b = side(PLAIN), side({**PLAIN, BACK: (2, 20e-3)})
    assert between(a, b)[BACK].counted
    first = replace(b.rounds[0], parts=a.rounds[0].parts)
    assert not between(a, replace(b, rounds=(first, *b.rounds[1:])))[BACK].counted


def test_three_rounds_are_enough_where_no_noise_could_explain_the_difference() -> None:
    noise = (1.0, 1.6, 0.9)
    found = between(side(PLAIN, noise=noise), side({**PLAIN, FC: (1, 30e-3)}, noise=noise))
    assert [key for key, one in found.items() if one.beyond] == [FC]


def test_a_part_that_other_work_disturbed_in_most_steps_is_not_apart() -> None:
    """Its fastest step is as fast as ever."""
    noise = (1.0, 1.6, 0.9)
    a, b = side(PLAIN, noise=noise), side({**PLAIN, FC: (1, 30e-3)}, noise=noise)
    rounds = tuple(
        replace(one, parts=tuple(replace(part, least_s=4e-3) for part in one.parts))
        for one in b.rounds
    )
    assert not between(a, replace(b, rounds=rounds))[FC].beyond
