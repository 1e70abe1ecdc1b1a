"""Measure the pairs of a comparison: both stages, the null case, the budget.

The outer loop is over pairs, the inner one over cases.  Inside a pair whole networks come before
layers, and the slowest suspect before other suspects; otherwise the order is random.  A budget that
is too short for all cases goes to the first pairs of whole networks, then to those of layers.
Every pair also measures the null case, A against A.  Pairs that are in the journal are not measured
again, so a resume is the same loop.
"""

import dataclasses
import itertools
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, cast

from bench.ab.pair_journal import (
    Pair,
    PairsSoFar,
    PhaseKey,
    SideStaticMetrics,
    contended,
    disturbance,
    to_line,
)
from bench.core.records import Case, Status, whole_phase
from bench.core.subject import parse
from bench.core.text import number_of
from bench.engine import policy
from bench.results.journal import Journal
from bench.verdict import paired_test
from bench.verdict.looks import FRESH_PAIRS, MOST_PAIRS, Stage, first_pairs

FINAL: frozenset[Status] = frozenset({"unsupported"})  # a second try gives the same status
FRUITLESS = 3  # after so many disturbed repeats in a row, the machine counts as always busy
INSTEAD = MOST_PAIRS  # pairs with a number from here on replace pairs that failed


def repeats(deadline: policy.Deadline) -> policy.RepeatPolicy[Pair]:
    """Return the policy that measures a pair again while other work disturbs it."""
    return policy.RepeatPolicy(
        deadline=deadline,
        contended=contended,
        disturbance=lambda pair: (contended(pair), disturbance(pair)),
        stands=lambda pair: bool(pair.failed),  # a failure counts, even if a repeat works
        fruitless=FRUITLESS,
    )


class Workers(Protocol):
    """The worker processes of one pair."""

    def compare(self, key: str, *, null: bool) -> Pair: ...

    def static_metrics(self, key: str) -> Sequence[SideStaticMetrics]: ...


