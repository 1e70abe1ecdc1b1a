"""A helper process: a module of the suite that is asked once, answers in a file, and ends.

For what initialises a device, or runs code of the user, and must not do so in this process.
"""

import atexit
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from bench.core.decode import Decoder
from bench.core.errors import refused
from bench.core.records import RecordError
from bench.core.text import printable
from bench.host import orphans
from bench.host.interpreter import HERE, Place

ERRORS = "errors"  # file with its error output
TAIL_BYTES = 10_000
T = TypeVar("T")


class HelperError(RuntimeError):
    """A helper gave no answer; the message is one line."""


class HelperLate(HelperError):  # noqa: N818 - says what happened
    """A helper was ended because it took too long."""


class HelperEnded(HelperError):  # noqa: N818 - says what happened
    """A helper ended without an answer; the message is the last line that it wrote."""

    def __init__(self, said: str, code: int) -> None:
        super().__init__(said)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Started:
    """A helper that runs, in an environment and a current directory; `folder` has its files."""

    process: subprocess.Popen[bytes]
    folder: "tempfile.TemporaryDirectory[str]"
    marked: Mapping[str, str]
    started_as: tuple[object, ...]

    def drop(self) -> None:
        """End it: nobody asks it."""
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()

    def answer_to(self, request: str, limit_s: float) -> int:
        """Send the request; return the exit code.  Raises TimeoutExpired."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError), self.process.stdin as stdin:  # it may have ended
            stdin.write(request.encode())
        return _exit_code(self.process, self.marked, limit_s)


_early: dict[str, _Started] = {}  # by module


def start_early(module: str) -> None:
    """Start a helper that `ask` will use: it imports torch while this process imports its modules.

    One that is never asked ends with this process.
    """
    drop_early(module)
    marked, given = orphans.mark(), dict(os.environ)
    try:
        started_as = _as_now(HERE, module, given)
        folder = tempfile.TemporaryDirectory(prefix=_prefix(module), ignore_cleanup_errors=True)
        errors = Path(folder.name) / ERRORS
        process = _start(HERE, module, {**given, **marked}, errors, subprocess.PIPE)
    except OSError:
        return  # `ask` meets it as well, and says so
    _early[module] = _Started(process, folder, marked, started_as)
    atexit.register(drop_early, module)


def early_processes() -> list[int]:
    """Return the numbers of the helpers that were started early and are not asked yet."""
    return [started.process.pid for started in _early.values()]


def drop_early(module: str) -> None:
    """End a helper that was started early and is not asked."""
    if started := _early.pop(module, None):
        started.drop()


def _taken(place: Place, module: str, environment: Mapping[str, str]) -> _Started | None:
    """Return the helper that was started early, if it is one that would be started now."""
    found = _early.pop(module, None)
    if found is None:
        return None
    with contextlib.suppress(OSError):  # the current directory was removed
        if found.started_as == _as_now(place, module, environment):
            return found
    found.drop()
    return None


def _as_now(place: Place, module: str, environment: Mapping[str, str]) -> tuple[object, ...]:
    folder = place.folder or Path.cwd()
    return place.command(module), {**environment, **place.environment()}, folder


def ask(
    module: str,
    request: Mapping[str, Any],
    answer: Decoder[T],
    limit_s: float,
    *,
    place: Place = HERE,
    environment: Mapping[str, str] = os.environ,
    in_parts: bool = False,
) -> T:
    """Return the answer of the module's `main`.  Raises HelperError.

    request: comes to its standard input in one line, with `out`, the file for the answer, and
             `parent`, the number of this process.
    in_parts: it answers more and more; of one that is late, what it has answered counts.
    """
    early = _taken(place, module, environment)
    try:
        folder = (
            early.folder
            if early
            else tempfile.TemporaryDirectory(prefix=_prefix(module), ignore_cleanup_errors=True)
        )
    except OSError as error:
        where = refused(error, "the folder for temporary files")
        raise HelperError(f"{where}, or choose another (TMPDIR)") from None
    with folder as path:
        out, errors, asked = (Path(path) / name for name in ("answer.json", ERRORS, "request"))
        line = json.dumps({**request, "out": str(out), "parent": os.getpid()})
        try:
            if early:
                code = early.answer_to(line, limit_s)
            else:
                asked.write_text(line)
                code = _run(place, module, environment, asked, errors, limit_s)
            said = (_tail(errors).splitlines() or ["no error output"])[-1]
        except subprocess.TimeoutExpired:
            if in_parts and out.exists():
                with contextlib.suppress(OSError, RecordError):
                    return answer.of_json(out.read_bytes())
            raise HelperLate(f"not done after {limit_s:.0f} s") from None
        except OSError as error:
            raise HelperError(refused(error, path)) from None
        try:
            return answer.of_json(out.read_bytes())
        except (OSError, RecordError):  # it ended before, or while it wrote
            raise HelperEnded(printable(said), code) from None


def _prefix(module: str) -> str:
    return f"bench-{module.rpartition('.')[2]}-"


def _run(
    place: Place,
    module: str,
    environment: Mapping[str, str],
    asked: Path,
    errors: Path,
    limit_s: float,
) -> int:
    """Return the exit code.  Raises OSError, TimeoutExpired."""
    marked = orphans.mark()
    with asked.open("rb") as given:
        process = _start(place, module, {**environment, **marked}, errors, given)
    return _exit_code(process, marked, limit_s)


def _start(
    place: Place,
    module: str,
    environment: Mapping[str, str],
    errors: Path,
    given: IO[bytes] | int,
) -> "subprocess.Popen[bytes]":
    """Start the process.  given: its standard input.  Raises OSError."""
    # Files, not pipes: what a subject leaves running would hold a pipe open.
    with errors.open("wb") as said:
        return subprocess.Popen(
            place.command(module),
            cwd=place.folder,
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**environment, **place.environment(), "PYTHONUNBUFFERED": "1"},
        )


def _exit_code(
    process: "subprocess.Popen[bytes]", marked: Mapping[str, str], limit_s: float
) -> int:
    """Wait for its end.  Raises TimeoutExpired."""
    try:
        return process.wait(limit_s)
    finally:
        if process.returncode != 0:  # else it has ended what it started
            process.kill()
            process.wait()
            orphans.end(marked)


def _tail(file: Path) -> str:
    """Return the end of the output in the file, at most TAIL_BYTES."""
    with file.open("rb") as said:
        said.seek(max(0, file.stat().st_size - TAIL_BYTES))
        return said.read().decode("utf-8", errors="replace").strip()
