"""A process that counts instructions under callgrind, for real."""

import dataclasses
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.ab import callgrind
from bench.core.counted import CANARY, Counted, name_of
from bench.core.decode import Decoder
from bench.engine.requests import request
from bench.host import helper
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.verdict import counted as verdicts
from bench.worker import count
from tests.support.cases import case


class Engine:
    """Counts nothing, and calls."""

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    def count(self, _name: str, work: Callable[[], None]) -> None:
        work()


@pytest.mark.parametrize("subject", ["UsesUpAnIterator", "UsesUpAGenerator"])
def test_calls_that_have_used_up_an_iterator_of_the_module_are_not_counted(
    tmp_path: Path, subject: str
) -> None:
    folders, engine = Folders(tmp_path / "scratch", tmp_path / "failures"), Engine()
    one = case(subject=f"tests.subjects.hostile:{subject}", input="4", batch=1, threads="1")
    asked = request("measure", one, 0, RunOptions(), folders)
    found = count._case(0, asked, engine)  # type: ignore[arg-type]
    assert found.error is not None
    assert "which the calls have used up" in found.error


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("valgrind") is None or platform.machine() != "x86_64",
    reason="valgrind is not installed, or the processor is not an x86-64",
)
def test_a_layer_is_counted_call_by_call_and_functions_add_up(tmp_path: Path) -> None:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    folders = Folders(tmp_path / "scratch", tmp_path / "failures")
    asked = [
        dataclasses.asdict(request("measure", one, 0, RunOptions(), folders))
        for one in (
            case(subject="torch.nn:ReLU()", input="4,8,8", batch=1, threads="1"),
            case(subject="torch.nn:NoSuchLayer()", input="4,8,8", batch=1, threads="1"),
        )
    ]
    answer = helper.ask(
        "bench.worker.count",
        {"engine": "callgrind", "requests": asked},
        Decoder[Counted](Counted, "answer"),
        900.0,
        place=callgrind.Under(dumps=str(dumps / "count")),
        environment={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
    )
    good, bad = answer.cases
    assert bad.error is not None
    assert "NoSuchLayer" in bad.error
    found = callgrind.read(dumps)
    counts = {length: float(found[name_of(0, length)].total) for length in good.lengths}
    assert 1_000 < verdicts.per_call(counts) < 10_000_000
    assert found[CANARY].total > 2**20 / 64  # a copy of a megabyte takes this at the least
    for one in found.values():
        assert sum(one.by_function.values()) == one.total
    assert any("relu" in name for name in good.calls)
