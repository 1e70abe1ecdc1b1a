"""The cases of two profiles that belong together."""

from dataclasses import replace

from bench.explain.matching import between, sides, within
from bench.results.profile_parts import StepParts
from tests.explain.sides import PLAIN, side
from tests.support.cases import case


def of(**changes: object) -> StepParts:
    return replace(side(PLAIN), case=case(**changes))


LAST = {"memory_format": "channels_last"}


def test_equal_cases_belong_together_before_cases_with_other_settings() -> None:
    a = [of(), of(**LAST)]
    assert between(a, [a[1], a[0]]) == [(a[0], a[0]), (a[1], a[1])]


def test_a_case_with_another_setting_is_the_same_work_and_one_with_another_batch_is_not() -> None:
    a, last = of(), of(**LAST)
    assert between([a], [last]) == [(a, last)]
    assert between([a], [of(batch=1)]) == []


def test_two_variants_may_differ_in_their_batch_or_mode() -> None:
    a, b = [of(), of(**LAST)], [of(**LAST, batch=1), of(batch=1)]
    assert sides(a, b) == [(a[0], b[1]), (a[1], b[0])]
    training = of(mode="training")
    assert sides(a[:1], [training]) == [(a[0], training)]


def test_inside_a_profile_each_value_of_an_axis_is_compared_with_the_first() -> None:
    a, last, other = of(), of(**LAST), of(mode="training")
    assert within([a, other, last], "memory_format") == [(a, last)]
    assert within([a, other, last], "dtype") == []


def test_a_device_without_threads_is_another_device_alone() -> None:
    a, gpu = of(), of(device="cuda:0", threads=None, allocator=None, tf32="default")
    assert within([a, gpu], "device") == [(a, gpu)]
