"""Measure a plan: replicates outermost, cases shuffled inside each, one line of journal an outcome.

The runner decides what is measured next and when it is enough; it never touches torch.  What
is in the journal already is not measured again, so a resume is the same loop.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.core.protocol import Job
from bench.core.records import (
    Case,
    Entry,
    Facts,
    Failure,
    Measurement,
    Outcome,
    Status,
    whole_phase,
)
from bench.engine import policy, static_metrics
from bench.engine.fork_server import ForkServer
from bench.engine.requests import request
from bench.engine.workers import Experience, WorkerPool, opened
from bench.plan.config import RunOptions
from bench.plan.expand import Plan
from bench.results.journal import Journal
from bench.results.run_directory import Folders
from bench.stats.intervals import relative_half_width

FINAL: frozenset[Status] = frozenset({"unsupported", "invalid", "oom"})  # no chance decides these
REPEATS_SHARE = 0.2  # of the run's time that repeats may take
FRUITLESS = 5  # repeats in a row that were disturbed as well: the machine is busy for good


class Watcher(Protocol):
    """Who is told what happens, between the cases."""

    def begin(self, outcomes: int) -> None: ...
    def done(self, outcome: Outcome, left: int) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class RunSoFar:
    """All outcomes of a run so far, and what follows for the next."""

    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    facts: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)  # cases that compute something else

    def add(self, entry: Entry) -> None:
        if isinstance(entry, Facts):
            self.facts.add(entry.case.case_id)
            if entry.invalid:
                self.wrong.add(entry.case.case_id)
        else:
            self.outcomes.setdefault(entry.case.case_id, []).append(entry)

    def of(self, case: Case) -> list[Outcome]:
        return self.outcomes.get(case.case_id, [])

    def has(self, case: Case, replicate: int) -> bool:
        return any(outcome.replicate == replicate for outcome in self.of(case))

    def given_up(self, case: Case) -> bool:
        failures = [(one.status,) for one in self.of(case) if isinstance(one, Failure)]
        return case.case_id in self.wrong or policy.given_up(failures, FINAL)

    def calls(self, case: Case) -> int | None:
        """Calls per pipelined sample, frozen by the first replicate that measured."""
        for outcome in self.of(case):
            if isinstance(outcome, Measurement):
                for one in outcome.samples:
                    if one.kind == "pipelined" and one.phase == whole_phase(case.mode):
                        return one.calls_per_sample
        return None

    def half_width(self, case: Case) -> float:
        """Relative half-width of the 95 % interval of the whole's latency; unknown: infinity."""
        medians = [
            statistics.median(one.times_s)
            for outcome in self.of(case)
            if isinstance(outcome, Measurement)
            for one in outcome.samples
            if one.kind == "latency" and one.phase == whole_phase(case.mode)
        ]
        if any(one <= 0 for one in medians):  # a damaged journal: nobody measured that
            return math.inf
        width = relative_half_width(medians)
        return math.inf if width is None else width

    def smaller_oom(self, case: Case) -> Failure | None:
        """The failure of the same case at a smaller batch, where memory ran out."""
        for outcomes in self.outcomes.values():
            for one in outcomes:
                if (
                    isinstance(one, Failure)
                    and one.status == "oom"
                    and one.case.batch < case.batch
                    and dataclasses.replace(one.case, batch=case.batch) == case
                ):
                    return one
        return None


