"""What `bench selftest` measures: known subjects on the very path of a run.

A fresh interpreter, a forked child a case, a record in a file: `bench.engine.workers`, as `bench
run` uses it.
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
from bench.core.records import Case, Entry, Facts, Failure, Measurement
from bench.engine.requests import request
from bench.engine.workers import WorkerPool
from bench.host import allocator, helper
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.selftest.expectations import Result

KNOWN = "bench.worker.selftest.models"
LOOP_LIMIT_S = 120.0
_SECONDS: Decoder[float] = Decoder(float, "time of the plain loop")
LOOK_S = 0.3  # at the processors: long enough to tell who computes from who woke up
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
# Computes for one processor until the selftest ends, however that ends.
NEIGHBOUR = """
import os, sys
parent = int(sys.argv[1])
print(flush=True)
while os.getppid() == parent:
    pass
"""


class NotMeasured(RuntimeError):  # noqa: N818 - says what happened
    """Known work that should have been measured was not; the message is the record's reason."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    check: str
    expected: str
    result: Result


@dataclass(frozen=True, slots=True)
class Check:
    """Lines that come from one measuring."""

    lines: tuple[tuple[str, str], ...]  # what was done, what is expected
    ask: Callable[[], Sequence[Result]]  # measures once, for all lines.  Raises NotMeasured

    def run(self) -> list[Line]:
        """Raises what a pool of workers does."""
        try:
            results = self.ask()
        except NotMeasured as error:
            results = [Result(str(error), "FAILED")] * len(self.lines)
        return [
            Line(check, expected, result)
            for (check, expected), result in zip(self.lines, results, strict=True)
        ]


def single(check: str, expected: str, ask: Callable[[], Result]) -> Check:
    """One line."""
    return Check(((check, expected),), lambda: [ask()])


@dataclass(frozen=True, slots=True)
class Timed:
    """The medians of one measurement."""

    latency_s: float
    pipelined_s: float
    contended: bool
    contention_ratio: float | None  # None: the kernel does not tell


class Workbench:
    """Asks workers for cases, one at a time."""

    def __init__(self, folder: Path, options: RunOptions) -> None:
        """folder: exists, and is removed by its owner."""
        self._folders = Folders(folder / "scratch", folder / "failures")
        self._folders.scratch.mkdir()
        self._options = options
        self._pool = WorkerPool(
            cases=[PLAIN, dataclasses.replace(PLAIN, subject="torch.nn:Linear")],
            folders=self._folders,
            log=self._folders.scratch / "replicate.log",
        )

    def close(self) -> None:
        """End the workers; the next question starts fresh ones."""
        self._pool.close()

    def ask(self, job: Job, subject: str, *, limit_s: float = 60.0, **axes: Any) -> Entry:
        """One child's record.  Raises StartError, DiskFull."""
        case = dataclasses.replace(PLAIN, subject=subject, **axes)
        options = self._options.model_copy(update={"timeout_s": limit_s})
        return self._pool.ask(request(job, case, 0, options, self._folders))

    def timed(self, subject: str, **axes: Any) -> Timed:
        """Raises NotMeasured, StartError."""
        entry = self.ask("measure", subject, **axes)
        if not isinstance(entry, Measurement):
            raise NotMeasured(" ".join(ending(entry)))
        medians = {one.kind: statistics.median(one.times_s) for one in entry.samples}
        return Timed(
            medians["latency"],
            medians["pipelined"],
            "contended" in entry.flags,
            entry.facts.get("contention_ratio"),
        )

    def facts(self, subject: str, **axes: Any) -> Facts:
        """Raises NotMeasured, StartError."""
        entry = self.ask("reference", subject, **axes)
        if isinstance(entry, Facts):
            entry = self.ask("facts", subject, **axes)
        if not isinstance(entry, Facts):
            raise NotMeasured(" ".join(ending(entry)))
        return entry


def ending(entry: Entry) -> tuple[str, str]:
    """Status and reason; the log of a failure is gone when it is read."""
    if isinstance(entry, Failure):
        return entry.status, entry.reason
    return "measured", ""


def plain_loop_s(rows: int, size: int) -> float:
    """Seconds of a product in a process that has nothing of this suite's path but its allocator.

    Raises NotMeasured.
    """
    environment = allocator.environment(PLAIN.allocator, os.environ)
    asked = {"rows": rows, "size": size}
    try:
        return helper.ask(KNOWN, asked, _SECONDS, LOOP_LIMIT_S, environment=environment)
    except helper.HelperError as error:
        raise NotMeasured(str(error)) from None


@contextlib.contextmanager
def neighbours() -> Iterator[None]:
    """One busy process for each processor that this one may use, as long as the block lasts."""
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
        start_new_session=True,  # Ctrl-C is for the selftest
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it computes from here on
        yield
    finally:
        process.kill()
        process.communicate()


def processors() -> list[int]:
    """Their numbers, of those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def busy_share() -> float:
    """Of the busiest of our processors, while this process and its replicate do nothing."""
    shares = psutil.cpu_percent(interval=LOOK_S, percpu=True)
    return max((shares[one] for one in processors() if one < len(shares)), default=0.0) / 100
