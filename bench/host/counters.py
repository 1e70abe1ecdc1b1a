"""The processor's own counters, through perf_event_open(2), without any tool.

Only what runs in user mode is counted: this needs no privilege where
/proc/sys/kernel/perf_event_paranoid is 2 or lower.  Most virtual machines have no such counters.
"""

import contextlib
import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NUMBERS = {"x86_64": 298, "aarch64": 241, "riscv64": 241}  # of the system call
HARDWARE = 0  # linux/perf_event.h: PERF_TYPE_HARDWARE
EVENTS = {"cycles": 0, "instructions": 1}
SIZE = 112  # PERF_ATTR_SIZE_VER5
DISABLED, INHERIT, EXCLUDE_KERNEL, EXCLUDE_HV = 1 << 0, 1 << 1, 1 << 5, 1 << 6
ENABLED_AND_RUNNING = 1 | 2  # read_format: total time enabled, total time running
ENABLE, DISABLE = 0x2400, 0x2401  # ioctls
LOOK_BYTES = 24
CLOSE_ON_EXEC = 8
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")

SystemCall = Callable[[int, bytes, int, int, int, int], int]  # raises OSError


class CountersError(OSError):
    """There are no counters here; the message says why, and what to do if anything helps."""


def system_call(number: int, attributes: bytes, *rest: int) -> int:
    """perf_event_open(2).  Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    found = int(library.syscall(ctypes.c_long(number), buffer, *map(ctypes.c_long, rest)))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


def attributes(event: str) -> bytes:
    """Return struct perf_event_attr of an event of the process and of what it starts later."""
    flags = DISABLED | INHERIT | EXCLUDE_KERNEL | EXCLUDE_HV
    head = struct.pack("=IIQQQQQ", HARDWARE, SIZE, EVENTS[event], 0, 0, ENABLED_AND_RUNNING, flags)
    return head.ljust(SIZE, b"\0")


Look = tuple[int, int, int]  # count, nanoseconds enabled, nanoseconds running


@dataclass(slots=True)
class Counters:
    """Open counters, by event; they count between `start` and `stop`.

    Differences are taken, since a reset leaves what threads counted that have ended.
    """

    handles: dict[str, int]
    _before: dict[str, Look] = field(default_factory=dict)

    def start(self) -> None:
        import fcntl

        for event, handle in self.handles.items():
            self._before[event] = look(os.read(handle, LOOK_BYTES))
        for handle in self.handles.values():
            fcntl.ioctl(handle, ENABLE, 0)

    def stop(self) -> dict[str, float]:
        """Return the counts since `start`; of threads that began before `opened`, nothing."""
        import fcntl

        for handle in self.handles.values():
            fcntl.ioctl(handle, DISABLE, 0)
        return {
            event: between(self._before[event], look(os.read(handle, LOOK_BYTES)))
            for event, handle in self.handles.items()
        }

    def close(self) -> None:
        for handle in self.handles.values():
            os.close(handle)


def look(answer: bytes) -> Look:
    """Decode what the kernel answers to a read."""
    count, enabled, running = struct.unpack("=QQQ", answer)
    return count, enabled, running


def between(before: Look, after: Look) -> float:
    """Return the count; if others used the counter as well, it is scaled to the whole time."""
    count, enabled, running = (late - early for early, late in zip(before, after, strict=True))
    return float(count) if running in (0, enabled) else count * enabled / running


def opened(
    events: Sequence[str] = ("instructions", "cycles"), call: SystemCall = system_call
) -> Counters:
    """Open counters of this process.  Raises CountersError."""
    number = NUMBERS.get(platform.machine())
    if number is None or platform.system() != "Linux":
        raise CountersError(f"counters are read on Linux alone, on {', '.join(NUMBERS)}")
    handles: dict[str, int] = {}
    try:
        for event in events:
            handles[event] = call(number, attributes(event), 0, -1, -1, CLOSE_ON_EXEC)
    except OSError as error:
        for handle in handles.values():
            os.close(handle)
        raise CountersError(why_not(error)) from None
    return Counters(handles)


def why_not(error: OSError, paranoid: Path = PARANOID) -> str:
    """Return why there are no counters, and what helps."""
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        return (
            "the processor's counters are not visible here, as in most virtual machines "
            f"(perf_event_open: {error.strerror})"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        level = "unknown"
        with contextlib.suppress(OSError, UnicodeDecodeError):
            level = paranoid.read_text(encoding="ascii").strip()
        return (
            f"perf_event_open is not permitted (kernel.perf_event_paranoid is {level}; 2 is low "
            "enough, and a container may forbid the call as well)"
        )
    return f"perf_event_open: {error.strerror}"
