"""The lines of a comparison by counts."""

import dataclasses
import json
from pathlib import Path

import pytest

from bench.ab import ab_plan, counting
from bench.ab.ab_plan import Asked
from bench.commands import count
from bench.host import environment
from bench.verdict.counted import CaseCount, Cause, Verdict
from tests.ab.test_decision import planned


def test_a_case_has_its_change_and_the_functions_that_account_for_it() -> None:
    worse = CaseCount(
        key="k",
        verdict="REGRESSED",
        a=200_000.0,
        b=2_100_000.0,
        change=0.05,
        limit=0.002,
        causes=(Cause("malloc", 4321.0), Cause("old", -12.0)),
        calls={"builtins.Tensor.clone": 1, "f": -2},
    )
    assert list(
        count.lines([worse], {"k": "convnet N=1"}, {"gone": "side B has no such case"})
    ) == [
        "convnet N=1: 200,000 → 2.100 M instructions a call, +5.00 % (limit 0.20 %): REGRESSED",
        "    +4,321 in malloc",
        "    -12 in old",
        "    1 call more of builtins.Tensor.clone",
        "    2 calls fewer of f",
        "gone: not counted: side B has no such case",
    ]


def test_a_case_without_counts_says_why() -> None:
    lost = CaseCount(key="k", verdict="UNSUPPORTED", note="it runs on cuda:0")
    assert list(count.lines([lost], {}, {})) == ["k: UNSUPPORTED: it runs on cuda:0"]


@pytest.mark.parametrize("verdict", ["SAME", "REGRESSED"])
def test_a_case_that_one_side_lacks_fails_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    plan = dataclasses.replace(planned(), missing={"gone": "side B: subject Net does not build"})
    monkeypatch.setattr(environment, "git_state", lambda _: {"git_commit": None})
    monkeypatch.setattr(ab_plan, "make", lambda *_: plan)
    monkeypatch.setattr(counting, "find", lambda: counting.Counter("perf", "its counters"))
    counts = [CaseCount(key="k", verdict=verdict)]
    monkeypatch.setattr(counting, "compared", lambda *_: (counts, {}))
    out = tmp_path / "out"
    assert count.run(Asked(a="amp=off", b="amp=off", out=out)) == 4
    assert json.loads((out / "count.json").read_text())["missing"] == dict(plan.missing)
