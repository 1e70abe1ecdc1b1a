"""Measure a plan: block by block, replicates outermost, one line of journal an outcome.

`bench.engine.blocks` has the order.  The runner measures it, and decides when it is enough; it
never touches torch.  Outcomes in the journal are not measured again, so a resume is the same loop.
"""

import contextlib
import dataclasses
import math
import statistics
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.core.protocol import Job
from bench.core.records import (
    Case,
    Entry,
    Failure,
    Measurement,
    Outcome,
    StaticMetrics,
)
from bench.core.row_names import case_names
from bench.core.shard import WHOLE, Shard
from bench.core.subject import parse
from bench.core.text import number_of, printable
from bench.engine import blocks, lanes, policy, shared_transfers, static_metrics
from bench.engine.blocks import JOINS, Block, Blocks, Round, Wanted
from bench.engine.fork_server import ForkServer
from bench.engine.requests import request
from bench.engine.run_so_far import RunSoFar, contended
from bench.engine.spent import Spent
from bench.engine.workers import Experience, Starting, WorkerPool, opened
from bench.host import rapl
from bench.plan.case_costs import costs_of
from bench.plan.config import RunOptions
from bench.plan.expand import Plan
from bench.results.journal import Journal
from bench.results.run_directory import Folders

REPEATS_SHARE = 0.2  # of the time left that repeats of what was disturbed may take
WARM_SHARE = 0.2  # of the time of the first compiling that a later one takes: its cache is full
# Of the budget, that the last outcome may take beyond it: compiling can take minutes.
OVERRUN_SHARE = 0.1
FRUITLESS = 5  # outcomes in a row that were disturbed: the machine is busy for good
# The share of the budget that one-off work may take before every block has its replicates.
ONE_OFF_SHARE = 0.15
SHORTEST_ONE_OFF_S = 15.0  # that a float64 reference may take, however small the budget is
SHARE_OF_BUDGET = "its share of --budget; --resume with a larger one tries again"
BLOCK_NAMES = {
    Block.PLAIN: "whole networks",
    Block.SETTINGS: "other settings",
    Block.COMPILED: "compiled networks",
    Block.LAYERS: "layers",
}


class Watcher(Protocol):
    """Receives messages about the run between the cases."""

    def begin(self, outcomes: int) -> None: ...
    def done(self, outcome: Outcome, left: int) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class OneOff:
    """Work of a run that is done once and needs no worker pool: the machine's peaks.

    expected_s: how long it may take.
    what:       in words, after "no time was left to".
    """

    work: Callable[[], None]
    expected_s: float
    what: str


