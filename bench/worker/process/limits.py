"""What a child may use, how long it lives, and what its end says.  Elsewhere than on Linux less."""

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.host.environment import GROUPS, PROC, cgroup_files

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

FILE_BYTES = 64 * 2**20  # a child that floods its output gets an error, not the disk
COMPILER_FILE_BYTES = 2**31  # precompiled headers are large
SPARE_MEMORY = 0.9  # of what is free when the child starts: the machine survives
OOM_SCORE = 500  # counts as half the memory more than it has: the kernel takes it, not the runner
SIGNALS = signal.valid_signals()
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def die_with_parent(parent: int | None = None) -> None:
    """The kernel ends this process when its parent ends, however that ends.

    parent: its process id, where it may have ended before this call.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def outlive_parent() -> None:
    """Undo `die_with_parent`, for who sees the end of its parent and has to clear up."""
    _prctl(PR_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """What descendants leave running becomes a child of this process, which can end it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def begin_child(parent: int) -> None:
    """End with `parent`, show where it hung or fell, be the first when memory runs out."""
    die_with_parent(parent)
    with contextlib.suppress(OSError):
        (PROC / "self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    faulthandler.enable(file=2, all_threads=True)
    if hasattr(signal, "SIGQUIT"):  # a replicate asks for it before it ends who hangs
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
    """For what this suite itself writes: a model's gradients may be larger than its output may."""
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
    """Memory that is free on the machine, and to the control group (a container) that this is in.

    What a group uses counts without the files that it could let go of at once, as the kernel's
    own MemAvailable does.
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
    """Undo what a subject did that would keep its record from being written or read.

    Signals and timers, limits, the umask; what cannot be undone stays.
    """
    _end_signals()
    os.umask(0o022)
    if resource is None:
        return
    for which in (resource.RLIMIT_DATA, resource.RLIMIT_AS, resource.RLIMIT_NOFILE):
        _raise_limit(which)
    _raise_limit(resource.RLIMIT_FSIZE)


def _end_signals() -> None:
    """Stop timers; no handler of Python's runs any more, whichever thread a signal comes to."""
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
    """Processes that the kernel has ended for want of memory so far; None: it does not say.

    Of this process' control group where that counts them (Documentation/admin-guide/cgroup-v2.rst,
    memory.events; cgroup-v1/memory.rst, memory.oom_control), since /proc/vmstat counts those of
    the neighbours on the host, too.
    """
    files = [
        *cgroup_files("memory", "memory.events", proc, groups),
        *cgroup_files("memory", "memory.oom_control", proc, groups),
        proc / "vmstat",
    ]
    counts = (_counter(file, "oom_kill") for file in files)
    return next((count for count in counts if count is not None), None)


def _counter(file: Path, name: str) -> int | None:
    """From lines of a name and a number each."""
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text(encoding="utf-8").splitlines():
            first, _, count = line.partition(" ")
            if first == name:
                return int(count)
    return None


def _prctl(option: int, value: int) -> None:
    """prctl(2)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
