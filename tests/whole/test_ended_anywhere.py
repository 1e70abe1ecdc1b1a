"""A run that is ended at any point goes on: nothing finished is lost, nothing is counted twice."""

import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.core.protocol import WorkerLost
from bench.core.records import Case, Entry, StaticMetrics
from bench.engine.run_so_far import RunSoFar
from bench.engine.scheduler import Runner
from bench.plan.config import RunOptions
from bench.plan.expand import Plan
from bench.results.journal import Journal, read
from bench.results.run_directory import Folders
from tests.engine.test_scheduler import Answer, FakeForkServer, Watched, works
from tests.support.cases import case

CASES = (case(batch=1), case(batch=8))
REPLICATES = 2
ENTRIES = len(CASES) * (REPLICATES + 1)  # outcomes, and static metrics once a case
ASKED = ENTRIES + len(CASES)  # and a reference for each batch


class Killed(BaseException):
    """Nothing catches a kill."""


def run(folder: Path, answer: Answer = works, replicates: int = REPLICATES) -> None:
    """Begin or go on, as `bench run` does."""
    path = folder / "journal.jsonl"
    log = Journal(path)
    seen = RunSoFar()
    for entry in read(path):
        seen.add(entry)
    folders = Folders(folder / "scratch", folder / "failures")
    watched = Watched()
    runner = Runner(
        plan=Plan(CASES, ()),
        run=RunOptions(replicates=replicates),
        folders=folders,
        journal=log,
        watcher=watched,
        seen=seen,
        clock=watched.clock,
        start=lambda **_: FakeForkServer(answer, []),  # type: ignore[arg-type]
    )
    try:
        runner.measure()
    finally:
        log.close()


def counted(folder: Path) -> Counter[tuple[str, int | None]]:
    """Lines of the file itself: reading it would hide a second one."""
    lines = (folder / "journal.jsonl").read_text().splitlines()
    found: Counter[tuple[str, int | None]] = Counter()
    for entry in read(folder / "journal.jsonl"):
        found[
            entry.case.case_id, None if isinstance(entry, StaticMetrics) else entry.replicate
        ] += 1
    assert len(lines) == found.total()
    return found


WHOLE = {(one.case_id, number): 1 for one in CASES for number in (*range(REPLICATES), None)}


@pytest.mark.parametrize("last", range(ASKED))
def test_killed_while_a_child_works_the_rest_is_measured_and_its_static_metrics_are_found(
    tmp_path: Path, last: int
) -> None:
    asked: list[str] = []

    def killed(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if len(asked) == last:
            raise Killed
        asked.append(job)
        return works(job, one, replicate)

    with pytest.raises(Killed):
        run(tmp_path, killed)
    before = counted(tmp_path)
    run(tmp_path)
    assert counted(tmp_path) == WHOLE
    assert before.keys() <= WHOLE.keys()
    assert before.total() == sum(job != "reference" for job in asked)


def test_killed_between_the_last_measurement_and_its_static_metrics_these_are_looked_for_again(
    tmp_path: Path,
) -> None:
    def killed(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if job == "static_metrics":
            raise Killed
        return works(job, one, replicate)

    with pytest.raises(Killed):
        run(tmp_path, killed, replicates=1)
    run(tmp_path, replicates=1)
    assert counted(tmp_path) == {(one.case_id, part): 1 for one in CASES for part in (0, None)}


@pytest.mark.parametrize("last", range(ENTRIES))
@pytest.mark.parametrize("taken", [0, 1, 100])
def test_killed_while_a_line_is_written_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int, taken: int
) -> None:
    _break_write(monkeypatch, last, taken, Killed)
    with pytest.raises(Killed):
        run(tmp_path)
    monkeypatch.undo()
    run(tmp_path)
    assert counted(tmp_path) == WHOLE


@pytest.mark.parametrize("last", range(ENTRIES))
@pytest.mark.parametrize("taken", [0, 1, 100])
def test_a_disk_that_is_full_at_any_line_stops_the_run_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int, taken: int
) -> None:
    _break_write(monkeypatch, last, taken, lambda: OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(UserError, match=r"cannot be written: No space left on device; make room"):
        run(tmp_path)
    monkeypatch.undo()
    assert counted(tmp_path).total() == last
    run(tmp_path)
    assert counted(tmp_path) == WHOLE


def _break_write(
    monkeypatch: pytest.MonkeyPatch, last: int, taken: int, error: Callable[[], BaseException]
) -> None:
    """Line number `last` is written as far as `taken`, then comes the error."""
    write, lines = os.write, [0]

    def broken(handle: int, line: Any) -> int:
        if lines[0] < last:
            lines[0] += 1
            return write(handle, line)
        if lines[0] == last and taken:
            lines[0] += 1
            return write(handle, line[:taken])
        raise error()

    monkeypatch.setattr(os, "write", broken)
