"""Effects of a subject's import on the process that imports it.

A fork server imports once what its children share.  A change that the import makes to the process
(a thread, a signal's handler, the working directory) would reach the cases of all other subjects.
Such a module is left to the children of its own cases.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.worker.process import forks
from bench.worker.timing import contention

DRIVER = "the accelerator's driver"


def snapshot() -> dict[str, Any]:
    """Return the compared properties of the process, by name."""
    return {
        "threads": _threads(),
        "processes": _has_children(),
        DRIVER: forks.driver_started(),
        "folder": _folder(),
        "handlers": {one: signal.getsignal(one) for one in signal.valid_signals()},
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "processors": contention.processors(),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "small numbers": flushes_denormals(),
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of the properties that differ."""
    return [name for name, value in before.items() if after[name] != value]


def _threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return threading.active_count()


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return None


def flushes_denormals(smallest: float = sys.float_info.min) -> bool:
    """Return whether `torch.set_flush_denormal` is on: it applies to Python's own numbers as well.

    It has no getter.  Computed without torch, so that a fork server may ask.
    """
    return smallest / 2 == 0.0


def file_identity(handle: int) -> tuple[int, int] | None:
    """Identify the file behind an open handle."""
    try:
        found = os.fstat(handle)
    except OSError:
        return None
    return found.st_dev, found.st_ino
