"""Standard output and error as they happen to be: a terminal, a full disk, a pipe nobody reads.

That a word cannot be written is no reason to end what measures: the stream falls silent, and
who gave the command is told at its end.
"""

import contextlib
import errno
import io
import os
from pathlib import Path
from typing import TextIO

UNREAD = (errno.EPIPE, errno.EIO)  # the reader of a pipe has enough, the terminal is gone


class Output(io.TextIOWrapper):
    """Raises nothing where it cannot be written; what it cannot spell becomes `?`."""

    lost: OSError | None = None  # why it fell silent

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._fall_silent(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._fall_silent(error)

    @property
    def problem(self) -> OSError | None:
        """Why something is missing that somebody may want to read."""
        return None if self.lost is None or self.lost.errno in UNREAD else self.lost

    def _fall_silent(self, error: OSError) -> None:
        self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())  # what is buffered goes there, too
        os.close(nowhere)
        with contextlib.suppress(OSError):
            super().flush()


def steady(stream: TextIO | None) -> Output:
    """The same stream; None, where it was closed before the process began, is nowhere."""
    if not isinstance(stream, io.TextIOWrapper):
        return Output(Path(os.devnull).open("wb"), encoding="utf-8")
    return Output(
        stream.buffer,
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
