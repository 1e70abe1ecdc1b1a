"""A helper process: a module of the suite that is asked once, answers in a file, and ends.

For what initialises a device, or runs code of the user, and must not do so in this process.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench.core.decode import Decoder
from bench.core.errors import refused
from bench.core.records import RecordError
from bench.core.text import printable
from bench.host import orphans
from bench.host.interpreter import HERE, Place

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
    prefix = f"bench-{module.rpartition('.')[2]}-"
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        where = refused(error, "the folder for temporary files")
        raise HelperError(f"{where}, or choose another (TMPDIR)") from None
    with folder as path:
        out, errors, asked = (Path(path) / name for name in ("answer.json", "errors", "request"))
        try:
            asked.write_text(json.dumps({**request, "out": str(out), "parent": os.getpid()}))
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
    # Files, not pipes: what a subject leaves running would hold a pipe open.
    with asked.open("rb") as given, errors.open("wb") as said:
        process = subprocess.Popen(
            place.command(module),
            cwd=place.folder,
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**environment, **place.environment(), **marked, "PYTHONUNBUFFERED": "1"},
        )
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
