"""The processor's counters: what the kernel is asked, and what its refusals mean."""

import errno
import os
import platform
import struct
from pathlib import Path

import pytest

from bench.host import counters

linux = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() not in counters.NUMBERS,
    reason="the numbers of the system call are Linux's",
)


def refusing(code: int) -> counters.SystemCall:
    def call(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


@linux
@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOENT, "not visible here, as in most virtual machines"),
        (errno.EACCES, r"perf_event_open is not permitted \(kernel.perf_event_paranoid is"),
        (errno.EPERM, "a container may forbid the call"),
        (errno.ENOSYS, "perf_event_open: Function not implemented"),
    ],
)
def test_a_refusal_says_why_and_what_helps(code: int, says: str) -> None:
    with pytest.raises(counters.CountersError, match=says):
        counters.opened(call=refusing(code))


@linux
def test_a_second_counter_that_is_refused_leaves_no_handle_open() -> None:
    handles = list[int]()

    def call(*_: object) -> int:
        if handles:
            raise OSError(errno.ENOENT, "no")
        handles.append(os.open(os.devnull, os.O_RDONLY))
        return handles[0]

    with pytest.raises(counters.CountersError):
        counters.opened(call=call)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handles[0])


def test_only_user_mode_is_counted_and_threads_that_start_later_are() -> None:
    kind, size, config, _, _, read_format, flags = struct.unpack_from(
        "=IIQQQQQ", counters.attributes("instructions")
    )
    assert (kind, size, config, read_format) == (0, 112, 1, 3)
    # linux/perf_event.h: bit 0 disabled, 1 inherit, 5 exclude_kernel, 6 exclude_hv
    assert flags == 0b1100011
    assert len(counters.attributes("cycles")) == 112


def test_a_counter_that_others_used_as_well_is_scaled_to_the_whole_time() -> None:
    assert counters.between((0, 0, 0), (1000, 200, 200)) == 1000
    assert counters.between((500, 100, 100), (1500, 300, 150)) == 4000
    assert counters.between((500, 100, 100), (500, 100, 100)) == 0
    assert counters.look(struct.pack("=QQQ", 1, 2, 3)) == (1, 2, 3)


def test_the_level_of_the_kernel_is_told(tmp_path: Path) -> None:
    level = tmp_path / "paranoid"
    level.write_text("4\n", encoding="ascii")
    assert "perf_event_paranoid is 4;" in counters.why_not(
        PermissionError(errno.EACCES, "x"), level
    )
