"""What a child may use, and that it ends with who started it.  Elsewhere than on Linux less."""

import ctypes
import signal
import sys

import psutil

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

FILE_BYTES = 64 * 2**20  # a child that floods its output gets an error, not the disk
COMPILER_FILE_BYTES = 2**31  # precompiled headers are large
SPARE_MEMORY = 0.9  # of what is free when the child starts: the machine survives
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def die_with_parent() -> None:
    """The kernel ends this process when its parent ends, however that ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """What descendants leave running becomes a child of this process, which can end it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def bound(*, on_cpu: bool, compiles: bool) -> None:
    """Limit file sizes and core dumps; on a CPU memory too (drivers map more than they use)."""
    if resource is None:
        return
    _limit(resource.RLIMIT_FSIZE, COMPILER_FILE_BYTES if compiles else FILE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    if on_cpu:
        used = psutil.Process().memory_info()
        free = psutil.virtual_memory().available
        _limit(resource.RLIMIT_DATA, int(free * SPARE_MEMORY) + getattr(used, "data", used.vms))


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, hard))


def _prctl(option: int, value: int) -> None:
    """prctl(2)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
