"""The reader of traces refuses what a viewer would show wrongly."""

from typing import Any

import pytest

from tests.support.trace_format import TraceFormatError, parse


def event(ph: str = "X", **more: Any) -> dict[str, Any]:
    own = {"ph": ph, "name": "a", "pid": 1, "tid": 1, "ts": 0, "dur": 4}
    return {key: value for key, value in (own | more).items() if value is not None}


def test_slices_know_those_around_them() -> None:
    found = parse([event(dur=10), event(name="b", ts=2), event(name="c", ts=3, dur=3)])
    assert [(one.name, one.around) for one in found.slices[1, 1]] == [
        ("a", ()),
        ("b", (0,)),
        ("c", (0, 1)),
    ]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([event(), event(ts=2)], "ends after"),
        ([event(dur=-1)], "duration"),
        ([event(dur=None)], "duration"),
        ([event(ph="Y")], "unknown kind"),
        ([event(pid=None)], "no process"),
        ([event(tid=None)], "no thread"),
        ([event(name="")], "no name"),
        ([event(ts="1")], "no time"),
        ([event(ts="0.0001")], "no time"),
        ([event("C", args={"x": "1"})], "needs numbers"),
        ([event("C", args={})], "needs numbers"),
        ([event("C", args={"x": 1}, ts=2), event("C", args={"x": 1}, ts=1)], "back in time"),
        ([event("C", args={"x": 1}), event("C", args={"y": 1})], "changes its series"),
        ([event("M", name="thread_label", args={"name": "t"})], "metadata"),
        ([event("s", id=1, cat="c")], "one end"),
        ([event("s", id=1, cat="c"), event("s", id=1, cat="c")], "one id"),
    ],
)
def test_a_rule_that_is_broken_is_an_error(events: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(TraceFormatError, match=said):
        parse(events)
