"""Measure known subjects for `bench selftest` with the same code as `bench run`.

As in a run, there is a fresh interpreter, a forked worker for each case, and a record in a file
(`bench.engine.workers`).
"""

import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.core.decode import Decoder
from bench.core.protocol import Job
from bench.core.records import Case, Entry, Failure, Measurement, StaticMetrics
from bench.engine.requests import request
from bench.engine.workers import WorkerPool
from bench.host import allocators, helper
from bench.host.environment import PROC
from bench.host.preflight import read_text
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.selftest.expectations import Result

KNOWN = "bench.worker.selftest.models"
LOOP_LIMIT_S = 120.0
_SECONDS: Decoder[float] = Decoder(float, "time of the plain loop")
LOOK_S = 0.3  # time over which the load is measured; a process that only woke up does not count
PLAIN = Case(
    subject=f"{KNOWN}:WellBehaved",
    mode="inference",
    batch=1,
    input="4",
    device="cpu",
    dtype="float32",
    amp="off",
    memory_format="contiguous",
    compile="off",
    threads="auto",
    allocator="retained",
    grad_mode="inference_mode",
)
# A program that keeps one processor busy until the selftest ends, in whatever way that happens.
NEIGHBOUR = """
import os, sys
parent = int(sys.argv[1])
print(flush=True)
while os.getppid() == parent:
    pass
"""


class NotMeasured(RuntimeError):  # noqa: N818 - says what happened
    """Known work could not be measured; the message is the record's reason."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a check and its result."""

    check: str
    expected: str
    result: Result


@dataclass(frozen=True, slots=True)
class Check:
    """A measurement that gives one or several lines of the table."""

    lines: tuple[tuple[str, str], ...]  # names and expected values
    ask: Callable[[], Sequence[Result]]  # measures and returns a result for each line

    def run(self) -> list[Line]:
        """Measure and return the lines.  Raises the errors of a worker pool."""
        try:
            results = self.ask()
        except NotMeasured as error:
            results = [Result(str(error), "FAILED")] * len(self.lines)
        return [
            Line(check, expected, result)
            for (check, expected), result in zip(self.lines, results, strict=True)
        ]


def single(check: str, expected: str, ask: Callable[[], Result]) -> Check:
    """Return a check with a single line."""
    return Check(((check, expected),), lambda: [ask()])


@dataclass(frozen=True, slots=True)
class Timed:
    """The medians of one measurement."""

    latency_s: float
    pipelined_s: float
    contended: bool
    contention_ratio: float | None  # None: the kernel does not report it


class Workbench:
    """Measures cases in workers, one at a time."""

    def __init__(self, folder: Path, options: RunOptions) -> None:
        """folder: an existing folder, which the caller removes."""
        self._folders = Folders(folder / "scratch", folder / "failures")
        self._folders.scratch.mkdir()
        self._options = options
        self._pool = WorkerPool(
            cases=[PLAIN, dataclasses.replace(PLAIN, subject="torch.nn:Linear")],
            folders=self._folders,
            log=self._folders.scratch / "replicate.log",
        )

    def close(self) -> None:
        """End the workers; the next call of `ask` starts fresh ones."""
        self._pool.close()

    def ask(self, job: Job, subject: str, *, limit_s: float = 60.0, **axes: Any) -> Entry:
        """Run a job in a worker and return its record.  Raises StartError, DiskFull."""
        case = dataclasses.replace(PLAIN, subject=subject, **axes)
        options = self._options.model_copy(update={"timeout_s": limit_s})
        return self._pool.ask(request(job, case, 0, options, self._folders))

    def timed(self, subject: str, **axes: Any) -> Timed:
        """Measure the times of a subject.  Raises NotMeasured, StartError."""
        entry = self.ask("measure", subject, **axes)
        if not isinstance(entry, Measurement):
            raise NotMeasured(" ".join(ending(entry)))
        medians = {one.kind: statistics.median(one.times_s) for one in entry.samples}
        return Timed(
            medians["latency"],
            medians["pipelined"],
            "contended" in entry.flags,
            entry.metrics.get("contention_ratio"),
        )

    def static_metrics(self, subject: str, **axes: Any) -> StaticMetrics:
        """Find the static metrics of a subject.  Raises NotMeasured, StartError."""
        entry = self.ask("reference", subject, **axes)
        if isinstance(entry, StaticMetrics):
            entry = self.ask("static_metrics", subject, **axes)
        if not isinstance(entry, StaticMetrics):
            raise NotMeasured(" ".join(ending(entry)))
        return entry


def ending(entry: Entry) -> tuple[str, str]:
    """Return the status and the reason of a record, without the path of a log that is removed."""
    if isinstance(entry, Failure):
        return entry.status, entry.reason
    return "measured", ""


def plain_loop_s(rows: int, size: int) -> float:
    """Return the seconds of a matrix product in a process that uses only the suite's allocator.

    Raises NotMeasured.
    """
    environment = allocators.environment(PLAIN.allocator, os.environ)
    asked = {"rows": rows, "size": size}
    try:
        return helper.ask(KNOWN, asked, _SECONDS, LOOP_LIMIT_S, environment=environment)
    except helper.HelperError as error:
        raise NotMeasured(str(error)) from None


@contextlib.contextmanager
def neighbours() -> Iterator[None]:
    """Run a busy process for each processor that this process may use, during the block."""
    with contextlib.ExitStack() as stack:
        for _ in processors():
            stack.enter_context(_neighbour())
        yield


@contextlib.contextmanager
def _neighbour() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", NEIGHBOUR, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C must reach only the selftest
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it is busy from here on
        yield
    finally:
        process.kill()
        process.communicate()


def processors() -> list[int]:
    """Return the numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def busy_share() -> float:
    """Return the load of the busiest of our processors while the suite does nothing, 0 to 1."""
    shares = psutil.cpu_percent(interval=LOOK_S, percpu=True)
    return busiest(shares, read_text(PROC / "stat"), processors()) / 100


def busiest(shares: Sequence[float], stat: str, allowed: Sequence[int]) -> float:
    """Return the largest share of the allowed processors.

    shares: in the order of /proc/stat, in which processors that are switched off are missing.
    stat:   its text; empty: the system has none, and numbers its processors without gaps.
    """
    told = (line.partition(" ")[0].removeprefix("cpu") for line in stat.splitlines())
    numbers = [int(one) for one in told if one.isdecimal()] or range(len(shares))
    by_number = dict(zip(numbers, shares, strict=False))  # one may have just been switched on
    return max((by_number.get(one, 0.0) for one in allowed), default=0.0)
