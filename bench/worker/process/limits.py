"""Resource limits, lifetime and last messages of a child.  Systems other than Linux have fewer."""

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.host import orphans
from bench.host.environment import GROUPS, PROC, cgroup_files

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

FILE_BYTES = 64 * 2**20  # a child that floods its output gets an error and does not fill the disk
COMPILER_FILE_BYTES = 2**31  # precompiled headers are large
# share of the memory that is free when the child starts, so that the machine survives
SPARE_MEMORY = 0.9
OOM_SCORE = 500  # as if it used half the memory more: the kernel ends the child and not the runner
SIGNALS = signal.valid_signals()
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def die_with_parent(parent: int | None = None) -> None:
    """Let the kernel end this process when its parent ends, for any reason.

    parent: its process id, in case it ended before this call.
    """
    orphans.end_with_parent(parent)


def outlive_parent() -> None:
    """Undo `die_with_parent`, for a process that sees the end of its parent and has to clean up."""
    _prctl(PR_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """Make orphans among the descendants children of this process, which can end them."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def begin_child(parent: int) -> None:
    """End with `parent`, print tracebacks of faults, end first when memory is short."""
    die_with_parent(parent)
    with contextlib.suppress(OSError):
        (PROC / "self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    faulthandler.enable(file=2, all_threads=True)
    if hasattr(signal, "SIGQUIT"):  # a fork server asks for it before it ends a child that hangs
        faulthandler.register(signal.SIGQUIT, file=2, all_threads=True)


def limit_resources(*, on_cpu: bool, compiles: bool) -> None:
    """Limit file sizes and core dumps; on a CPU memory too (drivers map more than they use)."""
    if resource is None:
        return
    _limit(resource.RLIMIT_FSIZE, COMPILER_FILE_BYTES if compiles else FILE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    if on_cpu:
        used = psutil.Process().memory_info()
        may = int(free_bytes() * SPARE_MEMORY) + getattr(used, "data", used.vms)
        _limit(resource.RLIMIT_DATA, may)


@contextlib.contextmanager
def large_files() -> Iterator[None]:
    """Allow large files for the suite's own output, such as the gradients of a large model."""
    if resource is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    _raise_limit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # the subject has lowered the hard limit
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def free_bytes(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Return the bytes free on the machine and for its control group (a container).

    The usage of a group counts without file pages that it could drop at once, as the kernel's own
    MemAvailable does.
    """
    free = psutil.virtual_memory().available
    for limit, usage, files in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for file in cgroup_files("memory", limit, proc, groups):
            with contextlib.suppress(OSError, ValueError):  # `max` is no number: no limit
                used = int(file.with_name(usage).read_text())
                cached = _counter(file.with_name("memory.stat"), files) or 0
                free = min(free, int(file.read_text()) - used + cached)
    return max(free, 0)


def allow_writing() -> None:
    """Undo changes of a subject that would prevent its record from being written or read.

    These are signals and timers, limits, the umask.  Changes that cannot be undone stay.
    """
    _end_signals()
    os.umask(0o022)
    if resource is None:
        return
    for which in (resource.RLIMIT_DATA, resource.RLIMIT_AS, resource.RLIMIT_NOFILE):
        _raise_limit(which)
    _raise_limit(resource.RLIMIT_FSIZE)


def _end_signals() -> None:
    """Stop timers and block signals: no handler in Python runs any more, in any thread."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if hasattr(signal, "setitimer"):
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
    for number in SIGNALS:
        if callable(signal.getsignal(number)):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN)


def _raise_limit(which: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(which)
        resource.setrlimit(which, (hard, hard))


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, hard))


def oom_kills(proc: Path = PROC, groups: Path = GROUPS) -> int | None:
    """Return how many processes the kernel has ended for lack of memory so far; None = unknown.

    The number is of this process' control group where that counts them
    (Documentation/admin-guide/cgroup-v2.rst, memory.events; cgroup-v1/memory.rst,
    memory.oom_control), because /proc/vmstat includes those of other containers on the host.
    """
    files = [
        *cgroup_files("memory", "memory.events", proc, groups),
        *cgroup_files("memory", "memory.oom_control", proc, groups),
        proc / "vmstat",
    ]
    counts = (_counter(file, "oom_kill") for file in files)
    return next((count for count in counts if count is not None), None)


def _counter(file: Path, name: str) -> int | None:
    """Read a counter from lines of a name and a number each."""
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text(encoding="utf-8").splitlines():
            first, _, count = line.partition(" ")
            if first == name:
                return int(count)
    return None


def _prctl(option: int, value: int) -> None:
    """Call prctl(2)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
