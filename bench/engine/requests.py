"""The only module that makes requests for children."""

import dataclasses
from pathlib import Path

from bench.core.protocol import Budget, Job, Request
from bench.core.records import Case
from bench.engine.fork_server import GRACE_S
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders

BUSY_WARMUP_CAP_S = 0.5


def request(
    job: Job,
    case: Case,
    replicate: int,
    run: RunOptions,
    folders: Folders,
    *,
    calls: int | None = None,
) -> Request:
    """Return a request with absolute paths, because a subject may change the directory.

    calls: per pipelined sample, as fixed by an earlier replicate.
    """
    name = folders.of(case)
    scratch = folders.scratch.absolute()
    return Request(
        job=job,
        case=case,
        replicate=replicate,
        calls=calls,
        budget=Budget(
            warmup_s=run.warmup_s,
            warmup_cap_s=_warmup_cap_s(run),
            samples_s=run.samples_s,
            min_samples=run.min_samples,
        ),
        cache=str(scratch / "compile" / name),
        reference=str(folders.reference(case).absolute()),
        out=str(scratch / f"{name}.{job}.json"),
        log=str(scratch / f"{name}.{job}.log"),
        stage=str(scratch / f"{name}.{job}.stage"),
        timeout_s=run.timeout_s,
        weights=run.weights_file,
        shared=job == "measure" and run.isolation == "session",
        energy=run.energy,
    )


def _warmup_cap_s(run: RunOptions) -> float:
    """Seconds after which a warm-up ends, settled or not; beside busy processes little settles."""
    most_s = BUSY_WARMUP_CAP_S if run.wait_policy == "passive" else Budget().warmup_cap_s
    return max(most_s, 2 * run.warmup_s)


def turns(
    case: Case, replicate: int, run: RunOptions, folders: Folders, *, host_clock: bool
) -> Request:
    """Return the request of an interleaved child.

    It lives while the other variant is built and measured.  Each of its answers may take timeout_s.
    host_clock: use the host's clock only, to compare two kinds of device.
    """
    asked = request("turns", case, replicate, run, folders)
    lives_s = 3 * asked.timeout_s + GRACE_S
    return dataclasses.replace(asked, pipes=asked.out, lives_s=lives_s, host_clock=host_clock)


def make_room(asked: Request) -> None:
    """Make the folders of a request, and remove the answer to an earlier one."""
    for file in (Path(asked.out), Path(asked.log)):
        file.parent.mkdir(parents=True, exist_ok=True)  # a subject may have removed it
        file.unlink(missing_ok=True)  # left by a process that was killed
