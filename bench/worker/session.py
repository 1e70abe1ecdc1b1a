"""One worker for the cases of one device, one after the other (`--isolation session`).

It holds what costs once: the context of CUDA, handles and kernels of libraries.  It also holds what
one case leaves for the next, such as warm caches and a heap with gaps, so it is ended after a case
that fails.
"""

import contextlib
import dataclasses
import gc
import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.core.protocol import Ending, Exited, Request, to_line
from bench.core.records import Measurement
from bench.worker import case_process
from bench.worker.process import forks, supervise

WELL, LAST, CANNOT = b"+", b"-", b"!"  # measured; failed; the device cannot be used in a fork


def suits(asked: Request) -> bool:
    """Return whether a case may share its process.

    A compiler keeps code and counters, and cuDNN keeps the algorithms that it found by their
    shapes, so that the next case would not be what it asks for.  The C library's own allocator
    takes and returns memory in larger pieces once a larger block was freed (mallopt(3),
    M_MMAP_THRESHOLD), so that a case after others would not be a plain process.  Switches of torch
    are put back before each case.
    """
    case = asked.case
    alone = case.compile != "off" or case.cudnn_benchmark == "on" or case.allocator == "system"
    return asked.shared and not alone


@dataclass(slots=True)
class Session:
    """A forked worker that waits for requests."""

    pid: int
    process: int  # handle of the process
    orders: int
    answers: int
    over: bool = False  # it has ended, or its next case would suffer

    @classmethod
    def started(cls, handles: Sequence[int]) -> "Session":
        """Fork it.  handles: of this process, which the worker closes."""
        orders, answers = os.pipe(), os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(orders[0], answers[1], (*handles, orders[1], answers[0]))
        os.close(orders[0])
        os.close(answers[1])
        return cls(pid, os.pidfd_open(pid), orders[1], answers[0])

    @property
    def dead(self) -> bool:
        """Return whether it has ended since its last case."""
        watched = select.poll()
        watched.register(self.process, select.POLLIN)
        return bool(watched.poll(0))

    @property
    def handles(self) -> tuple[int, int, int]:
        return self.process, self.orders, self.answers

    def run(self, asked: Request, runner: int) -> Ending | None:
        """Run a case.  None: a fork cannot use its device, and the job was not done.

        runner: see `supervise.wait`.
        """
        with contextlib.suppress(BrokenPipeError):  # it has ended, and its handle says so
            os.write(self.orders, to_line(asked).encode())
        found = supervise.wait_for_answer(
            self.pid, self.process, self.answers, asked.ends_after_s, runner
        )
        self.over = found != WELL
        if isinstance(found, bytes):
            return None if found == CANNOT else Exited(0)
        return supervise.ending(found)

    def end(self) -> None:
        """End it, and close its handles."""
        supervise.end_session(self.pid)
        with contextlib.suppress(ChildProcessError):  # it has been waited for
            os.waitpid(self.pid, 0)
        for handle in self.handles:
            os.close(handle)


def _become(orders: int, answers: int, handles: Sequence[int]) -> None:
    """Serve requests in this process until it is ended."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for handle in handles:
            os.close(handle)
        with os.fdopen(orders, encoding="utf-8") as lines:
            for number, line in enumerate(iter(lines.readline, "")):
                asked = dataclasses.replace(Request.of_line(line), earlier_cases=number)
                os.write(answers, _answer(asked))
        code = 0
    except BaseException:  # nothing of the worker may run on in the fork server's code
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code)


def _answer(asked: Request) -> bytes:
    """Run one case, and clear away what it leaves as far as that can be done."""
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    case_process.into_log(asked)
    case_process.begin(asked)
    if asked.earlier_cases == 0 and forks.cannot_use(asked.case.device):
        return CANNOT
    well = isinstance(case_process.run(asked), Measurement)
    gc.collect()
    if asked.case.device != "cpu":
        with contextlib.suppress(RuntimeError, NotImplementedError):
            torch.accelerator.empty_cache()
    with contextlib.suppress(OSError, ValueError):  # a subject may have replaced or closed them
        sys.stdout.flush()
        sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    return WELL if well else LAST
