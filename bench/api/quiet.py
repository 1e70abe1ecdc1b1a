"""Keep what torch's profiler says about itself out of a notebook."""

import contextlib
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator

# libkineto's own lines, such as `USDT:2026-11-27 13:12:56 6293:6293 Handler.cpp:52] start`.
KINETO = re.compile(rb"[A-Z]+:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \d+:\d+ \w+\.cpp:\d+\]")


@contextlib.contextmanager
def profiler() -> Iterator[None]:
    """Leave libkineto's lines out of standard error; all other lines come when this ends.

    It writes past `sys.stderr`, and reads its own setting only when torch is imported.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Profiler clears events")
        with contextlib.suppress(OSError):  # there is no standard error
            stack.enter_context(_filtered(2))
        yield


@contextlib.contextmanager
def _filtered(number: int) -> Iterator[None]:
    own = os.dup(number)
    try:
        with tempfile.TemporaryFile() as said:
            _flush()
            os.dup2(said.fileno(), number)
            try:
                yield
            finally:
                _flush()
                os.dup2(own, number)
                said.seek(0)
                for line in said:
                    if not KINETO.match(line):
                        os.write(number, line)
    finally:
        os.close(own)


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or None
        sys.stderr.flush()
