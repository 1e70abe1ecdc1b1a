"""The lab of processes, with a pool that answers from memory."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.core.protocol import Request
from bench.core.records import Case, Entry, Measurement, Samples, StaticMetrics
from bench.engine.policy import Deadline
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


SLOWEST = case(subject="nets:net", batch=8, compile="max-autotune")
LAST = case(subject="nets:net", batch=8, memory_format="channels_last")


def measured_in(
    lab: ProcessLab,
    monkeypatch: pytest.MonkeyPatch,
    clock: list[float],
    cases: Sequence[Case],
    budget_s: float | None,
) -> list[Case]:
    """Return the cases of a round in their order; each takes 4 s of the clock."""

    @contextlib.contextmanager
    def opened(_: Any) -> Iterator[None]:
        yield

    def answer(_: ProcessLab, _pool: Any, one: Case, number: int) -> Entry:
        clock[0] += 4.0
        samples = Samples(phase="forward", kind="pipelined", calls_per_sample=1, times_s=(1.0,))
        found = Measurement(case=one, replicate=number, samples=(samples,))
        lab._keep_calls(found)
        return found

    monkeypatch.setattr(lab_module, "opened", opened)
    monkeypatch.setattr(ProcessLab, "measured", answer)
    until = Deadline.begun(budget_s, lambda: clock[0])
    return [outcome.case for outcome in lab.round(0, cases, until)]


def test_after_the_budget_the_first_case_alone_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [0.0]
    lab = lab_in(tmp_path, clock=lambda: clock[0])
    cases = [EAGER, LAST, COMPILED, SLOWEST]
    lab.run = next(  # a seed whose order begins with the other case
        run
        for run in (lab.run.model_copy(update={"seed": seed}) for seed in range(9))
        if dataclasses.replace(lab, run=run)._order(0, cases)[:2] == [LAST, EAGER]
    )
    assert measured_in(lab, monkeypatch, clock, cases, 3.0) == [LAST, EAGER]
    assert len(measured_in(lab, monkeypatch, clock, cases, None)) == 4


def test_what_begins_slowly_comes_last_and_in_the_given_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    orders = []
    for seed in range(8):
        clock = [0.0]
        lab = lab_in(tmp_path / str(seed))
        lab.run = lab.run.model_copy(update={"seed": seed})
        cases = [EAGER, LAST, COMPILED, SLOWEST]
        first = measured_in(lab, monkeypatch, clock, cases, None)
        assert first[2:] == [COMPILED, SLOWEST]
        orders.append(measured_in(lab, monkeypatch, clock, cases, None))
    assert any(order[2:] != [COMPILED, SLOWEST] for order in orders)


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
