"""What a child is asked: made here, and nowhere else."""

import dataclasses
from pathlib import Path

from bench.core.protocol import Budget, Job, Request
from bench.core.records import Case
from bench.engine.fork_server import GRACE_S
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders


def request(
    job: Job,
    case: Case,
    replicate: int,
    run: RunOptions,
    folders: Folders,
    *,
    calls: int | None = None,
) -> Request:
    """Its paths are absolute: a subject may change the directory.

    calls: per pipelined sample, as an earlier replicate froze them.
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
            warmup_cap_s=max(Budget().warmup_cap_s, 2 * run.warmup_s),
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
    )


def turns(
    case: Case, replicate: int, run: RunOptions, folders: Folders, *, host_clock: bool
) -> Request:
    """The job of an interleaved child.  It lives while the other side builds and has its turns.

    Each of its answers has timeout_s.  host_clock: times of the host alone, for a comparison of
    two kinds of device.
    """
    asked = request("turns", case, replicate, run, folders)
    lives_s = 3 * asked.timeout_s + GRACE_S
    return dataclasses.replace(asked, pipes=asked.out, lives_s=lives_s, host_clock=host_clock)


def make_room(asked: Request) -> None:
    """Its folders are there, and no answer to an earlier request."""
    for file in (Path(asked.out), Path(asked.log)):
        file.parent.mkdir(parents=True, exist_ok=True)  # a subject may have removed it
        file.unlink(missing_ok=True)  # of a process that was killed: not this answer
