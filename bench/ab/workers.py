"""The workers of one pair: a pool for each side, and a second one of side A for the null case.

They are started for the pair and end with it, because the process is the unit of noise.
"""

import contextlib
import dataclasses
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.ab.interleave import PipedChild, interleave
from bench.ab.pair_journal import Pair, SideStaticMetrics, pair_of
from bench.ab.variants import Side, SideError, unproven
from bench.core.protocol import Job, Proof
from bench.core.records import Case, Entry
from bench.engine import policy, requests, static_metrics
from bench.engine.workers import Experience, WorkerPool, opened
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.verdict.looks import Stage

AGAIN = "A-again"  # the second pool of side A


@dataclass(kw_only=True)
class PairWorkers:
    """The workers of `bench.ab.scheduler` as processes."""

    sides: Mapping[str, Side]  # A and B
    cases: Mapping[str, Mapping[str, Case]]  # key → side → case
    run: RunOptions
    directory: Path
    stage: Stage
    number: int
    experience: Experience = field(default_factory=Experience)
    null: bool = True  # whether A can be compared with itself, which takes a pool of its own
    pools: dict[str, WorkerPool] = field(init=False)

    def __post_init__(self) -> None:
        names = ("A", "B", AGAIN) if self.null else ("A", "B")
        self.pools = {name: self._pool(name) for name in names}

    def _pool(self, name: str) -> WorkerPool:
        """Make a worker pool with its own folders, since compiler caches must not be shared."""
        side = "B" if name == "B" else "A"
        scratch = self.directory / ".scratch"
        return WorkerPool(
            cases=[one[side] for one in self.cases.values()],
            folders=Folders(scratch / name, self.directory / "failures" / name),
            log=scratch / f"{name}.log",
            timeout_s=self.run.timeout_s,
            place=self.sides[side].place,
            experience=self.experience,
        )

    @contextlib.contextmanager
    def open(self) -> Iterator["PairWorkers"]:
        """Start the pools, and end them afterwards.  Raises StartError."""
        with opened(*self.pools.values()):
            yield self

    def compare(self, key: str, *, null: bool) -> Pair:
        """Measure one case on both sides, or on side A twice.  Raises SideError."""
        start_s = time.monotonic()
        found, a, b = policy.tried(
            lambda: self._interleaved(key, null=null), lambda one: one[1].killed or one[2].killed
        )
        for child, name in ((a, "A"), (b, "A" if null else "B")):
            self._prove(child.proof, name)
        for entry in found:
            self.experience.tell_host_times(entry)
        pair = pair_of(self.stage, self.number, key, *found, null=null)
        return dataclasses.replace(pair, wall_s=time.monotonic() - start_s)

    def _interleaved(
        self, key: str, *, null: bool
    ) -> tuple[tuple[Entry, Entry], PipedChild, PipedChild]:
        draw = random.Random(f"{self.run.seed}:{self.stage}:{self.number}:{key}:{null}")
        a, b = self._child("A", key), self._child(AGAIN if null else "B", key)
        return interleave(a, b, draw), a, b

    def _child(self, name: str, key: str) -> PipedChild:
        pool, case = self.pools[name], self.cases[key]["B" if name == "B" else "A"]
        kinds = {one.device.partition(":")[0] for one in self.cases[key].values()}
        asked = requests.turns(case, self.number, self.run, pool.folders, host_clock=len(kinds) > 1)
        return PipedChild(pool.server_of(case), asked, pool.folders)

    def static_metrics(self, key: str) -> list[SideStaticMetrics]:
        """Find the static metrics of both sides; each is compared with its own reference."""
        found = []
        for name, case in self.cases[key].items():
            pool = self.pools[name]

            def ask(job: Job, case: Case, pool: WorkerPool = pool) -> Entry:
                return pool.ask(requests.request(job, case, self.number, self.run, pool.folders))

            entry = static_metrics.find(case, ask, pool.folders)
            found.append(
                SideStaticMetrics(
                    key=key,
                    side=name,
                    metrics=entry.metrics,
                    problems=entry.problems,
                    invalid=entry.invalid,
                )
            )
        return found

    def _prove(self, proof: Proof | None, name: str) -> None:
        """Raise SideError if the code that ran is not the side's own."""
        other = self.sides["A" if name == "B" else "B"]
        if proof and (why := unproven(self.sides[name], other, proof)):
            raise SideError(why)