@dataclass(kw_only=True)
class Runner:
    """One run of a plan into a journal.

    Each block has the least number of replicates before the next begins; what is asked for beyond
    it is measured of all blocks together: as soon as every case was measured and all of it fits
    into the budget, or else when every block has its least, after the one-off work.

    one_off: is done after the first round, where it fits in; else when all blocks are through.
    began_s: by the clock, when the command began: its budget counts from there; None: now.
    shard:   decides the numbers of the replicates; `run.replicates` is how many it takes.
    starting: the interpreters of the round that follows, which start already; they are ended if it
             needs others.
    """

    plan: Plan
    run: RunOptions
    folders: Folders
    journal: Journal
    watcher: Watcher
    seen: RunSoFar
    clock: Callable[[], float] = time.monotonic
    one_off: OneOff | None = None
    began_s: float | None = None
    shard: Shard = WHOLE
    spent: Spent = field(default_factory=Spent)
    start: Callable[..., ForkServer] = ForkServer
    starting: Starting | None = None
    _blocks: Blocks = field(init=False, repr=False)
    _deadline: policy.Deadline = field(init=False, repr=False)
    _extras: policy.Deadline = field(init=False, repr=False)
    _repeats: policy.Allowance = field(init=False, repr=False)
    _experience: Experience = field(init=False)
    _wanted: int = field(init=False)  # replicates of each case, at this stage of the run
    _begun: set[Block] = field(default_factory=set, repr=False)  # in this session
    # Case id → the seconds of an outcome that would end long after the budget: not this session.
    _put_off: dict[str, float] = field(default_factory=dict, repr=False)
    # Blocks → whether the block below runs in their rounds; not there: not decided yet.
    _joined: dict[Block, bool] = field(default_factory=dict, repr=False)
    _disturbed_in_a_row: int = 0
    _started_s: float = 0.0  # that the interpreters of the last round took to start
    _counted: int = 0  # cases whose static metrics were looked for in this session
    _counting_s: float = 0.0  # that they took
    # Protects everything that the threads of several devices share; they measure outside it.
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        self._experience = Experience(tell=self._note)
        self._blocks = Blocks.of(self.plan.cases, self.shard)
        self._wanted = self.run.first_replicates

    def measure(self) -> bool:
        """Measure until it is enough.  Return whether that was before the budget ended.

        KeyboardInterrupt passes through; the journal then holds what was finished.
        """
        try:
            return self._measure()
        finally:
            self._drop_next()
            self._say_what_was_put_off()

    def _measure(self) -> bool:
        begun_s = self.clock() if self.began_s is None else self.began_s
        budget_s, extras_s = self.run.budget_s, self.run.extras_s
        self._deadline = policy.Deadline(budget_s, self.clock, begun_s)
        self._extras = policy.Deadline(
            budget_s if extras_s is None else extras_s, self.clock, begun_s
        )
        self._repeats = policy.Allowance(deadline=self._extras, share=REPEATS_SHARE)
        self.watcher.begin(self._left_to_measure())
        for block, below in JOINS.items():
            if budget_s is None or any(map(self.seen.measured, self._cases(below))):
                self._joined[block] = True
        if not self._all_rounds():
            return False
        for block in sorted(self._begun):  # not before: a repeat would cost others theirs
            self._again(block)
        counted = self._rest_of_one_off()
        self._say_what_was_not_counted()
        if not counted:
            return False
        self._further()
        return not self._put_off_for_want()

    def _all_rounds(self) -> bool:
        """Measure all that is asked for.  False: the budget is spent."""
        resumed = bool(self.seen.outcomes)
        while one := self._next_round(resumed=resumed):
            if not self._round(one, alone=resumed) and self._left():
                where = f"replicate {one.replicate + 1}{self._what_is_missing()}"
                self.watcher.note(self._deadline.said(where))
                if self._is_of_all:
                    self._say_what_was_not_counted()
                return False
            resumed = False
        return True

    def _next_round(self, *, resumed: bool) -> Round | None:
        """Return the round to be measured now, and decide how many replicates are wanted.

        Where rounds of all blocks are what is left, but not all fits into the budget, the one-off
        work comes before them: it is worth more.
        """
        one, wanted = self._planned_round(resumed=resumed)
        least = self.run.first_replicates
        if one is not None and wanted > least and not self._all_fits():
            self._wanted = least  # replicates beyond it do not count as left meanwhile
            self._rest_of_one_off()
        self._wanted = wanted
        return one

    def _planned_round(self, *, resumed: bool = False) -> tuple[Round | None, int]:
        """Return the round that follows, and the replicates that are wanted in it.

        It is of a block that lacks its least replicates; else, or if all fits in, of all blocks.
        """
        seen, least = self._planned_on, self.run.first_replicates
        if not self._all_fits():
            one = self._blocks.next_round(seen, least, joined=self._joined, resumed=resumed)
            if one is not None:
                return one, least
        return self._blocks.together(seen, self.run.replicates), self.run.replicates

    def _all_fits(self) -> bool:
        """Return whether rounds of all blocks can measure all that is still asked for in time.

        It is False, too, while a case was not measured yet, and if nothing is asked for beyond the
        least.
        """
        wanted, seen = self.run.replicates, self._planned_on
        found = self._blocks.together(seen, wanted)
        if self.run.first_replicates >= wanted or found is None:
            return False
        if not all(map(self.seen.of, found.own)):
            return False
        left_s = self._deadline.left_s
        if left_s is None:
            return True
        outcomes_s = sum(
            self._missing_of(case, wanted) * self._expected_s(case) for case in found.own
        )
        rounds = max(self._missing_of(case, wanted) for case in found.own)
        round_s = self._started_s + sum(map(self._expected_s, found.anchors))
        peaks_s = self.one_off.expected_s if self.one_off else 0.0
        counting_s = sum(map(self._counting_s_of, self._without_static_metrics()))
        return outcomes_s + rounds * round_s + peaks_s + counting_s <= left_s

    def _counting_s_of(self, case: Case) -> float:
        """Return the seconds that the static metrics of a case will probably take."""
        return self._counting_s / self._counted if self._counted else costs_of(case).metrics_s

    def _what_is_missing(self) -> str:
        """Return the blocks that lack some of their least replicates, or else what is beyond."""
        least = self.run.first_replicates
        lacking = "; ".join(
            f"{name}: {number_of(count, 'outcome')} {'is' if count == 1 else 'are'} missing"
            for block, name in BLOCK_NAMES.items()
            if (count := self._left_of(self._cases(block), least))
        )
        if lacking:
            return f": {lacking}"
        left = number_of(self._left_of(self.plan.cases), "replicate")
        return f"; not measured: {left} beyond the first {least} of each case"

    def _round(self, one: Round, *, alone: bool) -> bool:
        """Measure one replicate, and the first one of the block below if it is the last of its own.

        alone: not that of the block below: the bases of its ratios may be those of an earlier
               session.  False: the budget is spent.
        """
        if self._deadline.spent:
            return False
        if self._is_put_off(one):
            return True  # without these cases another round is next
        with self._opened(one, self._served_in(one, self._wanted)) as pool:
            part: Round | None = one
            while part is not None:
                if not self._part(part, pool):
                    return False
                part = None if alone else self._next_part(part, pool)
            self._do_one_off()
            self._count(one, pool)
        return True

    def _part(self, one: Round, pool: WorkerPool) -> bool:
        """Measure the cases of one block and its anchors; the first round decides what joins them.

        False: the budget is spent.
        """
        with_another = {below for block, below in JOINS.items() if self._joined.get(block)}
        here = [*Block] if self._is_of_all else [one.block]
        self._begun.update(block for block in here if block not in with_another)
        begin_s = self.clock()
        order = one.order(self.run.seed)
        if not self._measure_all(order, one, pool):
            return False
        if one.later or (one.block in JOINS and one.block not in self._joined):
            first_s = (self.clock() - begin_s) / len(order)
            joined = self._joined[one.block] = bool(one.later) and self._fits(one, first_s)
            return not joined or self._measure_all(one.order_of_later(self.run.seed), one, pool)
        return True

    def _next_part(self, last: Round, pool: WorkerPool) -> Round | None:
        """Return what else is measured in this round: the first replicate of the block below."""
        while not self._is_of_all:
            found = self._blocks.in_the_same_round(
                last, self._planned_on, self._wanted, joined=self._joined
            )
            if found is None or not {*found.own, *found.later} <= {*pool.cases}:
                return None  # the interpreters of this round lack what those cases need
            if not self._is_put_off(found):
                return found
        return None

    @property
    def _is_of_all(self) -> bool:
        """Whether the rounds are of all blocks."""
        return self._wanted > self.run.first_replicates

    def _is_put_off(self, one: Round) -> bool:
        """Return whether some of the cases are put off, so that another round is to be planned."""
        cases = (*one.anchors, *one.own)
        return any(self._put_off_this_time(case, self._deadline) for case in cases)

    def _served_in(self, one: Round, wanted: int) -> tuple[Case, ...]:
        """Return the cases that the interpreters of a round may be asked for."""
        if wanted > self.run.first_replicates:
            return (*one.own, *one.anchors)
        return self._blocks.asked_in(one, self._planned_on, wanted, joined=self._joined)

    def _count(self, one: Round, pool: WorkerPool) -> None:
        """Count what is due, and go on while the interpreters of the next round start.

        Nothing is timed meanwhile.  Where energy is counted none start: it would include theirs.
        """
        if not self._without_static_metrics():
            return
        if not self._energy_is_counted():
            self._start_next(one)
        self._find_static_metrics(self._to_be_counted(), one.replicate, pool)
        self._find_static_metrics(
            self._without_static_metrics(), one.replicate, pool, until=self._next_has_started
        )

    def _energy_is_counted(self) -> bool:
        """Return whether static metrics have an energy: of an accelerator, or of the packages."""
        if not self.run.energy:
            return False
        on_cpu = all(case.device == "cpu" for case in self.plan.cases)
        return not on_cpu or rapl.opened() is not None

    def _to_be_counted(self) -> list[Case]:
        """Return the cases to count now.

        Those of the plain cases follow their first replicate, the others' come before their last:
        in their last round a block below begins, which may take minutes.
        """
        plain = {case.case_id for case in self._cases(Block.PLAIN)}
        return [
            case
            for case in self._without_static_metrics()
            if case.case_id in plain or self._missing_of(case) <= 1
        ]

    def _fits(self, one: Round, first_s: float) -> bool:
        """Return whether the block below fits into the rounds of this one, after its first round.

        first_s: that an outcome took in it.
        """
        left_s = self._deadline.left_s
        if left_s is None:
            return True
        wanted = self._settings_wanted if one.block is Block.PLAIN else self._layers_wanted
        members = (*self._cases(one.block), *one.later)
        rounds = max(map(self._missing_of, members), default=0)
        anchors = self._blocks.anchors_of(members, self._planned_on)
        anchors_s = sum(map(self._wall_s, anchors))
        return blocks.fits(
            wanted(one, first_s),
            # One outcome of each case that joins now is of the round that has started.
            rounds=rounds - 1,
            round_s=self._started_s + anchors_s,
            left_s=left_s,
        )

    def _settings_wanted(self, one: Round, first_s: float) -> list[Wanted]:
        """Return what plain cases and settings still need: settings take as long as plain."""
        looking_s = [found.looking_s for found in self._last_of(one.own)]
        later_s = first_s - statistics.fmean(looking_s or [0.0])
        now = len(one.later)
        left = self._left_of(self._cases(Block.PLAIN)) + self._left_of(self._cases(Block.SETTINGS))
        return [Wanted(now, first_s), Wanted(left - now, later_s)]

    def _layers_wanted(self, one: Round, first_s: float) -> list[Wanted]:
        """Return what compiled networks and layers still need.

        A layer takes as long as its whole network at most.
        """
        wholes = [*self._cases(Block.PLAIN), *self._cases(Block.SETTINGS)]
        eager_s = [found.wall_s for found in self._last_of(wholes)]
        compiled_s = [*map(_next_wall_s, self._last_of(one.own))]
        layers = self._left_of(self._cases(Block.LAYERS))
        compiled = self._left_of(self._cases(Block.COMPILED))
        return [
            Wanted(layers, statistics.fmean(eager_s or [first_s])),
            Wanted(compiled, max(compiled_s, default=first_s)),
        ]

    def _last_of(self, cases: Sequence[Case]) -> list[Measurement]:
        """Return the last outcome of each case that was measured in it."""
        last = [found for case in cases for found in self.seen.of(case)[-1:]]
        return [found for found in last if isinstance(found, Measurement)]

    def _measure_all(
        self,
        order: Sequence[Case],
        one: Round,
        pool: WorkerPool,
        repeats: int = 0,
        *,
        deadline: policy.Deadline | None = None,
    ) -> bool:
        """Measure the cases in their order; with --parallel-devices in this order on each device.

        deadline: by default that of the run.  False: its time is over.
        """
        until = deadline or self._deadline
        by_device = lanes.by_device(order) if pool.parallel else []
        beside = len(by_device) > 1

        def measure(cases: Sequence[Case]) -> bool:
            return all(
                self._case_done(case, one, pool, repeats, until, beside=beside) for case in cases
            )

        if not beside:
            return measure(order)
        before, begin_s = dataclasses.replace(self.spent), self.clock()
        enough = lanes.side_by_side(by_device, measure, pool.stop)
        self.spent = self.spent.within(before, self.clock() - begin_s)
        return enough

    def _case_done(
        self,
        case: Case,
        one: Round,
        pool: WorkerPool,
        repeats: int,
        until: policy.Deadline,
        *,
        beside: bool,
    ) -> bool:
        """Measure a case unless it is given up.  False: the time is over.

        beside: other devices are measured at the same time.
        """
        with self._lock:
            if until.spent:
                return False
            if self.seen.given_up(case):
                return True
            if self._put_off_this_time(case, until):
                return True
        outcome = self._outcome(case, one.replicate, pool, repeats, beside=beside)
        with self._lock:
            self.watcher.done(outcome, self._left_to_measure())
        return True

    @property
    def _planned_on(self) -> "_Planned":
        """The results so far, in which what was put off is tried no more."""
        return _Planned(self.seen, self._put_off)

    def _put_off_this_time(self, case: Case, until: policy.Deadline) -> bool:
        """Return whether the case is put off: its next outcome would end long after the time.

        So is each case whose ratios stand on one that is put off.
        """
        if until.budget_s is None or until.left_s is None or self.seen.smaller_oom(case):
            return False
        bases = (one.case_id for one in self._blocks.anchors[case.case_id])
        needed_s = max((self._put_off.get(one, 0.0) for one in bases), default=0.0)
        if needed_s:
            self._put_off.setdefault(case.case_id, needed_s)
        expected_s = self._expected_s(case)
        if expected_s > until.left_s + OVERRUN_SHARE * until.budget_s:
            self._put_off[case.case_id] = max(expected_s, needed_s)
        return case.case_id in self._put_off

    def _expected_s(self, case: Case) -> float:
        """Return the seconds of its next outcome, from its last; 0 if nothing tells.

        The first compiling of a network is estimated from that of another case of it on the device.
        The ratio of training and inference is about that of the plain cases (a ResNet-50: 46 s and
        115 s, 2.5 times; its outcomes without compiling 6 s and 16 s); the batch hardly matters.
        """
        if found := self.seen.of(case):
            last = found[-1]
            return _next_wall_s(last) if isinstance(last, Measurement) else last.wall_s
        if case not in self._cases(Block.COMPILED):
            return 0.0
        network, device = parse(case.subject).whole, case.device
        others = [
            one
            for one in self._cases(Block.COMPILED)
            if (parse(one.subject).whole, one.device) == (network, device) and self.seen.of(one)
        ]
        alike = [one for one in others if one.batch == case.batch] or others
        return max(
            (self.seen.of(one)[0].wall_s * self._times_as_long(case, one) for one in alike),
            default=0.0,
        )

    def _times_as_long(self, case: Case, other: Case) -> float:
        """Return how many times as long the plain outcomes of a case take, at the same batch.

        1 if it is unknown, or if the batches differ.
        """
        if case.batch != other.batch:
            return 1.0
        own_s, other_s = (
            statistics.fmean([found.wall_s for found in self._last_of(anchors)] or [0.0])
            for anchors in (self._blocks.anchors[one.case_id] for one in (case, other))
        )
        return own_s / other_s if own_s and other_s else 1.0

    def _put_off_for_want(self) -> dict[Case, float]:
        """Return what was put off and lacks replicates, with the seconds of an outcome."""
        return {
            case: self._put_off[case.case_id]
            for case in self.plan.cases
            if case.case_id in self._put_off
            and not self.seen.given_up(case)
            and len(self.seen.replicates(case)) < self.run.replicates
        }

    def _say_what_was_put_off(self) -> None:
        found, budget_s = self._put_off_for_want(), self.run.budget_s
        if not found or budget_s is None:
            return
        longest = max(found, key=lambda one: found[one])
        longest_s = found[longest]
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        name = printable(case_names(self.plan.cases).of(longest))
        bases = self._blocks.anchors[longest.case_id]
        needed_s = self._started_s + longest_s + sum(map(self._wall_s, bases))
        enough = f"; resume the run with --budget {10 * math.ceil(needed_s / 10)} or more"
        self.watcher.note(
            f"{name}{more}: put off, since the next outcome would take about {longest_s:.0f} s, "
            "and end long after the budget" + (enough if needed_s > budget_s else "")
        )

    def _note(self, text: str) -> None:
        with self._lock:
            self.watcher.note(text)

    def _again(self, block: Block) -> None:
        """Repeat replicates that other work disturbed, while that helps and time is left."""
        members = [*self._cases(block)]
        if self._joined.get(block):
            members += self._cases(JOINS[block])
        for repeats in range(1, policy.MOST_REPEATS + 1):
            disturbed = [
                case
                for case in members
                if self.seen.disturbed(case, self.run.replicates)
                and not self._planned_on.given_up(case)
            ]
            if not disturbed or self._disturbed_in_a_row >= FRUITLESS:
                return
            one = self._blocks.again(disturbed, block, self._planned_on)
            cases = (*one.own, *one.anchors)
            cost_s = self._started_s + sum(map(self._wall_s, cases))
            if not self._repeats.covers(cost_s):
                return
            begin_s = self.clock()
            with self._opened(one, cases) as pool:
                self._measure_all(one.order(self.run.seed), one, pool, repeats)
            self._repeats.taken_s += self.clock() - begin_s

    def _wall_s(self, case: Case) -> float:
        """Return the seconds that the last outcome of the case took; 0 without one."""
        return max((found.wall_s for found in self.seen.of(case)[-1:]), default=0.0)

    def _further(self) -> None:
        """Add replicates to cases that are not yet precise, the widest interval first."""
        most = self.run.most_replicates
        while not self._extras.spent:
            wide = [
                case
                for case in self.plan.cases
                if len(self.seen.replicates(case)) < most
                and not self._planned_on.given_up(case)
                and self.seen.half_width(case) > self.run.precision
            ]
            if self.run.replicates >= most or not wide:
                return
            widest = sorted(wide, key=self.seen.half_width, reverse=True)
            one = self._blocks.further(widest, self.seen)
            with self._opened(one, one.own) as pool:
                if not self._measure_all(one.own, one, pool, deadline=self._extras):
                    return

    def _cases(self, block: Block) -> tuple[Case, ...]:
        return self._blocks.members[block]

    def _left(self) -> int:
        """Outcomes of this stage still to be measured, as far as is known; with the anchors'."""
        return self._left_of(self.plan.cases) + self._anchors_left()

    def _left_to_measure(self) -> int:
        """Outcomes of the run still to be measured, as far as is known; with the anchors'."""
        missing = sum(self._missing_of(case, self.run.replicates) for case in self.plan.cases)
        return missing + self._anchors_left()

    def _anchors_left(self, lowest: Block = Block.LAYERS) -> int:
        """Return the outcomes of anchors that are left.  lowest: of this block and those above."""
        seen, least = self._planned_on, self.run.first_replicates
        if self._wanted > least:
            return self._blocks.anchors_left_together(seen, self._wanted)
        return self._blocks.anchors_left(seen, least, joined=self._joined, lowest=lowest)

    def _left_of(self, cases: Sequence[Case], wanted: int | None = None) -> int:
        return sum(self._missing_of(case, wanted) for case in cases)

    def _missing_of(self, case: Case, wanted: int | None = None) -> int:
        """Return how many replicates a case lacks; none if it is given up.

        wanted: by default as many as this stage of the run wants.
        """
        if self._planned_on.given_up(case):
            return 0
        return max(0, (wanted or self._wanted) - len(self.seen.replicates(case)))

    def _outcome(
        self,
        case: Case,
        replicate: int,
        pool: WorkerPool,
        repeats: int = 0,
        *,
        beside: bool = False,
    ) -> Outcome:
        with self._lock:
            smaller = self.seen.smaller_oom(case)
        if smaller:
            outcome: Outcome = Failure(
                case=case,
                replicate=replicate,
                status="oom",
                reason=f"not tried: batch {smaller.case.batch} ran out of memory already",
            )
        else:
            outcome = self._measured(case, replicate, pool)
        if repeats and isinstance(outcome, Measurement):
            outcome = dataclasses.replace(outcome, state={**outcome.state, "repeats": 1})
        if beside and isinstance(outcome, Measurement):
            outcome = dataclasses.replace(outcome, flags=(*outcome.flags, "parallel"))
        with self._lock:
            self._disturbed_in_a_row = self._disturbed_in_a_row + 1 if contended(outcome) else 0
            self._keep(outcome)
            self.spent.add(outcome)
        return outcome

    def _measured(self, case: Case, replicate: int, pool: WorkerPool) -> Outcome:
        with self._lock:
            every = (one for outcomes in self.seen.outcomes.values() for one in outcomes)
            other = shared_transfers.timed(every, case, replicate)
        entry = self._ask("measure", case, replicate, pool, transfers=other is None)
        assert not isinstance(entry, StaticMetrics)
        if other is not None and isinstance(entry, Measurement):
            return shared_transfers.with_transfers(entry, other)
        return entry

    def _rest_of_one_off(self) -> bool:
        """Do what did not fit in between the rounds.  False: there was no time for all of it."""
        self._do_one_off()
        todo = self._without_static_metrics()
        if todo and self._may_do_one_off(0.0):
            with self._opened(Round(Block.PLAIN, 0, tuple(todo)), todo) as pool:
                self._find_static_metrics(todo, 0, pool)
        return not self._without_static_metrics()

    def _say_what_was_not_counted(self) -> None:
        if self.one_off:
            self.watcher.note(f"no time was left to {self.one_off.what}")
        if missing := len(self._without_static_metrics()):
            self.watcher.note(
                f"no time was left to hold {number_of(missing, 'case')} against float64 and to "
                "count FLOPs and memory"
            )

    def _do_one_off(self) -> None:
        if self.one_off and self._may_do_one_off(self.one_off.expected_s):
            if self.starting is not None:
                self.starting.started()  # nothing may run beside what is timed
            begin_s = self.clock()
            self.one_off.work()
            self.one_off = None
            self.spent.one_off_s += self.clock() - begin_s

    def _may_do_one_off(self, cost_s: float, lowest: Block = Block.LAYERS) -> bool:
        """Return whether it fits: into its share of the budget, after all blocks into the rest.

        lowest: it costs no replicate of this block and those above, as far as can be estimated.
        """
        budget_s, left_s = self._extras.budget_s, self._extras.left_s
        if budget_s is None or left_s is None:
            return True
        if self._left():
            fits = self.spent.one_off_s + cost_s <= ONE_OFF_SHARE * budget_s
            return fits and self._replicates_fit(cost_s, lowest)
        return not self._extras.spent and cost_s <= left_s

    def _replicates_fit(self, beside_s: float, lowest: Block) -> bool:
        """Return whether what is left to measure will probably end in time, beside so much else.

        lowest: of this block and those above.
        """
        left_s = self._deadline.left_s
        cases = [case for block in Block if block <= lowest for case in self._cases(block)]
        took = [one.wall_s for case in cases for one in self.seen.of(case)]
        if left_s is None or not took:
            return True
        rounds = max(map(self._missing_of, cases), default=0)
        left = self._left_of(cases) + self._anchors_left(lowest)
        needed_s = left * statistics.fmean(took) + rounds * self._started_s
        return needed_s + beside_s <= left_s

    def _without_static_metrics(self) -> list[Case]:
        """Return the cases that ran but were not counted yet, the best block first.

        A resumed run has such cases, too: it may have ended before they were counted.
        """
        return [
            case
            for block in Block
            for case in self._cases(block)
            if not self.seen.counted(case, self._one_off_limit_s) and self.seen.measured(case)
        ]

    def _find_static_metrics(
        self,
        cases: Sequence[Case],
        replicate: int,
        pool: WorkerPool,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Find the static metrics of as many cases as there is time for, or until it is enough.

        No case waits longer than its share of the time.
        """

        def ask(job: Job, case: Case) -> Entry:
            return self._ask(job, case, replicate, pool)

        took_s = 0.0
        for done, case in enumerate(cases):
            lowest = next(block for block in Block if case in self._cases(block))
            case_s = took_s / done if done else self._counting_s / max(1, self._counted)
            if until() or not self._may_do_one_off(case_s, max(lowest, Block.SETTINGS)):
                return
            begin_s = self.clock()
            found = static_metrics.find(case, ask, self.folders, limit_s=self._one_off_limit_s)
            self._keep(found)
            case_s = self.clock() - begin_s
            took_s += case_s
            self._counted += 1
            self._counting_s += case_s
            self.spent.one_off_s += case_s

    @property
    def _one_off_limit_s(self) -> float:
        """The time limit of a reference, and of counting: a short budget shortens it."""
        most_s = self._extras.budget_s
        share_s = math.inf if most_s is None else ONE_OFF_SHARE * most_s
        return min(self.run.timeout_s, max(SHORTEST_ONE_OFF_S, share_s))

    def _keep(self, entry: Entry) -> None:
        self.journal.append(entry)
        self.seen.add(entry)

    def _ask(
        self, job: Job, case: Case, replicate: int, pool: WorkerPool, *, transfers: bool = True
    ) -> Entry:
        with self._lock:
            calls, looked = self.seen.calls(case), self.seen.measured(case)
        asked = request(job, case, replicate, self.run, self.folders, calls=calls)
        asked = dataclasses.replace(asked, transfers=transfers, looked=looked)
        if job != "measure" and (limit_s := self._one_off_limit_s) < asked.timeout_s:
            asked = dataclasses.replace(asked, timeout_s=limit_s, timeout_is=SHARE_OF_BUDGET)
        return pool.ask(asked)

    def _pool(self, one: Round, cases: Sequence[Case]) -> WorkerPool:
        return WorkerPool(
            cases=cases,
            folders=self.folders,
            log=self.folders.scratch / f"replicate-{one.replicate}.log",
            timeout_s=self.run.timeout_s,
            experience=self._experience,
            start=self.start,
            parallel=self.run.parallel_devices and len({one.device for one in cases}) > 1,
            wait_policy=self.run.wait_policy,
        )

    def _start_next(self, now: Round) -> None:
        """Begin to start the interpreters of the round that follows, if one does."""
        following, wanted = self._planned_round()
        if self.starting is None and following and following.replicate != now.replicate:
            self.starting = Starting(self._pool(following, self._served_in(following, wanted)))
            self.starting.begin()

    def _next_has_started(self) -> bool:
        return self.starting is None or self.starting.ready

    def _drop_next(self) -> None:
        if self.starting is not None:
            self.starting.drop()
            self.starting = None

    @contextlib.contextmanager
    def _opened(self, one: Round, cases: Sequence[Case]) -> Iterator[WorkerPool]:
        """Start interpreters for this round.  Raises StartError."""
        pool = self._pool(one, cases)
        begin_s = self.clock()
        if self.starting is not None and self.starting.pool.serves_as(pool):
            pool.take_over(self.starting.started())
            took_s = self.starting.took_s
            self.starting = None
        else:
            took_s = 0.0
        self._drop_next()
        with opened(pool):
            waited_s = self.clock() - begin_s
            self._started_s = max(took_s, waited_s)
            self.spent.imports_s += waited_s
            yield pool


@dataclass(frozen=True, slots=True)
class _Planned:
    """The results that the next rounds are planned on."""

    seen: RunSoFar
    put_off: Collection[str]

    def replicates(self, case: Case) -> frozenset[int]:
        return self.seen.replicates(case)

    def given_up(self, case: Case) -> bool:
        return case.case_id in self.put_off or self.seen.given_up(case)


def _next_wall_s(found: Measurement) -> float:
    """Return the seconds of the next outcome of the case: it compiles with a full cache."""
    return found.wall_s - (1 - WARM_SHARE) * found.metrics.get("compile_cold_s", 0.0)
