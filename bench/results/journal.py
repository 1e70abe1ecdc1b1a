"""The journal: one line an outcome, appended and flushed, so that a kill loses none.

Whole lines count; a torn last one is cut off before anything is appended.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.core import decode
from bench.core.errors import UserError
from bench.core.records import Entry, Facts, RecordError, to_line

NAME = "journal.jsonl"


class JournalError(UserError):
    """The journal cannot be read or written; the message is one line."""


class Journal:
    """Appends entries; each is on its way to the disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        """Opens or creates `path` and cuts a torn last line off.  Raises JournalError."""
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            if path.is_file():
                _cut_torn_line(self._handle, path.read_bytes())
        except OSError as error:
            raise JournalError(f"{path}: cannot be written: {error.strerror}") from None

    def append(self, entry: Entry) -> None:
        """Raises JournalError where the disk is full; what was there before stays whole."""
        self.append_line(to_line(entry))

    def append_line(self, text: str) -> None:
        """A line of JSON, as `append` does it."""
        line = memoryview((text + "\n").encode())
        before = os.fstat(self._handle).st_size
        try:
            while line:  # a disk that fills up takes a part of it
                line = line[os.write(self._handle, line) :]
            if self.path.is_file():
                os.fsync(self._handle)
        except OSError as error:
            with contextlib.suppress(OSError):  # a device cannot be cut
                os.ftruncate(self._handle, before)
            why = f"{error.strerror}; make room, then go on with --resume"
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
    """The entries, each (case, replicate) once, the first wins.

    Raises JournalError at a whole line that is no entry, naming its number.
    """
    entries: list[Entry] = []
    for number, line in lines(path, JournalError):
        try:
            entries.append(decode.entry(line))
        except RecordError as error:
            raise JournalError(f"{path}, line {number}: {error}") from None
    return once(entries)


def lines(path: Path, error: type[UserError]) -> Iterator[tuple[int, bytes]]:
    """The whole lines with their numbers; a torn last one does not count.  Raises `error`."""
    try:
        text = path.read_bytes()
    except OSError as why:
        raise error(f"{path}: cannot be read: {why.strerror}") from None
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        if line.strip():
            yield number, line


def once(entries: Iterable[Entry]) -> list[Entry]:
    """Each (case, replicate) once, and the facts of each case once: the first wins."""
    seen: dict[tuple[str, int | None], Entry] = {}
    for entry in entries:
        key = (entry.case.case_id, None if isinstance(entry, Facts) else entry.replicate)
        seen.setdefault(key, entry)
    return list(seen.values())
