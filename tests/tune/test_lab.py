"""The lab of processes, with a pool that answers from memory."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import Case, Entry, Measurement
from bench.plan.config import RunOptions
from bench.results import run_directory
from bench.results.journal import Journal
from bench.tune import lab as lab_module
from bench.tune.lab import ProcessLab
from tests.support.cases import case

EAGER = case(subject="net", batch=8)
COMPILED = case(subject="net", batch=8, compile="default")


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
    directory = run_directory.create(tmp_path / "search", {})
    lab = ProcessLab(
        directory=directory,
        run=RunOptions(),
        journal=Journal(directory.journal),
        objective="latency",
        budget_s=10.0,
        tell=print,
        clock=lambda: clock[0],
    )
    found = lab.round(0, [EAGER, COMPILED])
    assert EAGER.case_id in found
    assert len(found) == measured
