"""Make a run directory, reopen it for a resume, and finish it."""

import contextlib
import datetime
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, refused
from bench.core.records import SCHEMA_VERSION, Case
from bench.results import directory_kind, results_folder
from bench.results.directory_kind import Kind
from bench.results.results_folder import RESULTS


class RunDirError(UserError):
    """The directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders for the files that the processes of a run write."""

    scratch: Path  # records, logs and compile caches; removed at the end of the run
    failures: Path

    def reference(self, case: Case) -> Path:
        """Return the file with a subject's float64 values, which all its settings share.

        Devices have their own: what is too much for the CPU may suit an accelerator.
        """
        key = repr((case.subject, case.mode, case.batch, case.input, case.grad_mode, case.device))
        return self.scratch / "reference" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.pt"

    def of(self, case: Case) -> str:
        """Return a file name for a case: readable, safe in a shell, unique."""
        digest = hashlib.sha256(case.case_id.encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9._=-]+', '_', case.case_id)[:100]}-{digest}"


@dataclass(frozen=True, slots=True)
class RunDir:
    """A run directory and the places of its files."""

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
    """Return `results/<utc>-<name>-<short sha>`, without the parts that are unknown."""
    parts = [now.strftime("%Y%m%dT%H%M%SZ")]
    if name:
        parts.append(re.sub(r"[^A-Za-z0-9._-]+", "_", name))
    if commit:
        parts.append(commit[:8])
    return RESULTS / "-".join(parts)


def create(
    path: Path,
    description: Mapping[str, Any],
    *,
    name: str | None = None,
    journal: str | None = None,
) -> RunDir:
    """Make a new directory with its description and an empty journal.  Raises RunDirError.

    name, journal: the names of both files, where they are not those of a run.
    """
    with new(path) as folder:
        run = RunDir(folder)
        run.folders.scratch.mkdir()
        document = {"schema": SCHEMA_VERSION, "run_id": path.name, **description}
        file = folder / name if name else run.description
        write_atomically(file, json.dumps(document, indent=1) + "\n")
        (folder / journal if journal else run.journal).touch()
    return RunDir(path)


@contextlib.contextmanager
def new(path: Path) -> Iterator[Path]:
    """Open a temporary folder that becomes `path` at the end; nothing is left if that fails.

    Raises RunDirError, also for an OSError inside the block.
    """
    refuse_existing(path)
    folder = path.with_name(f".bench-{uuid.uuid4().hex}")
    try:
        results_folder.make_for(path)
        folder.mkdir(parents=True)
        yield folder
        folder.rename(path)
    except OSError as error:
        why = refused(OSError(error.errno, error.strerror))
        raise RunDirError(f"--out {path}: cannot be made: {why}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_existing(path: Path) -> None:
    """Raise RunDirError if the path exists, since it may hold results."""
    try:
        there = path.exists() or path.is_symlink()
    except OSError as error:  # the name is too long, or we may not enter the folder
        raise RunDirError(f"--out {path}: cannot be written: {error.strerror}") from None
    if there:
        kind = directory_kind.kind_of(path)
        or_else = f", or resume it: {kind.resume(path)}" if kind and kind.resumed else ""
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
    return f"{error.strerror or error}{'; make room, then continue with --resume' if full else ''}"


def reopen(
    path: Path, kinds: Collection[Kind] = directory_kind.RUNS
) -> tuple[RunDir, dict[str, Any]]:
    """Open a directory for a resume, and read its run.json.  Raises RunDirError.

    kinds: a directory of another kind is refused, with the command that continues it.
    """
    run = RunDir(path)
    if other := directory_kind.mistaken(path, kinds):
        raise RunDirError(f"--resume {path}: {other}")
    try:
        document = json.loads(run.description.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA_VERSION:
            raise RunDirError(
                f"--resume {path}: written by another version (schema {document['schema']}, "
                f"this is {SCHEMA_VERSION})"
            )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunDirError(f"--resume {path}: is not a run directory: {error.strerror}") from None
    except OSError as error:
        raise RunDirError(f"--resume {path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RunDirError(f"--resume {path}: its run.json is damaged; start a new run") from None
    make_scratch(run)
    return run, document


def make_scratch(run: RunDir) -> None:
    """Make the scratch folder for a resume, since a finished run has none.  Raises RunDirError."""
    try:
        run.folders.scratch.mkdir(exist_ok=True)
        if not os.access(run.path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        why = refused(OSError(error.errno, error.strerror))
        raise RunDirError(f"--resume {run.path}: cannot be written: {why}") from None


def finish(run: RunDir, *, complete: bool) -> None:
    """Remove the scratch folder of a complete run."""
    if complete:
        shutil.rmtree(run.folders.scratch, ignore_errors=True)


def link_latest(run: RunDir) -> None:
    """Let the link `latest` point to a run; searches and comparisons are no runs."""
    if run.path.resolve().parent == RESULTS.resolve():
        link = RESULTS / "latest"
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(run.path.name)
        except OSError:
            return  # the file system has no links; `latest` is only a convenience


def lock(run: RunDir) -> int:
    """Lock the directory until this process ends, and return the handle.

    Raises RunDirError if another process holds the lock.
    """
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
    """Replace a file by a text; after a failure the old content is still there."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def release(handle: int) -> None:
    """Release the lock."""
    os.close(handle)
