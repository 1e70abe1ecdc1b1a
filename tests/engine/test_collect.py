"""A child's files and its end become a record; a full disk becomes none."""

import dataclasses
import errno
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bench.core.protocol import Ended, Exited, Request, Signalled, TimedOut, WorkerLost
from bench.core.records import Cause, Failure, to_line
from bench.engine.collect import DiskFull, collect
from bench.engine.requests import request
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from tests.support.cases import PLAIN, case


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "scratch", tmp_path / "failures")
    made.scratch.mkdir()
    return made


def asked(folders: Folders, **changes: Any) -> Request:
    return request("measure", case(**changes), 3, RunOptions(timeout_s=9.0), folders)


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("ended", "status", "reason"),
    [
        (Ended(how=TimedOut()), "timeout", "not done after 9 s (--timeout)"),
        (Ended(how=Signalled("SIGSEGV")), "crash", "ended by SIGSEGV"),
        (
            Ended(how=Signalled("SIGKILL"), out_of_memory=True),
            "oom",
            "ended by the kernel because memory ran out",
        ),
        (
            Ended(how=Signalled("SIGKILL")),
            "crash",
            "ended by SIGKILL, and not by the kernel for want of memory",
        ),
        (Ended(how=Exited(74)), "crash", "the process ended itself with exit code 74"),
        (
            Ended(how=WorkerLost("the replicate ended with exit code -9")),
            "crash",
            "the replicate ended with exit code -9, while it ran this case",
        ),
    ],
)
def test_the_end_of_a_child_without_a_record_is_put_into_words(
    folders: Folders, ended: Ended, status: str, reason: str
) -> None:
    found = collect(asked(folders), ended, folders)
    assert found == Failure(case=PLAIN, replicate=3, status=status, reason=reason)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ended", "from_outside"),
    [
        (Ended(how=Signalled("SIGKILL")), True),
        (Ended(how=Signalled("SIGKILL"), out_of_memory=True), False),
        (Ended(how=Signalled("SIGSEGV")), False),
        (Ended(how=WorkerLost("it ended", killed=True)), True),
        (Ended(how=WorkerLost("it did not answer")), False),
        (Ended(how=TimedOut()), False),
        (Ended(how=Exited(137)), False),
    ],
)
def test_a_kill_is_told_from_every_other_end(ended: Ended, from_outside: bool) -> None:
    assert ended.killed is from_outside


def test_a_case_ended_for_its_time_says_what_it_was_at(folders: Folders) -> None:
    one = asked(folders)
    Path(str(one.stage)).write_text("in its first call\x1b[2J" + "y" * 1000)
    found = collect(one, Ended(how=TimedOut()), folders)
    assert isinstance(found, Failure)
    assert found.reason.startswith("not done after 9 s (--timeout), in its first call?[2Jyyy")
    assert len(found.reason) < 150
    assert not Path(str(one.stage)).exists()


def test_a_time_limit_that_the_budget_has_shortened_is_named(folders: Folders) -> None:
    one = dataclasses.replace(asked(folders), timeout_is="its share of --budget")
    found = collect(one, Ended(how=TimedOut()), folders)
    assert isinstance(found, Failure)
    assert found.reason == "not done after 9 s (its share of --budget)"


@pytest.mark.parametrize("left", ["", "nonsense", "[]", "{}"])
def test_what_is_no_record_is_none(folders: Folders, left: str) -> None:
    one = asked(folders)
    Path(one.out).write_text(left)
    found = collect(one, Ended(how=Exited(0)), folders)
    assert isinstance(found, Failure)
    assert found.reason == "the process ended itself with exit code 0"


def test_the_record_of_another_case_is_none(folders: Folders) -> None:
    one = asked(folders)
    other = Failure(case=case(batch=1), replicate=3, status="error", reason="not mine")
    Path(one.out).write_text(to_line(other))
    found = collect(one, Ended(how=Exited(0)), folders)
    assert isinstance(found, Failure)
    assert found.status == "crash"


def test_a_full_disk_is_no_verdict_on_the_case_whatever_the_exit_code(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(DiskFull) as caught:
        collect(asked(folders), Ended(how=Exited(1)), folders)
    assert str(caught.value) == (
        f"{folders.scratch}: no space left on the disk: No space left on device; "
        "make room, then continue with --resume"
    )


def told(folders: Folders, reason: str, cause: Cause | None = None, **changes: Any) -> Request:
    one = asked(folders, **changes)
    failure = Failure(case=case(**changes), replicate=3, status="error", reason=reason, cause=cause)
    Path(one.out).write_text(to_line(failure))
    return one


NO_ROOM = "no space left on the disk: InductorError: OSError: [Errno 28] No space left on device"


def test_a_full_disk_in_a_compilers_cache_is_no_verdict_though_the_compiler_cleared_up(
    folders: Folders,
) -> None:
    with pytest.raises(DiskFull, match="make room, then continue with --resume"):
        collect(
            told(folders, NO_ROOM, "disk-full", compile="default"), Ended(how=Exited(0)), folders
        )


def test_a_subject_that_says_the_disk_is_full_is_believed_where_it_is(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = collect(told(folders, NO_ROOM, "disk-full"), Ended(how=Exited(0)), folders)
    assert isinstance(found, Failure)
    assert (found.status, found.reason) == ("error", NO_ROOM)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(DiskFull, match="no space left on the disk"):
        collect(told(folders, NO_ROOM, "disk-full"), Ended(how=Exited(0)), folders)


def test_an_error_because_the_kernel_ended_a_compiler_for_want_of_memory_is_oom(
    folders: Folders,
) -> None:
    ended = Ended(how=Exited(0), out_of_memory=True)
    found = collect(told(folders, "c++: Killed signal terminated program"), ended, folders)
    assert isinstance(found, Failure)
    assert found.status == "oom"
    assert "(c++: Killed signal terminated program)" in found.reason


def test_paths_do_not_depend_on_the_current_directory() -> None:
    one = asked(Folders(Path("results/run/.scratch"), Path("results/run/failures")))
    for name in ("out", "log", "cache", "reference"):
        assert Path(getattr(one, name)).is_absolute()
