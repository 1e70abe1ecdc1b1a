"""A run directory is there with all that a resume needs, or it is not there."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.ab import ab_directory
from bench.ab.ab_plan import Asked, Planned
from bench.ab.variants import Side
from bench.core.errors import UserError
from bench.core.records import SCHEMA_VERSION
from bench.host import environment
from bench.plan import config
from bench.results import run_directory

SIDES = (
    Side(name="A", asked="amp=off", kind="settings"),
    Side(name="B", asked="amp=bfloat16", kind="settings"),
)
PLANNED = Planned(
    sides=SIDES, cases={}, missing={}, run=config.RunOptions(), threshold=0.05, thresholds={},
    machine_id="m1", versions={}, proof={}, torch_details={"torch": "2.13.0", "threads": 2},
    sources={},
)  # fmt: skip


@pytest.fixture(autouse=True)
def _outside_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = {"git_commit": None, "git_dirty": None, "git_changes": None}
    monkeypatch.setattr(environment, "git_state", lambda _: outside)


def begin_run(path: Path) -> None:
    run_directory.create(path, {"name": "mine"})


def begin_comparison(path: Path) -> None:
    ab_directory.create(Asked(a="amp=off", b="amp=bfloat16", out=path), PLANNED)


BEGIN = pytest.mark.parametrize("begin", [begin_run, begin_comparison])
Begin = Callable[[Path], None]


def test_it_has_all_that_a_resume_needs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run"
    begin_run(path)
    assert [one.name for one in path.parent.iterdir()] == ["run"]
    directory, document = run_directory.reopen(path)
    assert document == {"schema": SCHEMA_VERSION, "run_id": "run", "name": "mine"}
    assert directory.journal.read_bytes() == b""
    run_directory.release(run_directory.lock(directory))


def test_a_comparison_has_all_that_a_resume_needs(tmp_path: Path) -> None:
    begin_comparison(tmp_path / "ab")
    asked, stored = ab_directory.stored(Asked(resume=tmp_path / "ab"))
    assert (asked.a, asked.b) == ("amp=off", "amp=bfloat16")
    assert ab_directory.reopen(asked, PLANNED, stored) == tmp_path / "ab"
    assert (tmp_path / "ab/pairs.jsonl").read_bytes() == b""


def test_a_comparison_is_not_gone_on_with_under_other_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_comparison(tmp_path / "ab")
    asked, stored = ab_directory.stored(Asked(resume=tmp_path / "ab"))
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    with pytest.raises(ab_directory.ChangedError) as caught:
        ab_directory.reopen(asked, PLANNED, stored)
    assert str(caught.value) == (
        f"--resume {tmp_path}/ab: changed since then: environment variable "
        "ATEN_CPU_CAPABILITY; start a new comparison"
    )


@BEGIN
def test_on_a_full_disk_nothing_is_left_that_stands_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Begin
) -> None:
    def full(path: Path, *_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_text", full)
        with pytest.raises(UserError) as caught:
            begin(tmp_path / "run")
    said = f"--out {tmp_path}/run: cannot be made: No space left on device; make room there"
    assert str(caught.value) == said
    assert list(tmp_path.iterdir()) == []
    begin(tmp_path / "run")


class Killed(BaseException):
    """Nothing catches a kill, and nothing clears up after it."""


@BEGIN
def test_a_kill_before_the_description_is_written_leaves_the_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Begin
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as moment:
        moment.setattr(run_directory, "write_atomically", killed)
        moment.setattr("shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            begin(tmp_path / "run")
    begin(tmp_path / "run")
    assert (tmp_path / "run").is_dir()


@BEGIN
def test_of_two_that_begin_at_once_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Begin
) -> None:
    monkeypatch.setattr(
        run_directory, "refuse_existing", lambda _: None
    )  # both have looked already
    begin(tmp_path / "run")
    before = sorted((one.name, one.stat().st_mtime_ns) for one in (tmp_path / "run").iterdir())
    with pytest.raises(UserError, match="cannot be made: Directory not empty"):
        begin(tmp_path / "run")
    after = sorted((one.name, one.stat().st_mtime_ns) for one in (tmp_path / "run").iterdir())
    assert after == before


@BEGIN
def test_what_exists_is_resumed_by_its_own_command_where_it_can_be(
    tmp_path: Path, begin: Begin
) -> None:
    begin(tmp_path / "my run")
    with pytest.raises(UserError) as caught:
        begin(tmp_path / "my run")
    said = f"--out {tmp_path}/my run: exists already; choose another"
    name = "run" if begin is begin_run else "ab"
    assert str(caught.value) == f"{said}, or resume it: bench {name} --resume '{tmp_path}/my run'"
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"exists already; choose another$"):
        begin(tmp_path / "other")


def _refusing(*names: str) -> Callable[..., Any]:
    """A file system on which these are closed to us: the tests may run as root."""
    read = Path.read_text

    def read_text(path: Path, *given: Any, **more: Any) -> str:
        if path.name in names:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path, *given, **more)

    return read_text


def test_what_cannot_be_read_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_run(tmp_path / "run")
    begin_comparison(tmp_path / "ab")
    monkeypatch.setattr(Path, "read_text", _refusing("run.json", "ab.json"))
    for name, reopen in (
        ("run", run_directory.reopen),
        ("ab", lambda path: ab_directory.stored(Asked(resume=path))),
    ):
        with pytest.raises(UserError, match=f"{name}: cannot be read: Permission denied"):
            reopen(tmp_path / name)


def test_what_cannot_be_written_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_run(tmp_path / "run")
    begin_comparison(tmp_path / "ab")
    stored = json.loads((tmp_path / "ab/ab.json").read_text())
    monkeypatch.setattr(os, "access", lambda *_: False)
    for name, reopen in (
        ("run", run_directory.reopen),
        ("ab", lambda path: ab_directory.reopen(Asked(resume=path), PLANNED, stored)),
    ):
        with pytest.raises(UserError, match=f"{name}: cannot be written: Permission denied; "):
            reopen(tmp_path / name)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_is_none_is_called_that(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "other")
    with pytest.raises(UserError, match="other: is not a run directory: "):
        run_directory.reopen(tmp_path / "other")
    with pytest.raises(UserError, match="other: is not a comparison: "):
        ab_directory.stored(Asked(resume=tmp_path / "other"))
