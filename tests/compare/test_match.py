"""The pairs of rows that differ in one axis alone."""

from typing import Any

import pytest

from bench.compare.match import MatchError, pairs, values
from bench.core.records import Row
from tests.support.cases import case


def row(time_s: float = 1.0, *, phase: str = "forward", **changes: Any) -> Row:
    one = case(**changes)
    known = {name: getattr(one, name) for name in one.as_dict()}
    return Row(**known, case_id=one.case_id, phase=phase, status="ok", pipelined_s=time_s)


def gpu(time_s: float = 1.0, **changes: Any) -> Row:
    filled = {"cudnn_benchmark": "off", "tf32": "off", **changes}
    return row(time_s, device="cuda:0", threads=None, allocator=None, **filled)


def match(base: list[Row], value: list[Row], apart: str) -> list[tuple[object, object, int, int]]:
    return [
        (one.base.case_id, one.value.case_id, one.base_of, one.value_of)
        for one in pairs(base, value, apart=apart, time_s=lambda one: one.pipelined_s)
    ]


def test_rows_match_where_all_but_the_axis_agree() -> None:
    base, value = row(amp="off"), row(amp="bfloat16")
    assert match([base], [value], "amp") == [(base.case_id, value.case_id, 1, 1)]


@pytest.mark.parametrize(
    "other", [{"batch": 9}, {"subject": "x"}, {"phase": "step"}, {"allocator": "system"}]
)
def test_rows_that_differ_elsewhere_do_not_match(other: dict[str, Any]) -> None:
    assert match([row(amp="off")], [row(amp="bfloat16", **other)], "amp") == []


def test_an_axis_that_is_empty_on_either_side_agrees() -> None:
    cpu, cuda = row(threads="2"), gpu(tf32="on")
    assert match([cpu], [cuda], "device") == [(cpu.case_id, cuda.case_id, 1, 1)]


def test_the_fastest_of_each_side_is_taken_where_several_match() -> None:
    slow, fast = row(2.0, threads="1"), row(1.0, threads="2")
    slow_gpu, fast_gpu = gpu(0.2), gpu(0.1, tf32="on")
    found = match([slow, fast], [slow_gpu, fast_gpu], "device")
    assert found == [(fast.case_id, fast_gpu.case_id, 2, 2)]


def test_the_fastest_is_only_looked_for_among_rows_that_match_each_other() -> None:
    ones = [row(2.0, threads="1"), row(1.0, threads="2")]
    others = [row(2.0, threads="1", amp="bfloat16"), row(3.0, threads="2", amp="bfloat16")]
    assert match(ones, others, "amp") == [
        (ones[0].case_id, others[0].case_id, 1, 1),
        (ones[1].case_id, others[1].case_id, 1, 1),
    ]


@pytest.mark.parametrize(
    ("by", "seen", "ordered"),
    [
        ("compile", ["max-autotune", "off", "default"], ["off", "default", "max-autotune"]),
        ("batch", [32, 8, 128], [8, 32, 128]),
        ("threads", ["auto", "16", "2"], ["2", "16", "auto"]),
        ("device", ["cuda:0", "cpu"], ["cpu", "cuda:0"]),
    ],
)
def test_the_base_of_an_axis_comes_first(by: str, seen: list[Any], ordered: list[Any]) -> None:
    assert values([row(**{by: value}) for value in seen], by) == ordered


def test_an_axis_of_one_value_or_none_is_refused_saying_why() -> None:
    with pytest.raises(MatchError, match="--by amp: amp is off in every row"):
        values([row(), row()], "amp")
    with pytest.raises(MatchError, match="tf32 is empty in every row"):
        values([row()], "tf32")


@pytest.mark.parametrize("by", ["input", "subject", "colour"])
def test_an_axis_that_cannot_be_compared_is_refused_with_the_possible_ones(by: str) -> None:
    with pytest.raises(MatchError, match="expected one of mode, batch, device, dtype"):
        values([row()], by)
