"""Profile both variants of a comparison, in turns, each in processes of its own.

The first round of a case is its whole profile, the others find the parts of the step alone.  A
round is a process of each variant; its order is drawn.
"""

import contextlib
import dataclasses
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.ab.variants import Side
from bench.core.protocol import Job
from bench.core.records import Case, Entry, Failure
from bench.engine.requests import request
from bench.engine.workers import Experience, WorkerPool, opened
from bench.plan.config import RunOptions
from bench.results import profile_parts, profile_tables
from bench.results.profile_parts import StepParts
from bench.results.run_directory import Folders

ROUNDS = 5
LEAST_ROUNDS = 3  # fewer give no interval, whatever the budget
SIDES = ("A", "B")


@dataclass(kw_only=True)
class PairProfiler:
    """Profiles cases of two variants.  The variants' code must be in place."""

    sides: Mapping[str, Side]
    run: RunOptions
    directory: Path  # gets a folder for each side, with a folder for each case
    scratch: Path
    tell: Callable[[str], None]
    rounds: int = ROUNDS
    experience: Experience = field(default_factory=Experience)
    clock: Callable[[], float] = time.monotonic
    make_pool: Callable[..., WorkerPool] = WorkerPool
    _pools: dict[str, WorkerPool] = field(default_factory=dict)

    @contextlib.contextmanager
    def open(self, cases: Sequence[Mapping[str, Case]]) -> Iterator["PairProfiler"]:
        """Start the interpreters of both sides, and end them afterwards.  Raises StartError."""
        self._pools = {
            side: self.make_pool(
                cases=[one[side] for one in cases],
                folders=Folders(self.scratch / side, self.directory / "failures" / side),
                log=self.scratch / f"{side}.log",
                timeout_s=self.run.timeout_s,
                place=self.sides[side].place,
                experience=self.experience,
            )
            for side in SIDES
        }
        for side in SIDES:
            (self.scratch / side).mkdir(parents=True, exist_ok=True)
        with opened(*self._pools.values()):
            yield self

    def profile(
        self, case: Mapping[str, Case], until_s: float | None = None
    ) -> Mapping[str, StepParts] | Failure:
        """Profile one case on both sides, and keep the files.

        until_s: of the clock; no round after the third begins later.
        """
        whole = False
        try:
            both = self._rounds(case, until_s)
            whole = not isinstance(both, Failure)
        finally:
            if not whole:
                self._forget(case)
        return both

    def _forget(self, case: Mapping[str, Case]) -> None:
        """Remove what was kept of a case: half of a pair cannot be compared."""
        for side in SIDES:
            kept = self.directory / side / self._pools[side].folders.of(case[side])
            shutil.rmtree(kept, ignore_errors=True)

    def _rounds(
        self, case: Mapping[str, Case], until_s: float | None
    ) -> Mapping[str, StepParts] | Failure:
        draw = random.Random(f"{self.run.seed}:{case['A'].case_id}")
        found: dict[str, list[Mapping[str, object]]] = {side: [] for side in SIDES}
        for number in range(self.rounds):
            late = until_s is not None and self.clock() > until_s
            if late and number >= LEAST_ROUNDS:
                break
            job: Job = "parts" if number else "profile"
            for side in draw.sample(SIDES, 2):
                entry = self._ask(job, case[side], side, number)
                if isinstance(entry, Failure):
                    return dataclasses.replace(entry, reason=f"side {side}: {entry.reason}")
                found[side].append(self._found(job, case[side], side))
        return {side: self._stored(case[side], side, found[side]) for side in SIDES}

    def _ask(self, job: Job, case: Case, side: str, number: int) -> Entry:
        pool = self._pools[side]
        return pool.ask(request(job, case, number, self.run, pool.folders))

    def _found(self, job: Job, case: Case, side: str) -> Mapping[str, object]:
        """Return the content of the worker's file; the files of a whole profile are kept."""
        folders = self._pools[side].folders
        left = profile_tables.folder_of_worker(folders, case, job)
        found = profile_tables.found(left)
        if job == "profile":
            kept = self.directory / side / folders.of(case)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(left, kept)
            profile_tables.write_case(profile_tables.load(kept))
        else:
            shutil.rmtree(left, ignore_errors=True)
        return found

    def _stored(self, case: Case, side: str, found: Sequence[Mapping[str, object]]) -> StepParts:
        parts = profile_parts.of_found(found[0], found[1:])
        profile_parts.write(self.directory / side / self._pools[side].folders.of(case), parts)
        return parts
