"""From the counts of six processes to the verdict on a case."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.ab import counting
from bench.ab.counting import Process
from bench.core.counted import CaseCounted
from bench.core.records import Case
from tests.ab.test_decision import planned
from tests.support.cases import case

KEY = "k"


def process(
    side: str, seed: str, per_call: float, error: str | None = None, uneven: float = 0.0
) -> Process:
    """A process whose counts have the same set-up of 1000 instructions each time."""
    counts = {5: 1000 + 5 * per_call, 15: 1000 + 15 * per_call, 25: 1000 + 25 * per_call + uneven}
    calls = {"f": 1, **({"extra": 2} if side == "B" else {})}
    functions = {"conv": 900.0, "copy": per_call - 900.0}
    answer = CaseCounted(case_id=KEY, lengths=(5, 15, 25), calls=calls, error=error)
    return Process(side, seed, 1e6, {KEY: counts}, {KEY: functions}, {KEY: answer})


def processes(a: Sequence[float], b: Sequence[float]) -> list[Process]:
    return [
        process(side, str(seed), one)
        for side, own in (("A", a), ("B", b))
        for seed, one in enumerate(own)
    ]


def test_a_case_that_takes_more_instructions_is_regressed_and_its_causes_are_named() -> None:
    found = counting._case(KEY, processes([1000.0] * 3, [1010.0] * 3), trusted=True)
    assert (found.verdict, found.a, found.b) == ("REGRESSED", 1000.0, 1010.0)
    assert [(one.function, one.instructions) for one in found.causes] == [("copy", 10.0)]
    assert found.calls == {"extra": 2}


def test_a_case_that_is_the_same_has_no_causes() -> None:
    found = counting._case(KEY, processes([1000.0] * 3, [1001.0] * 3), trusted=True)
    assert (found.verdict, found.causes, dict(found.calls)) == ("SAME", (), {})


def test_another_canary_gives_no_verdict() -> None:
    found = counting._case(KEY, processes([1000.0] * 3, [1500.0] * 3), trusted=False)
    assert found.verdict == "UNTRUSTED"
    assert "canary" in found.note


def test_a_side_that_fails_or_whose_calls_differ_says_so() -> None:
    good = processes([1000.0] * 3, [1000.0] * 2)
    failed = counting._case(KEY, [*good, process("B", "2", 1.0, error="error: no")], trusted=True)
    assert (failed.verdict, failed.note) == ("FAILED", "side B: error: no")
    uneven = counting._case(KEY, [*good, process("B", "2", 1000.0, uneven=500.0)], trusted=True)
    assert uneven.verdict == "UNTRUSTED"
    assert uneven.note.startswith("side B: its calls differ from each other")


def both(a: dict[str, str], b: dict[str, str]) -> dict[str, Case]:
    """The case by side, with the changes of each."""
    return {"A": case(**a), "B": case(**b)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": "cuda:0"}, "it runs on cuda:0"),
        ({"compile": "default"}, "compiled code is not counted"),
        ({"threads": "4"}, "it asks for 4 threads"),
    ],
)
def test_a_case_that_counts_say_nothing_about_is_refused_on_either_side(
    changes: dict[str, str], says: str
) -> None:
    assert (counting.refused(both(changes, changes)) or "").startswith(says)
    assert (counting.refused(both(changes, {})) or "").startswith(f"side A: {says}")
    assert (counting.refused(both({}, changes)) or "").startswith(f"side B: {says}")
    assert counting.refused(both({}, {})) is None
    assert counting.refused(both({"threads": "1"}, {"threads": "1"})) is None


def test_sides_that_differ_in_threads_alone_would_be_counted_as_the_same_and_are_refused() -> None:
    assert counting.refused(both({"threads": "auto"}, {"threads": "1"})) == (
        "its sides differ in threads, auto (A) and 1 (B), and both are counted with one thread"
    )
    assert counting.refused(both({"amp": "off"}, {"amp": "bfloat16"})) is None


def test_a_side_that_cannot_be_counted_starts_no_process(tmp_path: Path) -> None:
    plan = planned()
    sides = both({}, {"compile": "default"})
    plan = dataclasses.replace(plan, cases={KEY: sides})
    found, canaries = counting.compared(plan, "perf", tmp_path, print)
    assert [(one.verdict, one.note[:7]) for one in found] == [("UNSUPPORTED", "side B:")]
    assert canaries == {}
