"""The rules for measuring again and for stopping, by numbers alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from bench.engine.policy import Allowance, Deadline, RepeatPolicy, given_up, tried


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([], False),
        ([{"crash"}], False),
        ([{"crash"}, {"timeout"}], True),
        ([{"crash", "timeout"}], False),  # both sides, once
        ([{"unsupported"}], True),
        ([{"crash", "unsupported"}], True),
    ],
)
def test_a_case_is_given_up_at_its_second_failure_or_at_one_that_no_chance_decides(
    failures: list[set[str]], expected: bool
) -> None:
    assert given_up(failures, {"unsupported"}) is expected


@pytest.mark.parametrize(
    ("ends", "found", "left"),
    [
        (["good", "never"], "good", 1),
        (["killed", "good", "never"], "good", 1),
        (["killed", "killed", "killed", "never"], "killed", 1),
    ],
)
def test_what_something_outside_killed_is_asked_again_three_times_at_most(
    ends: list[str], found: str, left: int
) -> None:
    assert tried(lambda: ends.pop(0), lambda one: one == "killed") == found
    assert len(ends) == left


def test_a_budget_is_spent_once_more_than_it_has_gone_by() -> None:
    clock = Clock(100.0)
    deadline, endless = (Deadline.begun(budget_s, clock) for budget_s in (5.0, None))
    clock.now_s = 105.0
    assert not deadline.spent
    clock.now_s = 105.5
    assert deadline.spent
    assert not endless.spent
    assert deadline.elapsed_s == 5.5
    assert deadline.said("replicate 2 of 5") == "the budget of 5 s is used up in replicate 2 of 5"


Measure = Callable[[], float | str]


def policy(clock: Clock, budget_s: float | None = None, **more: float) -> RepeatPolicy[float | str]:
    """Of ratios of contention: above 0.1 a measurement is contended; a word is a failure."""
    wanted: dict[str, float] = {"fruitless": 5, **more}
    return RepeatPolicy(
        deadline=Deadline.begun(budget_s, clock),
        contended=lambda one: isinstance(one, float) and one > 0.1,
        disturbance=lambda one: (False, one) if isinstance(one, float) else (True, 9.0),
        stands=lambda one: one == "wrong",
        fruitless=int(wanted["fruitless"]),
    )


def measuring(clock: Clock, found: Sequence[float | str], each_s: float = 1.0) -> Measure:
    left = list(found)

    def measure() -> float | str:
        clock.now_s += each_s
        return left.pop(0)

    return measure


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([0.0, 0.5], (0.0, 0)),
        ([0.7, 0.0, 0.5], (0.0, 1)),
        ([0.7, 0.2, 0.5, 0.0], (0.2, 2)),
        ([0.7, "crash", 0.5], (0.5, 2)),
        ([0.7, "wrong", 0.0], ("wrong", 1)),
    ],
)
def test_what_was_disturbed_is_measured_again_and_the_least_disturbed_counts(
    found: list[float | str], expected: tuple[float | str, int]
) -> None:
    clock = Clock()
    assert policy(clock).least_disturbed(measuring(clock, found)) == expected


def test_repeats_that_bear_no_fruit_end_until_something_is_undisturbed() -> None:
    clock = Clock()
    busy = policy(clock, fruitless=3)
    counts = [busy.least_disturbed(measuring(clock, [0.5] * 3))[1] for _ in range(3)]
    assert counts == [2, 1, 0]
    assert busy.least_disturbed(measuring(clock, [0.0])) == (0.0, 0)
    assert busy.least_disturbed(measuring(clock, [0.5] * 3)) == (0.5, 2)


def test_an_allowance_is_a_share_of_the_time_that_was_left_at_first() -> None:
    clock = Clock()
    allowance = Allowance(deadline=Deadline.begun(100.0, clock), share=0.2)
    assert allowance.covers(20.0)
    assert not allowance.covers(20.1)
    clock.now_s = 15.0
    allowance.taken_s = 15.0  # 85 s are left
    assert allowance.covers(5.0)
    clock.now_s = 50.0  # other work took 35 s
    assert not allowance.covers(0.0)
    clock.now_s = 100.5
    assert not Allowance(deadline=allowance.deadline, share=0.2).covers(0.0)


def test_an_allowance_without_a_budget_is_a_share_of_the_time_so_far() -> None:
    clock = Clock()
    allowance = Allowance(deadline=Deadline.begun(None, clock), share=0.2)
    clock.now_s = 50.0
    assert allowance.covers(10.0)
    assert not allowance.covers(10.1)


def test_repeats_end_with_the_budget() -> None:
    clock = Clock()
    short = policy(clock, budget_s=1.5)
    assert short.least_disturbed(measuring(clock, [0.5] * 3)) == (0.5, 1)
    assert short.least_disturbed(measuring(clock, [0.5] * 3)) == (0.5, 0)
