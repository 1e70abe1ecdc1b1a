"""The lab of processes, with a pool that answers from memory."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.core.protocol import Request
from bench.core.records import Case, Entry, Measurement, StaticMetrics
from bench.plan.config import RunOptions
from bench.results import run_directory
from bench.results.journal import Journal
from bench.tune import lab as lab_module
from bench.tune.lab import ProcessLab
from tests.support.cases import case

EAGER = case(subject="nets:net", batch=8)
COMPILED = case(subject="nets:net", batch=8, compile="default")


def lab_in(
    folder: Path, budget_s: float | None = None, clock: Callable[[], float] = time.monotonic
) -> ProcessLab:
    directory = run_directory.create(folder / "search", {})
    return ProcessLab(
        directory=directory,
        run=RunOptions(),
        journal=Journal(directory.journal),
        objective="latency",
        budget_s=budget_s,
        tell=print,
        clock=clock,
    )


@pytest.mark.parametrize(("now_s", "measured"), [(5.0, 2), (11.0, 1)])
def test_nothing_is_compiled_after_the_budget(
    now_s: float, measured: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [0.0]

    @contextlib.contextmanager
    def opened(_: Any) -> Iterator[None]:
        clock[0] = now_s
        yield

    def answer(_: ProcessLab, _pool: Any, one: Case, number: int) -> Entry:
        return Measurement(case=one, replicate=number, samples=())

    monkeypatch.setattr(lab_module, "opened", opened)
    monkeypatch.setattr(ProcessLab, "measured", answer)
    lab = lab_in(tmp_path, budget_s=10.0, clock=lambda: clock[0])
    found = lab.round(0, [EAGER, COMPILED])
    assert EAGER.case_id in found
    assert len(found) == measured


def test_a_search_waits_longer_for_a_reference_than_a_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without one a setting that is wrong could win."""
    asked: list[Request] = []

    class Pool:
        def ask(self, request: Request) -> Entry:
            asked.append(request)
            return StaticMetrics(case=request.case, metrics={})

        def close(self) -> None:
            pass

    monkeypatch.setattr(ProcessLab, "_pool", lambda *_: Pool())
    lab = lab_in(tmp_path)
    assert [one.wrong for one in lab.statics([EAGER])] == [None]
    assert {one.job for one in asked} == {"reference", "static_metrics"}
    assert {one.reference_s for one in asked} == {60.0}
