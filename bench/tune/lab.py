"""Measures for the search with worker processes, and keeps every record in a journal."""

import contextlib
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.ab.pair_journal import BACK_TO_BACK
from bench.ab.variants import Side
from bench.ab.workers import PairWorkers
from bench.core.protocol import Job
from bench.core.records import Case, Entry, Failure, Measurement, Outcome, whole_phase
from bench.engine import policy, requests, static_metrics
from bench.engine.workers import Experience, WorkerPool, opened
from bench.plan.config import RunOptions
from bench.results.journal import Journal
from bench.results.run_directory import RunDir
from bench.tune.objectives import Objective
from bench.tune.static import Static
from bench.verdict.paired_test import pair_value

FRUITLESS = 3  # disturbed repeats in a row, after which nothing is repeated


@dataclass(kw_only=True)
class ProcessLab:
    """A `bench.tune.search.Lab` made of processes; a round is a replicate of a run.

    budget_s: the time after which nothing is repeated.
    """

    directory: RunDir
    run: RunOptions
    journal: Journal
    objective: Objective
    budget_s: float | None
    tell: Callable[[str], None]
    clock: Callable[[], float]
    experience: Experience = field(init=False)
    _calls: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.experience = Experience(tell=self.tell)
        deadline = policy.Deadline.begun(self.budget_s, self.clock)
        self._repeats: policy.RepeatPolicy[Entry] = policy.RepeatPolicy(
            deadline=deadline,
            contended=lambda one: isinstance(one, Measurement) and "contended" in one.flags,
            disturbance=_disturbance,
            stands=lambda one: isinstance(one, Failure),
            fruitless=FRUITLESS,
        )

    def round(self, number: int, cases: Sequence[Case]) -> Mapping[str, Outcome]:
        """See `bench.tune.search.Lab`.  Raises StartError, DiskFull."""
        order = list(cases)
        random.Random(f"{self.run.seed}:{number}").shuffle(order)
        found: dict[str, Outcome] = {}
        pool = self._pool(order)
        with opened(pool):
            for case in order:
                entry, _ = self._repeats.least_disturbed(
                    lambda case=case: self._measured(pool, case, number)  # type: ignore[misc]
                )
                self.journal.append(entry)
                if isinstance(entry, Measurement | Failure):
                    found[case.case_id] = entry
        return found

    def _measured(self, pool: WorkerPool, case: Case, number: int) -> Entry:
        calls = self._calls.get(case.case_id)
        folders = self.directory.folders
        entry = pool.ask(requests.request("measure", case, number, self.run, folders, calls=calls))
        if isinstance(entry, Measurement):
            for samples in entry.samples:
                if samples.phase == whole_phase(case.mode) and samples.kind == "pipelined":
                    self._calls.setdefault(case.case_id, samples.calls_per_sample)
        return entry

    def static(self, case: Case) -> Static:
        """See `bench.tune.search.Lab`.  Raises StartError, DiskFull."""
        pool = self._pool([case])
        folders = self.directory.folders

        def ask(job: Job, asked: Case) -> Entry:
            return pool.ask(requests.request(job, asked, 0, self.run, folders))

        with opened(pool):
            found = static_metrics.find(case, ask, folders)
        self.journal.append(found)
        return Static.of(found)

    def pairs(self, a: Case, b: Case, most: int, end: Callable[[], bool]) -> list[float]:
        """log(time of b / time of a) of fresh pairs that take turns; fewer where one fails.

        end: whether no further pair may begin.
        """
        values: list[float] = []
        sides = {
            name: Side(name=name, asked=case.case_id, kind="settings")
            for name, case in (("A", a), ("B", b))
        }
        key = a.case_id
        for number in range(most):
            if end():
                break
            with tempfile.TemporaryDirectory(prefix="pairs-", dir=self.directory.path) as folder:
                Path(folder, ".scratch").mkdir()
                workers = PairWorkers(
                    sides=sides,
                    cases={key: {"A": a, "B": b}},
                    run=self.run,
                    directory=Path(folder),
                    stage="fresh",
                    number=number,
                    experience=self.experience,
                )
                with workers.open():
                    pair = workers.compare(key, null=False)
            if pair.failed:
                self.tell("; ".join(f"{name}: {why}" for name, why in pair.failed.items()))
                break
            value = self._value(pair.samples, a)
            if value is not None:
                values.append(value)
        return values

    def _value(
        self, samples: Mapping[str, tuple[Sequence[float], Sequence[float]]], case: Case
    ) -> float | None:
        whole = whole_phase(case.mode)
        wanted = [whole] if self.objective == "latency" else [whole + BACK_TO_BACK, whole]
        for phase in wanted:
            if phase in samples:
                return pair_value(*samples[phase])
        return None

    def _pool(self, cases: Sequence[Case]) -> WorkerPool:
        scratch = self.directory.folders.scratch
        with contextlib.suppress(FileExistsError):
            scratch.mkdir(parents=True)
        return WorkerPool(
            cases=cases,
            folders=self.directory.folders,
            log=scratch / "server.log",
            timeout_s=self.run.timeout_s,
            experience=self.experience,
        )


def _disturbance(entry: Entry) -> tuple[bool, float]:
    if not isinstance(entry, Measurement):
        return False, 0.0
    return "contended" in entry.flags, entry.metrics.get("contention_ratio", 0.0)
