"""The journal: one line an outcome, appended and flushed, so that a kill loses none.

Whole lines count; a torn last one is cut off before anything is appended.
"""

import contextlib
import math
import os
from collections.abc import Iterable
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.records import (
    FLAGS,
    STATUSES,
    Case,
    Entry,
    Facts,
    Failure,
    Measurement,
    RecordError,
    Samples,
    from_line,
    to_line,
)

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
    try:
        text = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from None
    entries: list[Entry] = []
    for number, line in enumerate(text.split(b"\n")[:-1], 1):  # what has no newline is torn
        if not line.strip():
            continue
        try:
            entries.append(entry_of(line.decode("utf-8")))
        except RecordError as error:
            raise JournalError(f"{path}, line {number}: {error}") from None
        except UnicodeDecodeError as error:
            raise JournalError(f"{path}, line {number}: not a journal line: {error}") from None
    return once(entries)


def once(entries: Iterable[Entry]) -> list[Entry]:
    """Each (case, replicate) once, and the facts of each case once: the first wins."""
    seen: dict[tuple[str, int | None], Entry] = {}
    for entry in entries:
        key = (entry.case.case_id, None if isinstance(entry, Facts) else entry.replicate)
        seen.setdefault(key, entry)
    return list(seen.values())


def entry_of(line: str) -> Entry:
    """The record of a line, every field of it what it should be.  Raises RecordError."""
    try:
        entry = from_line(line)
        problem = _problem(entry)
    except RecordError:
        raise
    except (ArithmeticError, TypeError, ValueError) as error:
        raise RecordError(f"not a journal line: {error}") from None
    if problem:
        raise RecordError(f"not a journal line: {problem}")
    return entry


def _problem(entry: Entry) -> str | None:
    """The first field that is not what its name says, or None."""
    good = {
        "case": is_case(entry.case),
        "wall_s": _number(entry.wall_s),
    }
    match entry:
        case Facts():
            good["facts"] = _numbers(entry.facts)
            good["problems"] = isinstance(entry.problems, dict) and all(
                isinstance(why, str) for why in entry.problems.values()
            )
            good["invalid"] = isinstance(entry.invalid, str | None)
        case Failure():
            good |= _of_outcome(entry)
            good["status"] = entry.status in STATUSES and entry.status != "ok"
            good["reason"] = isinstance(entry.reason, str)
        case Measurement():
            good |= _of_outcome(entry)
            good["samples"] = all(map(_is_sample, entry.samples))
            good["flags"] = all(flag in FLAGS for flag in entry.flags)
            good["facts"] = _numbers(entry.facts)
            good["controls"] = all(map(_number, chain.from_iterable(entry.controls.values())))
            good["timed_s"] = _number(entry.timed_s)
    return next((f"{name} is none" for name, is_good in good.items() if not is_good), None)


def is_case(case: Case) -> bool:
    """Whether each field has the type that it should."""
    typed = all(_is_a(getattr(case, one.name), one.type) for one in fields(Case))
    return typed and case.batch > 0


def _is_a(value: object, kind: Any) -> bool:
    return isinstance(value, kind)


def _of_outcome(entry: Measurement | Failure) -> dict[str, bool]:
    return {
        "replicate": type(entry.replicate) is int and entry.replicate >= 0,
        "state": isinstance(entry.state, dict),
    }


def _is_sample(one: Samples) -> bool:
    names = isinstance(one.phase, str) and isinstance(one.kind, str)
    calls = type(one.calls_per_sample) is int and one.calls_per_sample > 0
    return names and calls and bool(one.times_s) and all(map(_number, one.times_s))


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _numbers(values: Any) -> bool:
    return isinstance(values, dict) and all(map(_number, values.values()))
