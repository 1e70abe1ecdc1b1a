"""Both variants are profiled in turns, in several rounds."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.ab.profiles import PairProfiler
from bench.ab.variants import Side
from bench.core.protocol import Request
from bench.core.records import Case, Entry, Failure, StaticMetrics
from bench.plan.config import RunOptions
from bench.results import pair_profiles, profile_parts
from bench.results.run_directory import Folders
from tests.support.cases import PLAIN, case

CASES = {"A": PLAIN, "B": case(amp="bfloat16")}
ROW = {"layer": "fc", "phase": "forward", "operator": "aten::addmm", "calls": 1, "host_s": 1e-3}


@dataclass(kw_only=True)
class FakePool:
    """Answers like a worker: it leaves a file for each job."""

    folders: Folders
    asked: list[tuple[str, str]]
    fails: str | None = None
    cases: Any = None
    log: Any = None
    timeout_s: float = 0.0
    place: Any = None
    experience: Any = None
    kinds: tuple[str, ...] = ()
    ended: list[str] = field(default_factory=list)

    def ask(self, request: Request) -> Entry:
        self.asked.append((request.job, request.case.amp))
        if self.fails == request.case.amp:
            return Failure(case=request.case, replicate=0, status="error", reason="broken")
        left = Path(request.out).with_suffix(".files")
        left.mkdir(parents=True)
        (left / "found.json").write_text(json.dumps(found(request.job, request.case)))
        return StaticMetrics(case=request.case, metrics={})

    def close(self) -> None:
        self.ended.append("closed")


def found(job: str, of: Case) -> dict[str, Any]:
    parts = {"rows": [ROW], "order": [], "modules": {}}
    times = {"unprofiled_s": 1e-3, "profiled_s": 2e-3}
    if job == "parts":
        return {**parts, **times}
    empty: dict[str, Any] = {name: [] for name in ("layers", "operators", "kernels", "notes")}
    return {
        "case": of.as_dict(), "steps": 1, "contended": False, "device": None, "memory": None,
        "allocated": {}, "flops": {}, "host": {"whole_s": 1e-3, **times}, "parts": parts,
        "modules": [], "counted": {"operators": 1}, **empty,
    }  # fmt: skip


def profiler(
    folder: Path, asked: list[tuple[str, str]], fails: str | None = None, **more: Any
) -> PairProfiler:
    def pool(**given: Any) -> Any:
        return FakePool(asked=asked, fails=fails, **given)

    return PairProfiler(
        sides={name: Side(name=name, asked=name, kind="settings") for name in "AB"},
        run=RunOptions(seed=1),
        directory=folder,
        scratch=folder / ".scratch",
        tell=lambda _: None,
        make_pool=pool,
        **more,
    )


def test_each_round_asks_both_sides_and_the_first_is_the_whole_profile(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []
    with profiler(tmp_path, asked, rounds=3).open([CASES]) as opened:
        both = opened.profile(CASES)
    assert not isinstance(both, Failure)
    assert [job for job, _ in asked] == ["profile"] * 2 + ["parts"] * 4
    for place in (0, 2, 4):
        assert {amp for _, amp in asked[place : place + 2]} == {"off", "bfloat16"}
    assert [len(one.rounds) for one in both.values()] == [3, 3]


def test_the_profiles_of_both_sides_are_kept_and_can_be_read_again(tmp_path: Path) -> None:
    with profiler(tmp_path, [], rounds=3).open([CASES]) as opened:
        both = opened.profile(CASES)
    assert not isinstance(both, Failure)
    assert pair_profiles.is_pair(tmp_path)
    (a,), (b,) = pair_profiles.load(tmp_path)
    assert (a, b) == (both["A"], both["B"])
    assert not list(tmp_path.glob(".scratch/**/found.json"))


def test_a_side_that_fails_ends_the_case_and_is_named(tmp_path: Path) -> None:
    with profiler(tmp_path, [], fails="bfloat16").open([CASES]) as opened:
        both = opened.profile(CASES)
    assert isinstance(both, Failure)
    assert both.reason == "side B: broken"


@pytest.mark.parametrize("fails", ["off", "bfloat16"])
def test_half_of_a_pair_is_not_kept(tmp_path: Path, fails: str) -> None:
    """The order of the sides is drawn, so that one of the two is profiled before it fails."""
    with profiler(tmp_path, [], fails=fails).open([CASES]) as opened:
        assert isinstance(opened.profile(CASES), Failure)
    assert not list(tmp_path.glob("[AB]/*"))


def test_an_interrupted_case_is_not_kept(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def clock() -> float:
        if asked:  # in the second round
            raise KeyboardInterrupt
        return 0.0

    made = profiler(tmp_path, asked, clock=clock)
    with pytest.raises(KeyboardInterrupt), made.open([CASES]) as opened:
        opened.profile(CASES, until_s=1.0)
    assert len(asked) == 2
    assert not list(tmp_path.glob("[AB]/*"))


def test_late_rounds_are_left_out_but_three_are_always_made(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []
    ticks = itertools.count()
    clock: Callable[[], float] = lambda: float(next(ticks))  # noqa: E731
    with profiler(tmp_path, asked, rounds=9, clock=clock).open([CASES]) as opened:
        both = opened.profile(CASES, until_s=-1.0)
        assert not isinstance(both, Failure)
    assert len(both["A"].rounds) == 3
    assert profile_parts.PARTS == "parts.json"
