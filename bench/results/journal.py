"""The journal: each outcome is a line that is written to disk at once, so that a kill loses none.

Only complete lines count.  An incomplete last line is cut off before anything is appended.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from bench.core import decode
from bench.core.errors import UserError
from bench.core.records import Entry, RecordError, StaticMetrics, to_line

NAME = "journal.jsonl"
T = TypeVar("T")


class JournalError(UserError):
    """The journal cannot be read or written; the message is one line."""


class Journal:
    """Appends entries; each is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        """Open or create `path` and cut off an incomplete last line.  Raises JournalError."""
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            if path.is_file():
                _cut_torn_line(self._handle, path.read_bytes())
        except OSError as error:
            raise JournalError(f"{path}: cannot be written: {error.strerror}") from None

    def append(self, entry: Entry) -> None:
        """Append an entry.

        Raises JournalError, for example if the disk is full; earlier lines stay complete.
        """
        self.append_line(to_line(entry))

    def append_line(self, text: str) -> None:
        """Append a line of JSON, as `append` does."""
        line = memoryview((text + "\n").encode())
        before = os.fstat(self._handle).st_size
        try:
            while line:  # a disk that fills up may take only a part of it
                line = line[os.write(self._handle, line) :]
            if self.path.is_file():
                os.fsync(self._handle)
        except OSError as error:
            with contextlib.suppress(OSError):  # a device file cannot be truncated
                os.ftruncate(self._handle, before)
            why = f"{error.strerror}; make room, then continue with --resume"
            raise JournalError(f"{self.path}: cannot be written: {why}") from None
        if os.fstat(self._handle).st_nlink == 0:
            raise JournalError(f"{self.path}: was removed while the run wrote to it")

    def close(self) -> None:
        os.close(self._handle)


def _cut_torn_line(handle: int, content: bytes) -> None:
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.ftruncate(handle, whole)


def read(path: Path) -> list[Entry]:
    """Return the entries without repeats (`without_repeats`).

    Raises JournalError if a complete line is not an entry; the message has its number.
    """
    return without_repeats(records(path, decode.entry, JournalError))


def records(path: Path, of_line: Callable[[bytes], T], error: type[UserError]) -> Iterator[T]:
    """Yield the records of the complete lines.

    of_line: raises RecordError for a line that is not a record.

    Raises `error`, with the number of the line.
    """
    for number, line in lines(path, error):
        try:
            yield of_line(line)
        except RecordError as why:
            raise error(f"{path}, line {number}: {why}") from None


def lines(path: Path, error: type[UserError]) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines with their numbers.  Raises `error` if the file cannot be read."""
    try:
        text = path.read_bytes()
    except OSError as why:
        raise error(f"{path}: cannot be read: {why.strerror}") from None
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        if line.strip():
            yield number, line


def without_repeats(entries: Iterable[Entry]) -> list[Entry]:
    """Return the first outcome of each (case, replicate), and the first static metrics of each.

    Static metrics that a time limit has ended give way to those of a later try.
    """
    seen: dict[tuple[str, int | None], Entry] = {}
    for entry in entries:
        key = (entry.case.case_id, None if isinstance(entry, StaticMetrics) else entry.replicate)
        other = seen.setdefault(key, entry)
        if isinstance(other, StaticMetrics) and other.limit_s is not None:
            seen[key] = entry
    return list(seen.values())
