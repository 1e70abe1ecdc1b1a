"""Supervises a child: waits for it, ends it at its limit, and says how it ended.

As a subreaper, a fork server becomes the parent of all its orphaned descendants.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Collection, Sequence

import psutil

from bench.core.protocol import Ending, Exited, Signalled, TimedOut

TRACE_S = 0.5  # for a hanging child to print its traceback before it is ended
CLEAR_UP_S = 10.0  # after that only the kernel can end the rest
LONGEST_S = 1e6  # poll(2) counts milliseconds in an int


def can_watch() -> bool:
    """Return whether pidfd_open(2) works: it came with Linux 5.3, and some sandboxes lack it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def wait(pid: int, timeout_s: float, runner: int) -> int | None:
    """Return the child's exit code, negative for a signal; None if it was ended at its limit.

    runner: handle of a pipe from the runner; if its other end is closed, this process ends
    everything.
    Blocks: there is no polling beside a timing.
    """
    handle = os.pidfd_open(pid)
    try:
        seen = _seen(pid, handle, (), timeout_s, runner)
    finally:
        os.close(handle)
    if handle in seen:
        return _exit_code(pid)
    _end(pid, runner_gone=bool(seen))
    return None


def wait_for_answer(
    pid: int, process: int, answers: int, timeout_s: float, runner: int
) -> bytes | int | None:
    """Return a byte from a child that goes on, or its exit code as `wait` does.

    process: handle of the child.  answers: of the pipe that it writes to.
    """
    seen = _seen(pid, process, (answers,), timeout_s, runner)
    if answers in seen and (answer := os.read(answers, 1)):
        return answer
    if process in seen or answers in seen:  # it is ending: its end of the pipe is closed
        return _exit_code(pid)
    _end(pid, runner_gone=bool(seen))
    return None


def _seen(
    pid: int, process: int, answers: Sequence[int], timeout_s: float, runner: int
) -> Collection[int]:
    """Wait for one of these handles; of a child that hangs until the limit there is none."""
    watched = select.poll()
    for handle in (process, *answers):
        watched.register(handle, select.POLLIN)
    watched.register(runner, 0)  # reports only that the other end is closed
    seen = dict(watched.poll(1000 * min(timeout_s, LONGEST_S)))
    if not seen:  # it hangs: make it print where
        watched.unregister(runner)
        os.kill(pid, signal.SIGQUIT)
        watched.poll(1000 * TRACE_S)
    return seen


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _end(pid: int, *, runner_gone: bool) -> None:
    """End a child; without a runner everything ends."""
    end_session(pid)
    os.waitpid(pid, 0)
    if runner_gone:
        end_orphans()
        os._exit(1)


def ending(code: int | None) -> Ending:
    """Describe the end of a process.

    code: as `subprocess` gives it; None = the process was ended at its limit.
    """
    if code is None:
        return TimedOut()
    return Signalled(signal_name(-code)) if code < 0 else Exited(code)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names of their own
        return f"signal {number}"


def end_session(pid: int) -> None:
    """End the process and its group; it may not have made its group yet."""
    for end in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)


def end_orphans(kept: Collection[int] = ()) -> None:
    """End processes that a subject left running: a subreaper is the parent of all of them.

    The kernel says when there are none; a list of processes can miss one that is just forking, so
    beside workers that are kept two lists in a row have to be without others.

    kept: ids of workers that go on.
    """
    give_up_s = time.monotonic() + CLEAR_UP_S
    without_others = 0
    while time.monotonic() < give_up_s:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        every = psutil.Process().children(recursive=True)
        others = [one for one in every if one.pid not in kept]
        for process in others:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        without_others = 0 if others else without_others + 1
        if kept and without_others == 2:
            return
        time.sleep(0.001)  # nothing is being timed: the next child starts after this
