"""What is left of a process that was ended before it could clear up after itself.

A replicate, as subreaper, ends what descends from it.  Where it is ended itself (SIGKILL: by a
subject, by the kernel for want of memory), its descendants are handed on to init, and their
environment alone tells where they come from.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping

import psutil

MARK = "BENCH_DESCENDS_FROM"
CLEAR_UP_S = 10.0  # then what is left is in the kernel's hands


def mark() -> Mapping[str, str]:
    """A variable for the environment of a process, by which `end` knows what it started.

    Always as long: the length of an environment shifts the stack, and with it the timings.
    """
    return {MARK: uuid.uuid4().hex}


def end(marked: Mapping[str, str]) -> None:
    """End every process with this mark, and wait until none is left.

    What runs under another user, or has cleared its environment, cannot be told.
    """
    give_up_s = time.monotonic() + CLEAR_UP_S
    while found := list(_with(marked)):
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if time.monotonic() > give_up_s:
            return
        time.sleep(0.001)  # nothing is being timed: its replicate has ended


def _with(marked: Mapping[str, str]) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and marked.items() <= process.environ().items():
                yield process
