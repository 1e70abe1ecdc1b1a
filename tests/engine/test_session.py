"""What a child left, and what its end says, become a record; a full disk becomes none."""

import errno
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import Cause, Failure, to_line
from bench.engine.session import Session, SessionError, collect, killed, request
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from tests.support.cases import PLAIN, case


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "scratch", tmp_path / "failures")
    made.scratch.mkdir()
    return made


def asked(folders: Folders, **changes: Any) -> dict[str, Any]:
    return request("measure", case(**changes), 3, None, RunOptions(timeout_s=9.0), folders)


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("ended", "status", "reason"),
    [
        ({"end": "timeout"}, "timeout", "not done after 9 s (--timeout)"),
        ({"end": "signal", "signal": "SIGSEGV"}, "crash", "ended by SIGSEGV"),
        (
            {"end": "signal", "signal": "SIGKILL", "out_of_memory": True},
            "oom",
            "ended by the kernel, for memory ran out",
        ),
        (
            {"end": "signal", "signal": "SIGKILL", "out_of_memory": False},
            "crash",
            "ended by SIGKILL, and not by the kernel for want of memory",
        ),
        ({"end": "exit", "code": 74}, "crash", "the process ended itself with exit code 74"),
        (
            {"end": "replicate", "why": "the replicate ended with exit code -9"},
            "crash",
            "the replicate ended with exit code -9, while it ran this case",
        ),
    ],
)
def test_the_end_of_a_child_without_a_record_is_put_into_words(
    folders: Folders, ended: dict[str, Any], status: str, reason: str
) -> None:
    found = collect(asked(folders), ended, folders)
    assert found == Failure(case=PLAIN, replicate=3, status=status, reason=reason)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ended", "from_outside"),
    [
        ({"end": "signal", "signal": "SIGKILL", "out_of_memory": False}, True),
        ({"end": "signal", "signal": "SIGKILL", "out_of_memory": True}, False),
        ({"end": "signal", "signal": "SIGSEGV", "out_of_memory": False}, False),
        ({"end": "replicate", "why": "it ended", "killed": True}, True),
        ({"end": "replicate", "why": "it did not answer", "killed": False}, False),
        ({"end": "timeout"}, False),
        ({"end": "exit", "code": 137}, False),
    ],
)
def test_a_kill_is_told_from_every_other_end(ended: dict[str, Any], from_outside: bool) -> None:
    assert killed(ended) is from_outside


def test_a_case_ended_for_its_time_says_what_it_was_at(folders: Folders) -> None:
    one = asked(folders)
    Path(one["stage"]).write_text("in its first call\x1b[2J" + "y" * 1000)
    found = collect(one, {"end": "timeout"}, folders)
    assert isinstance(found, Failure)
    assert found.reason.startswith("not done after 9 s (--timeout), in its first call?[2Jyyy")
    assert len(found.reason) < 150
    assert not Path(one["stage"]).exists()


@pytest.mark.parametrize("left", ["", "nonsense", "[]", "{}"])
def test_what_is_no_record_is_none(folders: Folders, left: str) -> None:
    one = asked(folders)
    Path(one["out"]).write_text(left)
    found = collect(one, {"end": "exit", "code": 0}, folders)
    assert isinstance(found, Failure)
    assert found.reason == "the process ended itself with exit code 0"


def test_the_record_of_another_case_is_none(folders: Folders) -> None:
    one = asked(folders)
    other = Failure(case=case(batch=1), replicate=3, status="error", reason="not mine")
    Path(one["out"]).write_text(to_line(other))
    found = collect(one, {"end": "exit", "code": 0}, folders)
    assert isinstance(found, Failure)
    assert found.status == "crash"


