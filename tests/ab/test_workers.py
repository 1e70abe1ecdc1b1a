"""The workers of one pair: their pools, and what is tried again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.ab.variants import Side
from bench.ab.workers import AGAIN, PairWorkers
from bench.core.records import Entry, Failure
from bench.host.interpreter import Place
from bench.plan.config import RunOptions
from tests.support.cases import PLAIN, case

KEY = PLAIN.case_id
OTHER = Place(python="/other/python")


@dataclass(frozen=True)
class FakeChild:
    killed: bool
    proof: None = None


@pytest.fixture
def workers(tmp_path: Path) -> PairWorkers:
    sides = {
        "A": Side(name="A", asked="amp=off", kind="settings"),
        "B": Side(name="B", asked="amp=bfloat16", kind="settings", place=OTHER),
    }
    cases = {KEY: {"A": PLAIN, "B": case(amp="bfloat16")}}
    return PairWorkers(
        sides=sides, cases=cases, run=RunOptions(), directory=tmp_path, stage="first", number=4
    )


def kills(times: int, made: list[bool]) -> Callable[..., Any]:
    """Interleaves; one child of the first so many is killed from outside."""

    def interleaved(_: str, *, null: bool) -> tuple[tuple[Entry, Entry], FakeChild, FakeChild]:
        made.append(null)
        why = "killed" if len(made) <= times else "broken"
        one = Failure(case=PLAIN, replicate=4, status="crash", reason=why)
        return (one, one), FakeChild(False), FakeChild(len(made) <= times)

    return interleaved


@pytest.mark.parametrize(
    ("times", "tries", "why"), [(0, 1, "broken"), (2, 3, "broken"), (9, 3, "killed")]
)
def test_a_pair_of_which_something_outside_killed_a_child_is_interleaved_again(
    workers: PairWorkers, monkeypatch: pytest.MonkeyPatch, times: int, tries: int, why: str
) -> None:
    made: list[bool] = []
    monkeypatch.setattr(workers, "_interleaved", kills(times, made))
    pair = workers.compare(KEY, null=True)
    assert made == [True] * tries
    assert (pair.stage, pair.number, pair.null) == ("first", 4, True)
    assert {one.reason for one in pair.failed.values()} == {why}


def test_each_side_has_its_own_interpreter_cases_and_folders_and_the_null_case_those_of_side_a(
    workers: PairWorkers,
) -> None:
    places = {name: pool.place.python for name, pool in workers.pools.items()}
    assert places["B"] == "/other/python"
    assert places["A"] == places[AGAIN] != "/other/python"
    amps = {name: [one.amp for one in pool.cases] for name, pool in workers.pools.items()}
    assert amps == {"A": ["off"], "B": ["bfloat16"], AGAIN: ["off"]}
    assert len({pool.folders.scratch for pool in workers.pools.values()}) == 3