@dataclass(kw_only=True)
class Runner:
    """One run of a plan into a journal."""

    plan: Plan
    run: RunOptions
    folders: Folders
    journal: Journal
    watcher: Watcher
    seen: RunSoFar
    clock: Callable[[], float] = time.monotonic
    _deadline: policy.Deadline = field(init=False, repr=False)
    _repeats: policy.RepeatPolicy[Outcome] = field(init=False, repr=False)
    start: Callable[..., ForkServer] = ForkServer
    _experience: Experience = field(init=False)

    def __post_init__(self) -> None:
        self._experience = Experience(tell=self.watcher.note)

    def measure(self) -> bool:
        """Measure until it is enough.  Whether that was before the budget ended.

        KeyboardInterrupt passes through; the journal then holds what was finished.
        """
        self._deadline = policy.Deadline.begun(self.run.budget_s, self.clock)
        self._repeats = policy.RepeatPolicy(
            deadline=self._deadline,
            contended=_contended,
            disturbance=_disturbance,
            stands=lambda one: isinstance(one, Failure) and one.status == "invalid",
            fruitless=FRUITLESS,
            share=REPEATS_SHARE,
        )
        self.watcher.begin(self._left(0))
        self._make_up_facts()
        for replicate in range(self.run.most_replicates):
            todo = self._todo(replicate)
            if not todo and replicate >= self.run.replicates:
                break  # all is as precise as was asked for
            with opened(pool := self._pool(replicate, todo)):
                for position, case in enumerate(todo):
                    if self._deadline.spent:
                        return self._out_of_budget(replicate)
                    outcome = self._outcome(case, replicate, pool)
                    left = len(todo) - position - 1 + self._left(replicate + 1)
                    self.watcher.done(outcome, left)
        return True

    def _out_of_budget(self, replicate: int) -> bool:
        """Whether all that was asked for is there, beside what precision wanted further."""
        if replicate >= self.run.replicates:
            return True
        where = f"replicate {replicate + 1} of {self.run.replicates}"
        self.watcher.note(self._deadline.said(where))
        return False

    def _todo(self, replicate: int) -> list[Case]:
        """The cases that this replicate measures, in its order."""
        cases = [
            case
            for case in self.plan.order(replicate, self.run.seed)
            if not self.seen.has(case, replicate) and not self.seen.given_up(case)
        ]
        if replicate < self.run.replicates:
            return cases
        # Beyond what was asked for, only what is not yet precise, the widest first.
        wide = [case for case in cases if self.seen.half_width(case) > self.run.precision]
        return sorted(wide, key=self.seen.half_width, reverse=True)

    def _left(self, replicate: int) -> int:
        """Outcomes still to be measured from this replicate on, as far as is known."""
        return sum(
            not self.seen.has(case, later) and not self.seen.given_up(case)
            for later in range(replicate, self.run.replicates)
            for case in self.plan.cases
        )

    def _outcome(self, case: Case, replicate: int, pool: WorkerPool) -> Outcome:
        if smaller := self.seen.smaller_oom(case):
            outcome: Outcome = Failure(
                case=case,
                replicate=replicate,
                status="oom",
                reason=f"not tried: batch {smaller.case.batch} ran out of memory already",
            )
        else:
            outcome = self._undisturbed(case, replicate, pool)
        self._keep(outcome)
        if isinstance(outcome, Measurement) and case.case_id not in self.seen.facts:
            self._find_facts(case, replicate, pool)
        return outcome

    def _find_facts(self, case: Case, replicate: int, pool: WorkerPool) -> None:
        def ask(job: Job, case: Case) -> Entry:
            return self._ask(job, case, replicate, pool)

        self._keep(static_metrics.facts(case, ask, self.folders))

    def _make_up_facts(self) -> None:
        """Of cases that were measured when the run ended before their facts were found."""
        todo = [
            case
            for case in self.plan.cases
            if case.case_id not in self.seen.facts
            and any(isinstance(one, Measurement) for one in self.seen.of(case))
        ]
        with opened(pool := self._pool(0, todo)):
            for case in todo:
                self._find_facts(case, 0, pool)

    def _undisturbed(self, case: Case, replicate: int, pool: WorkerPool) -> Outcome:
        """Measured again where other work disturbed it; of several the least disturbed counts."""
        best, repeats = self._repeats.least_disturbed(lambda: self._measured(case, replicate, pool))
        if repeats and isinstance(best, Measurement):
            return dataclasses.replace(best, state={**best.state, "repeats": repeats})
        return best

    def _measured(self, case: Case, replicate: int, pool: WorkerPool) -> Outcome:
        entry = self._ask("measure", case, replicate, pool)
        assert not isinstance(entry, Facts)
        return entry

    def _keep(self, entry: Entry) -> None:
        self.journal.append(entry)
        self.seen.add(entry)

    def _ask(self, job: Job, case: Case, replicate: int, pool: WorkerPool) -> Entry:
        calls = self.seen.calls(case)
        return pool.ask(request(job, case, replicate, self.run, self.folders, calls=calls))

    def _pool(self, replicate: int, todo: Sequence[Case]) -> WorkerPool:
        """Fresh interpreters for this replicate."""
        return WorkerPool(
            cases=todo,
            folders=self.folders,
            log=self.folders.scratch / f"replicate-{replicate}.log",
            timeout_s=self.run.timeout_s,
            experience=self._experience,
            start=self.start,
        )


def _contended(outcome: Outcome) -> bool:
    return isinstance(outcome, Measurement) and "contended" in outcome.flags


def _disturbance(outcome: Outcome) -> tuple[bool, float]:
    """Of two measurements the smaller is the better; a failure is worse than either."""
    if isinstance(outcome, Failure):
        return True, math.inf
    return _contended(outcome), outcome.facts.get("contention_ratio", 0.0)
