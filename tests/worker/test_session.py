"""A worker that runs several cases, with real processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.core.protocol import Request
from bench.core.records import Case, Entry, Failure, Measurement
from bench.engine.collect import collect
from bench.engine.fork_server import ForkServer
from bench.engine.requests import make_room, request
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.worker import session
from tests.support.cases import case

SMALL: dict[str, Any] = {"subject": "torch.nn:Linear(4, 4)", "input": "4"}
SHARED = RunOptions(samples_s=0.01, warmup_s=0.01, timeout_s=60.0, isolation="session")


def asked(tmp_path: Path, of: Case, job: Any = "measure", run: RunOptions = SHARED) -> Request:
    return request(job, of, 0, run, Folders(tmp_path, tmp_path / "failures"))


@pytest.mark.parametrize(
    ("job", "changes", "isolation", "expected"),
    [
        ("measure", {}, "session", True),
        ("measure", {"mode": "training", "amp": "bfloat16"}, "session", True),
        ("measure", {}, "process", False),
        ("static_metrics", {}, "session", False),
        ("measure", {"compile": "default"}, "session", False),
        ("measure", {"threads": "1"}, "session", True),
        ("measure", {"device": "cuda:0", "cudnn_benchmark": "on"}, "session", False),
        ("measure", {"device": "cuda:0", "cudnn_benchmark": "off"}, "session", True),
        ("measure", {"allocator": "system"}, "session", False),
    ],
)
def test_only_measurements_that_leave_nothing_for_the_next_share_a_process(
    tmp_path: Path, job: str, changes: dict[str, Any], isolation: Any, expected: bool
) -> None:
    run = SHARED.model_copy(update={"isolation": isolation})
    assert session.suits(asked(tmp_path, case(**changes), job, run)) is expected


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    log = tmp_path_factory.mktemp("server") / "log"
    one = ForkServer(allocator="retained", modules=["torch.nn"], inductor=False, log=log)
    yield one
    one.close()


def measured(server: ForkServer, tmp_path: Path, **changes: Any) -> Entry:
    wish = asked(tmp_path, case(**{**SMALL, **changes}))
    make_room(wish)
    return collect(wish, server.ask(wish), Folders(tmp_path, tmp_path / "failures"))


@pytest.mark.slow
def test_cases_run_one_after_the_other_in_one_process_until_one_fails(
    server: ForkServer, tmp_path: Path
) -> None:
    first = measured(server, tmp_path)
    second = measured(server, tmp_path, mode="training", batch=2)
    assert isinstance(first, Measurement), first
    assert isinstance(second, Measurement), second
    assert "first_call_s" in first.metrics
    assert second.state["earlier_cases"] == 1
    assert "first_call_s" not in second.metrics
    own = measured(server, tmp_path, subject="tests.subjects.hostile:RaisesWhenBuilt", input="4")
    assert isinstance(own, Failure)
    fresh = measured(server, tmp_path, batch=4)
    assert isinstance(fresh, Measurement), fresh
    assert "earlier_cases" not in fresh.state


@pytest.mark.slow
def test_a_crash_is_that_of_its_own_case_and_the_next_has_a_new_process(
    server: ForkServer, tmp_path: Path
) -> None:
    crashed = measured(server, tmp_path, subject="tests.subjects.hostile:ExitsWhenBuilt", input="4")
    assert isinstance(crashed, Failure)
    assert crashed.status == "crash"
    after = measured(server, tmp_path, batch=4)
    assert isinstance(after, Measurement), after
    assert "earlier_cases" not in after.state


@pytest.mark.slow
def test_a_case_that_hangs_is_ended_and_the_next_has_a_new_process(
    server: ForkServer, tmp_path: Path
) -> None:
    run = SHARED.model_copy(update={"timeout_s": 2.0})
    of = case(subject="tests.subjects.hostile:HangsWhenBuilt", input="4")
    wish = asked(tmp_path, of, run=run)
    make_room(wish)
    hung = collect(wish, server.ask(wish), Folders(tmp_path, tmp_path / "failures"))
    assert isinstance(hung, Failure)
    assert hung.status == "timeout"
    assert isinstance(measured(server, tmp_path), Measurement)