def test_a_full_disk_is_no_verdict_on_the_case_whatever_the_exit_code(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(SessionError) as caught:
        collect(asked(folders), {"end": "exit", "code": 1}, folders)
    assert str(caught.value) == (
        f"{folders.scratch}: no space left on the disk: No space left on device; "
        "make room, then go on with --resume"
    )


def told(
    folders: Folders, reason: str, cause: Cause | None = None, **changes: Any
) -> dict[str, Any]:
    one = asked(folders, **changes)
    failure = Failure(case=case(**changes), replicate=3, status="error", reason=reason, cause=cause)
    Path(one["out"]).write_text(to_line(failure))
    return one


NO_ROOM = "no space left on the disk: InductorError: OSError: [Errno 28] No space left on device"


def test_a_full_disk_in_a_compilers_cache_is_no_verdict_though_the_compiler_cleared_up(
    folders: Folders,
) -> None:
    with pytest.raises(SessionError, match="make room, then go on with --resume"):
        collect(
            told(folders, NO_ROOM, "no-space", compile="default"),
            {"end": "exit", "code": 0},
            folders,
        )


def test_a_subject_that_says_the_disk_is_full_is_believed_where_it_is(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = collect(told(folders, NO_ROOM, "no-space"), {"end": "exit", "code": 0}, folders)
    assert isinstance(found, Failure)
    assert (found.status, found.reason) == ("error", NO_ROOM)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(SessionError, match="no space left on the disk"):
        collect(told(folders, NO_ROOM, "no-space"), {"end": "exit", "code": 0}, folders)


def test_words_alone_do_not_make_a_full_disk(folders: Folders) -> None:
    one = told(folders, NO_ROOM, compile="default")
    found = collect(one, {"end": "exit", "code": 0}, folders)
    assert isinstance(found, Failure)
    assert found.reason == NO_ROOM


def test_an_error_because_the_kernel_ended_a_compiler_for_want_of_memory_is_oom(
    folders: Folders,
) -> None:
    ended = {"end": "exit", "code": 0, "out_of_memory": True}
    found = collect(told(folders, "c++: Killed signal terminated program"), ended, folders)
    assert isinstance(found, Failure)
    assert found.status == "oom"
    assert "(c++: Killed signal terminated program)" in found.reason


def test_paths_do_not_depend_on_the_current_directory() -> None:
    one = asked(Folders(Path("results/run/.scratch"), Path("results/run/failures")))
    for name in ("out", "log", "cache", "reference"):
        assert Path(one[name]).is_absolute()


class Started(Exception):  # noqa: N818 - what a process would have been given
    """In place of starting it."""


@pytest.mark.parametrize(
    ("allocator", "thresholds", "tunables"),
    [
        (
            "retained",
            ["1073741824", "4294967296", "268435456"],
            "glibc.rtld.optional_static_tls=512:glibc.malloc.hugetlb=1",
        ),
        ("system", [None, None, None], "glibc.rtld.optional_static_tls=512"),
        (None, [None, None, None], "glibc.rtld.optional_static_tls=512"),
    ],
)
def test_the_allocator_is_set_before_its_process_starts_whatever_the_user_has_set(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allocator: str | None,
    thresholds: list[str | None],
    tunables: str,
) -> None:
    def start(*_: object, env: dict[str, str], **__: object) -> None:
        raise Started(env)

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    monkeypatch.setenv(
        "GLIBC_TUNABLES", "glibc.malloc.hugetlb=2:glibc.rtld.optional_static_tls=512"
    )
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(Started) as caught:
        Session(allocator=allocator, modules=[], inductor=False, log=tmp_path / "log")
    (environment,) = caught.value.args
    names = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"]
    assert [environment.get(name) for name in names] == thresholds
    assert environment.get("GLIBC_TUNABLES") == tunables


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("0", "0")])
def test_torch_asks_nvml_for_gpus_in_a_replicate_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, kept: str
) -> None:
    """CUDA's own answer begins its driver, after which no fork can use it."""

    def start(*_: object, env: dict[str, str], **__: object) -> None:
        raise Started(env)

    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    if given is not None:
        monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", given)
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(Started) as caught:
        Session(allocator=None, modules=[], inductor=True, log=tmp_path / "log")
    (environment,) = caught.value.args
    assert environment["PYTORCH_NVML_BASED_CUDA_CHECK"] == kept
