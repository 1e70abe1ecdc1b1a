"""Measures for the search with worker processes, and keeps every record in a journal."""

import contextlib
import dataclasses
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.ab.interleave import PipedChild, interleave
from bench.ab.pair_journal import BACK_TO_BACK, pair_of
from bench.core.protocol import Job
from bench.core.records import Case, Entry, Failure, Measurement, Outcome, whole_phase
from bench.engine import policy, requests, static_metrics
from bench.engine.workers import Experience, WorkerPool, opened
from bench.plan.config import RunOptions
from bench.results.journal import Journal
from bench.results.run_directory import RunDir
from bench.tune.earlier import Earlier
from bench.tune.objectives import Objective
from bench.tune.space import begins_slowly
from bench.tune.static import Static
from bench.verdict.paired_test import pair_value

REFERENCE_S = 60.0  # that the float64 reference may take: without it a wrong setting could win
FRUITLESS = 3  # disturbed repeats in a row, after which nothing is repeated


@dataclass(kw_only=True)
class ProcessLab:
    """A `bench.tune.search.Lab` made of processes; a round is a replicate of a run.

    budget_s: the time after which nothing is repeated.
    earlier:  measurements of an interrupted search, which are not made again.
    """

    directory: RunDir
    run: RunOptions
    journal: Journal
    objective: Objective
    budget_s: float | None
    tell: Callable[[str], None]
    clock: Callable[[], float]
    earlier: Earlier = field(default_factory=Earlier)
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

    def round(
        self, number: int, cases: Sequence[Case], until: policy.Deadline
    ) -> Generator[Outcome, None, None]:
        """Raises StartError, DiskFull."""
        if (known := self.earlier.round(number, cases)) is not None:
            for outcome in known.values():
                self._keep_calls(outcome)
                yield outcome
            return
        order = self._order(number, cases)
        pool = self._pool(order)
        with opened(pool):
            for case in order:
                if until.spent and case != cases[0]:
                    continue
                entry, _ = self._repeats.least_disturbed(
                    lambda case=case: self.measured(pool, case, number)  # type: ignore[misc]
                )
                self.journal.append(entry)
                if isinstance(entry, Measurement | Failure):
                    yield entry

    def _order(self, number: int, cases: Sequence[Case]) -> list[Case]:
        """Return a random order; new settings that compile or search come last, as given.

        Their first process can take longer than all the rest, so a budget must not end in it.
        """
        order = list(cases)
        random.Random(f"{self.run.seed}:{number}").shuffle(order)
        cold = [one for one in cases if begins_slowly(one) and one.case_id not in self._calls]
        if len(cold) == len(cases):
            return order
        return [*(one for one in order if one not in cold), *cold]

    def measured(self, pool: WorkerPool, case: Case, number: int) -> Entry:
        calls = self._calls.get(case.case_id)
        folders = self.directory.folders
        entry = pool.ask(requests.request("measure", case, number, self.run, folders, calls=calls))
        self._keep_calls(entry)
        return entry

    def _keep_calls(self, entry: Entry) -> None:
        """Keep the number of calls in a sample: it is the same in all rounds."""
        if isinstance(entry, Measurement):
            for samples in entry.samples:
                if samples.phase == whole_phase(entry.case.mode) and samples.kind == "pipelined":
                    self._calls.setdefault(entry.case.case_id, samples.calls_per_sample)

    def statics(self, cases: Sequence[Case]) -> Generator[Static, None, None]:
        """Raises StartError, DiskFull."""
        pool = self._pool(cases)
        folders = self.directory.folders

        def ask(job: Job, asked: Case) -> Entry:
            made = requests.request(job, asked, 0, self.run, folders)
            return pool.ask(dataclasses.replace(made, reference_s=REFERENCE_S))

        try:  # the pool starts with the first request
            for case in cases:
                known = self.earlier.statics.get(case.case_id)
                found = known or static_metrics.find(case, ask, folders)
                if known is None:
                    self.journal.append(found)
                yield Static.of(found)
        finally:
            pool.close()

    def pair(self, number: int, compared: Sequence[tuple[Case, Case]]) -> list[float | None]:
        """log(time of b / time of a) of each comparison (a, b), which take turns.

        None for one that failed.  Both sides have fresh interpreters, in which each comparison has
        processes of its own.  Raises StartError, DiskFull.
        """
        pools = [self._pool([pair[side] for pair in compared], f"-{side}") for side in (0, 1)]
        draw = random.Random(f"{self.run.seed}:pair:{number}")
        values: list[float | None] = [None] * len(compared)
        with opened(*pools):
            for place in draw.sample(range(len(compared)), len(compared)):
                values[place] = self._compared(number, pools, compared[place], draw)
        return values

    def _compared(
        self,
        number: int,
        pools: Sequence[WorkerPool],
        cases: tuple[Case, Case],
        draw: random.Random,
    ) -> float | None:
        children = [
            PipedChild(
                pool.server_of(case),
                requests.turns(case, number, self.run, pool.folders, host_clock=False),
                pool.folders,
            )
            for pool, case in zip(pools, cases, strict=True)
        ]
        found = interleave(children[0], children[1], draw)
        pair = pair_of("fresh", number, cases[1].case_id, *found, null=False)
        if pair.failed:
            self.tell("; ".join(f"{name}: {why}" for name, why in pair.failed.items()))
            return None
        return self._value(pair.samples, cases[0])

    def _value(
        self, samples: Mapping[str, tuple[Sequence[float], Sequence[float]]], case: Case
    ) -> float | None:
        whole = whole_phase(case.mode)
        wanted = [whole] if self.objective == "latency" else [whole + BACK_TO_BACK, whole]
        for phase in wanted:
            if phase in samples:
                return pair_value(*samples[phase])
        return None

    def _pool(self, cases: Sequence[Case], name: str = "") -> WorkerPool:
        scratch = self.directory.folders.scratch
        with contextlib.suppress(FileExistsError):
            scratch.mkdir(parents=True)
        return WorkerPool(
            cases=cases,
            folders=self.directory.folders,
            log=scratch / f"server{name}.log",
            timeout_s=self.run.timeout_s,
            experience=self.experience,
        )


def _disturbance(entry: Entry) -> tuple[bool, float]:
    if not isinstance(entry, Measurement):
        return False, 0.0
    return "contended" in entry.flags, entry.metrics.get("contention_ratio", 0.0)
