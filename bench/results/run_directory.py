"""A run directory: made, reopened for a resume, finished."""

import contextlib
import datetime
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, refused
from bench.core.records import SCHEMA_VERSION, Case
from bench.core.text import command

RESULTS = Path("results")
DESCRIPTIONS = ("run.json", "ab.json")  # of what can be gone on with


class RunDirError(UserError):
    """The directory cannot be used: what, where, what would be right."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a run keeps what its processes leave."""

    scratch: Path  # results, logs and compile caches of the run, removed at its end
    failures: Path

    def reference(self, case: Case) -> Path:
        """File of the float64 values of a subject, one for all its settings."""
        key = repr((case.subject, case.mode, case.batch, case.input, case.grad_mode))
        return self.scratch / "reference" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.pt"

    def of(self, case: Case) -> str:
        """A file name for a case: readable, safe in a shell, unique."""
        digest = hashlib.sha256(case.case_id.encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9._=-]+', '_', case.case_id)[:100]}-{digest}"


@dataclass(frozen=True, slots=True)
class RunDir:
    """Where everything of a run lies."""

    path: Path

    @property
    def folders(self) -> Folders:
        return Folders(self.path / ".scratch", self.path / "failures")

    @property
    def description(self) -> Path:
        return self.path / "run.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"


def default_path(name: str | None, commit: str | None, now: datetime.datetime) -> Path:
    """`results/<utc>-<name>-<short sha>`, as far as they are known."""
    parts = [now.strftime("%Y%m%dT%H%M%SZ")]
    if name:
        parts.append(re.sub(r"[^A-Za-z0-9._-]+", "_", name))
    if commit:
        parts.append(commit[:8])
    return RESULTS / "-".join(parts)


def create(path: Path, description: Mapping[str, Any]) -> RunDir:
    """A new directory with its run.json.  Raises RunDirError."""
    with new(path) as folder:
        run = RunDir(folder)
        run.folders.scratch.mkdir()
        document = {"schema": SCHEMA_VERSION, "run_id": path.name, **description}
        write_atomically(run.description, json.dumps(document, indent=1) + "\n")
        run.journal.touch()
    return RunDir(path)


@contextlib.contextmanager
def new(path: Path) -> Iterator[Path]:
    """A folder to be filled, which is `path` afterwards: all of it or, where that fails, nothing.

    Raises RunDirError, also for what the system refuses meanwhile.
    """
    refuse_existing(path)
    folder = path.with_name(f".bench-{uuid.uuid4().hex}")
    try:
        folder.mkdir(parents=True)
        yield folder
        folder.rename(path)
    except OSError as error:
        why = refused(OSError(error.errno, error.strerror))
        raise RunDirError(f"--out {path}: cannot be made: {why}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_existing(path: Path) -> None:
    """Raises RunDirError: what lies there is somebody's results."""
    try:
        there = path.exists() or path.is_symlink()
    except OSError as error:  # its name is too long, or its folder closed to us
        raise RunDirError(f"--out {path}: cannot be written: {error.strerror}") from None
    if there:
        begun = any((path / name).exists() for name in DESCRIPTIONS)
        or_else = f", or go on with it: {command('--resume', path)}" if begun else ""
        raise RunDirError(f"--out {path}: exists already; choose another{or_else}")


def change(run: RunDir, document: Mapping[str, Any]) -> None:
    """Replace run.json by `document`.  Raises RunDirError."""
    try:
        write_atomically(run.description, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise RunDirError(f"{run.path}: cannot be written: {stopped_by(error)}") from None


def stopped_by(error: OSError) -> str:
    """Return why the system stopped a run, and what helps if its disk is full."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{error.strerror or error}{'; make room, then go on with --resume' if full else ''}"


def reopen(path: Path) -> tuple[RunDir, dict[str, Any]]:
    """A directory to go on with, and its run.json.  Raises RunDirError."""
    run = RunDir(path)
    try:
        document = json.loads(run.description.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA_VERSION:
            raise RunDirError(
                f"--resume {path}: written by another version (schema {document['schema']}, "
                f"this is {SCHEMA_VERSION})"
            )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunDirError(f"--resume {path}: is no run directory: {error.strerror}") from None
    except OSError as error:
        raise RunDirError(f"--resume {path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RunDirError(f"--resume {path}: its run.json is damaged; start a new run") from None
    make_scratch(run)
    return run, document


def make_scratch(run: RunDir) -> None:
    """For a resume: a finished run has none any more.  Raises RunDirError."""
    try:
        run.folders.scratch.mkdir(exist_ok=True)
        if not os.access(run.path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        why = refused(OSError(error.errno, error.strerror))
        raise RunDirError(f"--resume {run.path}: cannot be written: {why}") from None


def finish(run: RunDir, *, complete: bool) -> None:
    """Scratch is removed when nothing is left to resume; `latest` points here."""
    if complete:
        shutil.rmtree(run.folders.scratch, ignore_errors=True)
    if run.path.resolve().parent == RESULTS.resolve():
        link = RESULTS / "latest"
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(run.path.name)
        except OSError:
            return  # a file system without links: a convenience less


def lock(run: RunDir) -> int:
    """Hold the directory until this process ends.  Raises RunDirError where another does."""
    import fcntl

    try:
        handle = os.open(run.folders.scratch / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not isinstance(error, BlockingIOError):
            raise RunDirError(f"{run.path}: cannot be written: {error.strerror}") from None
        os.close(handle)
        raise RunDirError(f"{run.path}: another `bench run` is writing here; wait for it") from None
    return handle


def write_atomically(path: Path, text: str) -> None:
    """All of it or what was there before."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def release(handle: int) -> None:
    """Let another process write there."""
    os.close(handle)
