"""One pair of interpreters: what something outside killed is no verdict on a side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.ab import workers
from bench.ab.variants import Side
from bench.ab.workers import Interpreters
from bench.core.records import Case, Entry, Failure, Measurement, Samples
from bench.plan.config import RunOptions
from tests.support.cases import case

ONE = case()
SAMPLES = (Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=(0.01,)),)
GOOD = Measurement(case=ONE, replicate=0, samples=SAMPLES)
KILLED = Failure(case=ONE, replicate=0, status="crash", reason="ended by SIGKILL")


@dataclass
class FakePlayer:
    entry: Entry
    killed: bool
    proof: Mapping[str, Any] = field(default_factory=dict)


def interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *killed: bool) -> Interpreters:
    """killed: whether side B is, of each time that the case is played."""
    left = list(killed)

    def player(_self: Interpreters, name: str, _key: str) -> FakePlayer:
        dies = name == "B" and left.pop(0)
        return FakePlayer(KILLED if dies else GOOD, dies)

    def take_turns(a: FakePlayer, b: FakePlayer, _draw: object) -> tuple[Entry, Entry]:
        return a.entry, b.entry

    monkeypatch.setattr(Interpreters, "_player", player)
    monkeypatch.setattr(workers, "take_turns", take_turns)
    cases: dict[str, Mapping[str, Case]] = {"a": {"A": ONE, "B": ONE}}
    sides = {name: Side(name=name, asked="main", kind="settings") for name in "AB"}
    return Interpreters(
        sides=sides, cases=cases, run=RunOptions(), directory=tmp_path, stage="first", number=0
    )


@pytest.mark.parametrize("killed", [(False,), (True, False), (True, True, False)])
def test_a_side_that_something_outside_killed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: tuple[bool, ...]
) -> None:
    pair = interpreters(tmp_path, monkeypatch, *killed).compare("a", null=False)
    assert pair.failed == {}
    assert pair.samples == {"forward": ((0.01,), (0.01,))}
    assert pair.wall_s > 0


def test_a_side_that_is_killed_three_times_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = interpreters(tmp_path, monkeypatch, True, True, True).compare("a", null=False)
    assert {side: str(why) for side, why in pair.failed.items()} == {"B": "crash: ended by SIGKILL"}
