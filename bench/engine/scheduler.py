"""Measure a plan: replicates outermost, cases shuffled inside each, one line of journal an outcome.

The runner decides what is measured next and when it is enough; it never touches torch.  What
is in the journal already is not measured again, so a resume is the same loop.
"""

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

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
from bench.core.subject import parse
from bench.engine import policy, static_metrics
from bench.engine.session import ReplicateDied, Session, collect, killed, request
from bench.host.interpreter import COMPILER
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
    start_session: Callable[..., Session] = Session
    _deadline: policy.Deadline = field(init=False, repr=False)
    _repeats: policy.RepeatPolicy[Outcome] = field(init=False, repr=False)
    _unshared: set[str] = field(default_factory=set)  # modules that each child imports for itself
    _said: set[str] = field(default_factory=set)  # what interpreters had to say

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
            with self._sessions(replicate, todo) as session_of:
                for position, case in enumerate(todo):
                    if self._deadline.spent:
                        return self._out_of_budget(replicate)
                    outcome = self._outcome(case, replicate, session_of)
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

    def _outcome(
        self, case: Case, replicate: int, session_of: Callable[[Case], Session]
    ) -> Outcome:
        if smaller := self.seen.smaller_oom(case):
            outcome: Outcome = Failure(
                case=case,
                replicate=replicate,
                status="oom",
                reason=f"not tried: batch {smaller.case.batch} ran out of memory already",
            )
        else:
            outcome = self._undisturbed(case, replicate, session_of)
        self._keep(outcome)
        if isinstance(outcome, Measurement) and case.case_id not in self.seen.facts:
            self._find_facts(case, replicate, session_of)
        return outcome

    def _find_facts(
        self, case: Case, replicate: int, session_of: Callable[[Case], Session]
    ) -> None:
        def ask(job: str, case: Case) -> Entry:
            return self._ask(job, case, replicate, session_of)

        self._keep(static_metrics.facts(case, ask, self.folders))

    def _make_up_facts(self) -> None:
        """Of cases that were measured when the run ended before their facts were found."""
        todo = [
            case
            for case in self.plan.cases
            if case.case_id not in self.seen.facts
            and any(isinstance(one, Measurement) for one in self.seen.of(case))
        ]
        with self._sessions(0, todo) as session_of:
            for case in todo:
                self._find_facts(case, 0, session_of)

    def _undisturbed(
        self, case: Case, replicate: int, session_of: Callable[[Case], Session]
    ) -> Outcome:
        """Measured again where other work disturbed it; of several the least disturbed counts."""
        best, repeats = self._repeats.least_disturbed(
            lambda: self._measured(case, replicate, session_of)
        )
        if repeats and isinstance(best, Measurement):
            return dataclasses.replace(best, state={**best.state, "repeats": repeats})
        return best

    def _measured(
        self, case: Case, replicate: int, session_of: Callable[[Case], Session]
    ) -> Outcome:
        entry = self._ask("measure", case, replicate, session_of)
        assert not isinstance(entry, Facts)
        return entry

    def _keep(self, entry: Entry) -> None:
        self.journal.append(entry)
        self.seen.add(entry)

    def _ask(
        self, job: str, case: Case, replicate: int, session_of: Callable[[Case], Session]
    ) -> Entry:
        asked = request(job, case, replicate, self.seen.calls(case), self.run, self.folders)
        ended = policy.tried(lambda: self._ended(asked, case, session_of), killed)
        entry = collect(asked, ended, self.folders)
        return dataclasses.replace(entry, wall_s=float(ended.get("wall_s", 0.0)))

    def _ended(
        self, asked: Mapping[str, Any], case: Case, session_of: Callable[[Case], Session]
    ) -> dict[str, Any]:
        """How the child ended.  Its replicate's end is one, too."""
        for file in (Path(asked["out"]), Path(asked["log"])):
            file.parent.mkdir(parents=True, exist_ok=True)  # a subject may have removed it
            file.unlink(missing_ok=True)  # of a run that was killed: not this answer
        try:
            return session_of(case).ask(asked)
        except ReplicateDied as error:
            self.watcher.note(f"{case.case_id}: {error}; a new one is started")
            return {"end": "replicate", "why": str(error), "killed": error.killed}

    def _say(self, note: str) -> None:
        """Once: each interpreter of a run says the same."""
        if note not in self._said:
            self._said.add(note)
            self.watcher.note(note)

    @contextlib.contextmanager
    def _sessions(
        self, replicate: int, todo: Sequence[Case]
    ) -> Iterator[Callable[[Case], Session]]:
        """Fresh interpreters for this replicate: one for each allocator, and anew where it died."""
        open_: dict[str | None, Session] = {}

        def start(allocator: str | None) -> None:
            open_[allocator] = session = self.start_session(
                allocator=allocator,
                modules=sorted({parse(one.subject).module for one in todo} - self._unshared),
                inductor=COMPILER not in self._unshared
                and any(one.compile != "off" and one.allocator == allocator for one in todo),
                log=self.folders.scratch / f"replicate-{replicate}-{allocator}.log",
                timeout_s=self.run.timeout_s,
                say=self._say,
            )
            self._unshared |= session.unshared

        def session_of(case: Case) -> Session:
            if open_[case.allocator].dead:
                start(case.allocator)
            return open_[case.allocator]

        needed = dict.fromkeys(case.allocator for case in todo)
        try:
            # All at once, which takes half as long: nothing is timed yet.
            with ThreadPoolExecutor(max(1, len(needed))) as starting:
                for started in [starting.submit(start, allocator) for allocator in needed]:
                    started.result()
            yield session_of
        finally:
            for session in open_.values():
                session.close()


def _contended(outcome: Outcome) -> bool:
    return isinstance(outcome, Measurement) and "contended" in outcome.flags


def _disturbance(outcome: Outcome) -> tuple[bool, float]:
    """Of two measurements the smaller is the better; a failure is worse than either."""
    if isinstance(outcome, Failure):
        return True, math.inf
    return _contended(outcome), outcome.facts.get("contention_ratio", 0.0)
