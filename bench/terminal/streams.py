"""Standard output and error that survive a full disk or a closed pipe.

A failed write must not abort a measurement.  Further output is dropped, and the error is reported
at exit.
"""

import contextlib
import errno
import io
import os
from pathlib import Path
from typing import TextIO

UNREAD = (errno.EPIPE, errno.EIO)  # the reader of a pipe has enough, the terminal is gone


class Output(io.TextIOWrapper):
    """A stream whose writes never raise; characters outside its encoding become `?`."""

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
        """The error that lost output; None if nothing was lost that a reader wanted."""
        return None if self.lost is None or self.lost.errno in UNREAD else self.lost

    def _fall_silent(self, error: OSError) -> None:
        self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())  # what is buffered goes there, too
        os.close(nowhere)
        with contextlib.suppress(OSError):
            super().flush()


def steady(stream: TextIO | None) -> Output:
    """Wrap the stream; a stream that was closed before the start becomes the null device."""
    if not isinstance(stream, io.TextIOWrapper):
        return Output(Path(os.devnull).open("wb"), encoding="utf-8")
    return Output(
        stream.buffer,
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def occupy_standard_handles() -> None:
    """Open closed handles among 0, 1 and 2; else the next opened file would get that number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free