@dataclass(kw_only=True)
class Pairs:
    """One comparison, whose pairs are written to a journal."""

    cases: Mapping[str, Case]  # key → case of side A
    seed: int
    threshold: float
    thresholds: Mapping[str, float] = field(default_factory=dict)  # by key, if it has its own
    bias: float = 0.0  # bias of this machine's null cases; a smaller difference does not count
    pairs: int = FRESH_PAIRS  # the most fresh pairs of a suspect
    budget_s: float | None
    expected_s: float = 0.0  # that the first stage of all cases takes
    names: Mapping[str, str] = field(default_factory=dict)  # by key, for `tell`
    journal: Journal
    seen: PairsSoFar
    open_workers: Callable[[Stage, int], AbstractContextManager[Workers]]
    tell: Callable[[str], None]  # between pairs
    clock: Callable[[], float] = time.monotonic
    _deadline: policy.Deadline = field(init=False, repr=False)
    _repeats: policy.RepeatPolicy[Pair] = field(init=False, repr=False)
    _chosen: tuple[PhaseKey, ...] = ()  # phases that are measured again

    def measure(self) -> bool:
        """Measure both stages; return whether they were completed within the budget.

        After a KeyboardInterrupt, the journal has the pairs that were finished.
        """
        self._deadline = policy.Deadline.begun(self.budget_s, self.clock)
        self._repeats = repeats(self._deadline)
        if not all(self._stage("first", block) for block in self._blocks()):
            return False
        self._chosen = self.suspects()  # from the first pairs, which are complete now
        chosen = {one.key for one in self._chosen}
        again = sorted(key for key in chosen if not self.given_up(key))
        if again:
            of = number_of(len(self.cases), "case")
            self.tell(f"{len(again)} of {of} may be slower: measured again")
        return self._stage("fresh", again)

    def _blocks(self) -> list[list[str]]:
        """Return the blocks of cases: one with all, or whole networks before layers.

        They are apart only if the budget is too short for all cases.  Apart they take longer,
        because layers then have interpreters of their own.
        """
        wholes = [key for key in self.cases if self._is_whole(key)]
        layers = [key for key in self.cases if not self._is_whole(key)]
        if wholes and layers and self.budget_s is not None and self.budget_s < self.expected_s:
            return [wholes, layers]
        return [list(self.cases)]

    def _is_whole(self, key: str) -> bool:
        return parse(self.cases[key].subject).layer is None

    def _stage(self, stage: Stage, keys: Sequence[str]) -> bool:
        """Measure the pairs of a stage, then replace failed ones.  False: the budget is spent."""
        pairs = self._most(stage)
        for number in range(pairs):
            if not self._pair(stage, number, keys):
                return False
        for number in range(pairs):
            lost = [key for key in keys if self._lost(stage, number, key)]
            if lost and not self._pair(stage, INSTEAD + number, lost):
                return False
        return True

    def _most(self, stage: Stage) -> int:
        return first_pairs(self.pairs) if stage == "first" else self.pairs

    def _lost(self, stage: Stage, number: int, key: str) -> bool:
        pair = self.seen.pairs.get((stage, number, key, False))
        return pair is not None and bool(pair.failed)

    def _pair(self, stage: Stage, number: int, keys: Sequence[str]) -> bool:
        """Measure these cases in one pair of interpreters.  False: the budget is spent."""
        draw = random.Random(f"{self.seed}:{stage}:{number}")
        left = [key for key in keys if self._wanted(stage, number, key)]
        draw.shuffle(left)
        left.sort(key=lambda key: self._rank(stage, key))
        done = [(stage, number, key, False) in self.seen.pairs for key in keys]
        null_left = self.null_key() is not None and self._wants_null(stage, number, keys)
        static_metrics_left = (
            stage == "first" and number == 0 and bool(self._without_static_metrics())
        )
        if not (left or null_left or static_metrics_left):
            return True
        if self._deadline.spent:
            return self._out_of_budget(stage, number)
        with self.open_workers(stage, number) as workers:
            order: list[str | None] = [*left]
            # In the very first pair the null case is last, because the cheapest case is unknown.
            last = stage == "first" and number == 0 and not all(done)
            order.insert(len(left) if last else draw.randrange(len(left) + 1), None)
            for key in order:
                if self._deadline.spent:
                    return self._out_of_budget(stage, number)
                if key is not None:
                    self._compare(workers, key, null=False)
                elif (null := self.null_key()) and self._wants_null(stage, number, keys):
                    self._compare(workers, null, null=True)
            if not self._find_static_metrics(workers):
                return self._out_of_budget(stage, number)
        self.tell(f"{self._named(stage, number)} done")
        return True

    def _rank(self, stage: Stage, key: str) -> tuple[bool, float]:
        """Return the place of a case in a pair, so that a budget cuts off what matters least."""
        if stage == "first":
            return not self._is_whole(key), 0.0
        chosen = {one.phase for one in self._chosen if one.key == key}
        slower = [
            statistics.median(values)
            for phase in chosen
            if (values := self.seen.values(key, "first", phase)[0])
        ]
        return not self._is_whole(key), -max(slower, default=0.0)

    def _find_static_metrics(self, workers: Workers) -> bool:
        """Find missing static metrics of cases that ran.  False: the budget is spent."""
        for key in self._without_static_metrics():
            if self._deadline.spent:
                return False
            for found in workers.static_metrics(key):
                self.journal.append_line(to_line(found))
                self.seen.add(found)
                if found.invalid:
                    self.tell(f"{self._name(key)}, side {found.side}: invalid: {found.invalid}")
        return True

    def _without_static_metrics(self) -> list[str]:
        """Return the cases that ran and whose static metrics are missing for a side."""
        return [
            key
            for key in self.cases
            if not {(key, "A"), (key, "B")} <= self.seen.static_metrics.keys()
            and (self.seen.of(key, "first") or self.seen.of(key, "fresh"))
            and not self.given_up(key)
        ]

    def _compare(self, workers: Workers, key: str, *, null: bool) -> None:
        """Measure a case; it is repeated while other work disturbs it, and the best try counts."""
        pair, _ = self._repeats.least_disturbed(lambda: workers.compare(key, null=null))
        self.journal.append_line(to_line(pair))
        self.seen.add(pair)
        for side, why in pair.failed.items():
            self.tell(f"{self._name(pair.key)}, side {side}: {why}")

    def _name(self, key: str) -> str:
        return self.names.get(key, key)

    def adds(self, phase: PhaseKey, pairs: int, suspects: Sequence[PhaseKey]) -> bool:
        """Return whether a resume with `pairs` fresh pairs adds one that decides about a phase.

        suspects: the suspects so far; first pairs that a resume adds may choose others.
        """
        key = phase.key
        stage: Stage = "fresh" if phase in suspects else "first"
        most = pairs if stage == "fresh" else first_pairs(pairs)
        numbers = {one.number for one in self.seen.tried(key, stage)}
        instead = [
            INSTEAD + one.number
            for one in self.seen.tried(key, stage)
            if one.failed and one.number < min(most, INSTEAD)
        ]
        # The next pair is enough: a look that ended the case is a look of every larger plan.
        following = next(number for number in itertools.count() if number not in numbers)
        return any(
            self._wanted(stage, number, key, suspects)
            for number in (*instead, *([following] if following < most else []))
        )

    def _wanted(
        self, stage: Stage, number: int, key: str, suspects: Sequence[PhaseKey] | None = None
    ) -> bool:
        """Return whether a pair of a case is still to be measured.

        suspects: phases that are measured again; None: those of this run.
        """
        if (stage, number, key, False) in self.seen.pairs or self.given_up(key):
            return False
        if number >= INSTEAD:  # it replaces a pair that failed
            return True
        chosen: Sequence[PhaseKey] = ()
        if stage == "fresh":
            chosen = self._chosen if suspects is None else suspects
        phases = [
            one for one in self.values([key], again=chosen) if stage == "first" or one.key in chosen
        ]
        if stage == "fresh":  # the verdict uses the larger of threshold and bias as well
            phases = [self._with_bias(one) for one in phases]
        return not paired_test.settled(phases, stage, number, self.threshold, len(chosen))

    def _with_bias(self, case: paired_test.PairedPhase) -> paired_test.PairedPhase:
        own = self.threshold if case.threshold is None else case.threshold
        return dataclasses.replace(case, threshold=max(own, self.bias))

    def _wants_null(self, stage: Stage, number: int, keys: Sequence[str]) -> bool:
        """Return whether the null case is to be measured; it never needs a pair of its own."""
        known = any(at[:2] == (stage, number) and at[3] for at in self.seen.pairs)
        return not known and any(
            (stage, number, key, False) in self.seen.pairs or self._wanted(stage, number, key)
            for key in keys
        )

    def given_up(self, key: str) -> bool:
        """Return whether a case fails too often, or its result is wrong."""
        failures = [{why.status for why in one.failed.values()} for one in self.seen.failures(key)]
        return bool(self.wrong(key)) or policy.given_up(failures, FINAL)

    def wrong(self, key: str) -> dict[str, str]:
        """Return, by side, the reason why its result is wrong."""
        static_metrics = {side: self.seen.static_metrics.get((key, side)) for side in ("A", "B")}
        return {side: one.invalid for side, one in static_metrics.items() if one and one.invalid}

    def null_key(self) -> str | None:
        """Return the null case: the network with the shortest call in the first pairs of A.

        It is chosen a single time.  None if no case has run yet.
        """
        chosen = [one.key for one in self.seen.pairs.values() if one.null]
        if chosen:
            return chosen[0]
        wholes = [key for key in self.cases if self._is_whole(key)]
        known = {
            key: self.seen.call_s(key, whole_phase(self.cases[key].mode))
            for key in wholes or self.cases
            if self.seen.of(key, "first")
        }
        return min(known, key=lambda key: known[key], default=None)

    def _out_of_budget(self, stage: Stage, number: int) -> bool:
        self.tell(self._deadline.said(self._named(stage, number)))
        return False

    def _named(self, stage: Stage, number: int) -> str:
        again = "" if number < INSTEAD else ", replaces one that failed"
        return f"pair {number % INSTEAD + 1} of {self._most(stage)} ({stage}{again})"

    def suspects(self) -> tuple[PhaseKey, ...]:
        """Return the phases that may have become slower, by the first pairs so far."""
        found = paired_test.suspects(self.values(self.cases), max(self.threshold, self.bias))
        return cast("tuple[PhaseKey, ...]", found)  # `values` made the keys

    def values(
        self, keys: Sequence[str] | Mapping[str, Case], *, again: Sequence[PhaseKey] | None = None
    ) -> list[paired_test.PairedPhase]:
        return values(self.seen, keys, again=again, thresholds=self.thresholds)


def values(
    seen: PairsSoFar,
    keys: Sequence[str] | Mapping[str, Case],
    *,
    null: bool = False,
    again: Sequence[PhaseKey] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> list[paired_test.PairedPhase]:
    """Return the values of all pairs by phase, for the decision.

    again: phases whose fresh pairs decide; None: only the first pairs are used.
    """
    found = []
    for key in keys:
        phases = dict.fromkeys(
            phase for one in seen.of(key, "first", null=null) for phase in one.samples
        )
        for phase in phases:
            name = PhaseKey(key, phase)
            chosen = again is not None and (null or name in again)
            first, first_means = seen.values(key, "first", phase, null=null)
            fresh, fresh_means = seen.values(key, "fresh", phase, null=null) if chosen else ([], [])
            found.append(
                paired_test.PairedPhase(
                    key=name,
                    first=tuple(first),
                    fresh=tuple(fresh),
                    first_means=tuple(first_means),
                    fresh_means=tuple(fresh_means),
                    threshold=(thresholds or {}).get(key),
                )
            )
    return found
