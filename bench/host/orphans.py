"""End orphans: processes whose parent was killed before it could end them.

A replicate is a subreaper and ends its own descendants.  If the replicate itself is killed
(SIGKILL, by a subject or by the kernel when memory runs out), init adopts its descendants.  Then
only their environment shows where they come from.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping

import psutil

MARK = "BENCH_DESCENDS_FROM"
CLEAR_UP_S = 10.0  # then give up
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int | None = None) -> None:
    """Let the kernel end this process when its parent ends, for any reason.

    parent: its process id, in case it ended before this call.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def mark() -> Mapping[str, str]:
    """Return an environment variable that marks a process and its descendants for `end`.

    Its length is constant, because the size of the environment moves the stack and the times.
    """
    return {MARK: uuid.uuid4().hex}


def end(marked: Mapping[str, str]) -> None:
    """End every process with this mark, and wait until none is left.

    Processes of another user, or with a cleared environment, cannot be found.
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
