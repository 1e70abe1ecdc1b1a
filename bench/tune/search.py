"""The search: screen, check, race, choose.  It measures through a `Lab` and knows no processes.

Order of the work, so that a budget cuts what matters least:

1. throughput only: double the batch size of the plain setting until memory ends or it gets slower;
2. one round of the settings that need no search and no compiler; those far behind are dropped;
3. the float64 check of those left, and their memory; wrong ones are refused;
4. cuDNN's search for algorithms on the best of them;
5. the compiler's modes on the best of all;
6. rounds of all that may still be the best, until one is left or their times agree within ENOUGH.
"""

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.compare.groups import label
from bench.core import units
from bench.core.records import Case, Failure, Measurement, Outcome
from bench.core.text import number_of
from bench.engine.policy import Deadline
from bench.tune import objectives, race
from bench.tune.confirm import Confirmation
from bench.tune.objectives import COUNTED, Objective
from bench.tune.space import Space, changed, with_search, without_search
from bench.tune.static import Static, refused

NEAR = 0.02  # two settings within this share of each other are the same to a user
# The race ends when the intervals of all that are left are within ENOUGH of the leader.  Both were
# chosen on the rounds of `python -m experiments.tune_proof`: more rounds take longer and choose no
# better, and neither does the compiler on more than one setting.
ENOUGH = 0.04
MOST_ROUNDS = 6
MOST_COMPILED_ON = 3  # settings on which the compiler is tried, until it works
MOST_SEARCHED_ON = 2  # settings on which cuDNN's search is tried
# Of the time that is left: without the checks after it nothing but plain can win.
FIRST_ROUND_SHARE = 0.5
MOST_DOUBLINGS = 12
FALLS = 2  # batch sizes in a row that are slower than the best one


class Lab(Protocol):
    """Measures the cases that the search chooses."""

    def round(
        self, number: int, cases: Sequence[Case], until: Deadline
    ) -> Generator[Outcome, None, None]:
        """Measure each case once in fresh processes, in a random order.

        After the deadline the first case alone is measured.
        """

    def statics(self, cases: Sequence[Case]) -> Generator[Static, None, None]:
        """Check each case against float64 and count its memory, when it is asked for the next."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A candidate that may not win, and why."""

    case: Case
    reason: str


@dataclass(kw_only=True)
class Search:
    """One search.  `run` returns what it found; an interrupt keeps what was measured."""

    space_at: Callable[[int], Space]  # by batch size
    batch: int
    objective: Objective
    lab: Lab
    budget_s: float | None
    tell: Callable[[str], None]
    max_error: float | None = None
    max_memory: float | None = None
    clock: Callable[[], float] = time.monotonic
    plain: Case | None = None
    cases: dict[str, Case] = field(default_factory=dict)
    costs: dict[str, dict[int, float]] = field(default_factory=dict)
    statics: dict[str, Static] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)
    rounds: int = 0
    complete: bool = False
    plain_refused: Refused | None = None  # why plain may not win; it stays the baseline
    _case_s: float = 0.0  # that a case took in the last round
    _rounds_before: int = 0  # of the search for the batch size

    def run(self) -> None:
        """Search until the end or the budget.  KeyboardInterrupt passes through."""
        self._deadline = Deadline.begun(self.budget_s, self.clock)
        batch = self._best_batch() if self.objective == "throughput" else self.batch
        space = self.space_at(batch)
        self.plain = space.plain
        self._round([space.plain, *(case for case in space.eager if case != space.plain)])
        self._check(self._may_win())
        if space.cudnn and not self._deadline.spent:
            self._search_algorithms(space)
        if not self._deadline.spent:
            self._compile(space)
        self._measure_missing()
        if self.objective in COUNTED:
            self.complete = not (self._deadline.spent or self.missing())
            return
        while self._any_left() and not self._deadline.spent and self.rounds < MOST_ROUNDS:
            found = self.race()
            # One measurement says nothing of the spread.
            known = self.rounds >= race.LEAST_ROUNDS and len(self.costs[found.leader]) > 1
            if known and (len(found.left) == 1 or found.widest < ENOUGH):
                self.complete = not self.missing()
                return
            cases = self._with_plain([self.cases[key] for key in found.left])
            if not self._fits(len(cases)):
                return
            self._round(cases)
            self._check(self.left())
        self.complete = self.rounds >= MOST_ROUNDS and not self.missing()

    def race(self) -> race.Race:
        """Return the standing of all candidates that are right, and of the plain setting.

        Raises ValueError where none was measured.
        """
        known = {key: costs for key, costs in self.costs.items() if key not in self.refused}
        return race.standing(known, self.plain.case_id if self.plain else None)

    def missing(self) -> list[Case]:
        """Return the settings that were to be measured, and were not before the budget ended."""
        known = self.costs.keys() | self.refused.keys()
        return [case for case in self.cases.values() if case.case_id not in known]

    def _measure_missing(self) -> None:
        """Measure what the first rounds could not, if the budget has time left for it."""
        cases = self._with_plain([*self.left(), *self.missing()])
        if self.missing() and self._fits(len(cases)) and not self._deadline.spent:
            self._round(cases)
            self._check(self._may_win())

    def left(self) -> list[Case]:
        """Return the candidates that may still be the best, the leader first."""
        return [self.cases[key] for key in self.race().left] if self._any_left() else []

    def can_answer(self) -> bool:
        """Return whether a setting was measured that may win."""
        return bool(self._ranked())

    def unchecked(self) -> int:
        """Return how many settings look faster than the winner but were not checked in float64."""
        if self.objective in COUNTED or not self.can_answer():
            return 0
        winner_s = self.time_s(self.winner()[0])
        waiting = [self.cases[key] for key in self.costs if key not in self.refused]
        return sum(
            case.case_id not in self.statics and self.time_s(case) < winner_s for case in waiting
        )

    def _may_win(self) -> list[Case]:
        """Return the candidates that may still win; for a counted objective, all of them."""
        if self.objective in COUNTED:
            return [self.cases[key] for key in self.costs if key not in self.refused]
        return self.left()

    def _any_left(self) -> bool:
        return any(key not in self.refused for key in self.costs)

    def _with_plain(self, cases: Sequence[Case]) -> list[Case]:
        """Put the plain setting first: every round needs it, since speedups are relative to it."""
        plain = self.plain
        assert plain is not None
        others = [case for case in cases if case != plain]
        return others if plain.case_id in self.refused else [plain, *others]

    def _round(self, cases: Sequence[Case]) -> None:
        """Measure a round; its outcomes are known one by one, so that an interrupt keeps them."""
        number, self.rounds = self.rounds, self.rounds + 1
        for case in cases:
            self.cases.setdefault(case.case_id, case)
        until = self._deadline
        if not number and until.left_s is not None:
            share_s = until.elapsed_s + FIRST_ROUND_SHARE * until.left_s
            until = dataclasses.replace(until, budget_s=share_s)
        racing = {case.case_id for case in self.left()} if number else set[str]()
        new = [case.case_id for case in cases if case.case_id not in self.costs]
        start_s, answered = self._deadline.elapsed_s, set[str]()
        try:
            with contextlib.closing(
                self.lab.round(self._rounds_before + number, cases, until)
            ) as found:
                for outcome in found:
                    key = outcome.case.case_id
                    answered.add(key)
                    self._add(number, key, outcome)
                    if key in new:
                        self.tell(f"  {len(answered)} of {len(cases)}: {self._told(key, outcome)}")
        finally:
            if racing - answered:  # a part of the race says nothing of the others
                self._forget(number)
        self._case_s = (self._deadline.elapsed_s - start_s) / max(1, len(answered))
        if racing - answered:
            self.rounds = number
            self.tell(f"the budget ended in round {number + 1}, which does not count")
            return
        if self._any_left():
            names = len(self.race().left)
            self.tell(
                f"round {number + 1}: {number_of(len(answered), 'setting')} measured; "
                f"{names} may be the best" + ("" if names > 1 else ": the leader alone")
            )
        if missing := len(cases) - len(answered):
            self.tell(f"{number_of(missing, 'setting')} had to wait: the time of the round ended")

    def _forget(self, number: int) -> None:
        """Drop the times of a round."""
        for costs in self.costs.values():
            costs.pop(number, None)
        self.costs = {key: costs for key, costs in self.costs.items() if costs}

    def _told(self, key: str, outcome: Outcome) -> str:
        """Return the name and the time of a setting in the round that ran last."""
        assert self.plain is not None
        name = label(changed(outcome.case, self.plain))
        if isinstance(outcome, Failure):
            return f"{name}: {outcome.told}"
        time_s = self.costs[key][max(self.costs[key])]
        return f"{name}: {units.seconds(time_s)}"

    def _fits(self, cases: int) -> bool:
        """Return whether a round of this many cases will probably end within the budget."""
        left_s = self._deadline.left_s
        return left_s is None or cases * self._case_s <= left_s

    def _add(self, number: int, key: str, outcome: Outcome) -> None:
        case = self.cases[key]
        if isinstance(outcome, Failure):
            self.refused[key] = Refused(case, f"{outcome.status}: {outcome.reason}")
            self.costs.pop(key, None)
            return
        assert isinstance(outcome, Measurement)
        self.costs.setdefault(key, {})[number] = objectives.time_s(outcome, self.objective)

    def _check(self, cases: Sequence[Case]) -> None:
        """Check unchecked candidates against float64, plain first, then the best.

        When one is refused, another leads, so that more may be left.
        """
        waiting = [case for case in cases if case.case_id not in self.statics]
        plain = self.plain
        if plain is not None and plain.case_id in self.costs and plain not in waiting:
            waiting = [*([plain] if plain.case_id not in self.statics else []), *waiting]
        if not waiting or self._deadline.spent:
            return
        with contextlib.closing(self.lab.statics(waiting)) as found:
            for case, static in zip(waiting, found, strict=False):
                self._keep(case, static)
                if self._deadline.spent:
                    return
        if any(case.case_id not in self.statics for case in self._may_win()):
            self._check(self._may_win())

    def _keep(self, case: Case, static: Static) -> None:
        self.statics[case.case_id] = static
        why = refused(static, self.max_error, self.max_memory) or self._unlike_plain(static)
        if why is None:
            return
        self.tell(f"{case.case_id} is refused: {why}")
        if case == self.plain and not static.wrong:
            self.plain_refused = Refused(case, why)
        else:
            self.refused[case.case_id] = Refused(case, why)

    def _unlike_plain(self, static: Static) -> str | None:
        """Return why a candidate is refused that cannot be checked although plain could."""
        plain = self.statics.get(self.plain.case_id) if self.plain is not None else None
        if static.doubt is None or plain is None or plain.doubt is not None:
            return None
        return f"its result could not be checked, and that of plain could: {static.doubt}"

    def _search_algorithms(self, space: Space) -> None:
        """Measure one round of cuDNN's search on the best settings.

        The search takes long in each process, and gains about the same on all settings.
        """
        eager = [case for case in self._may_win() if case in space.eager]
        best = self._best(eager)[:MOST_SEARCHED_ON]
        searched = [with_search(case) for case in best]
        if not searched:
            return
        self.tell("cuDNN will search for its fastest algorithms, which takes longer")
        self._round(self._with_plain([*self.left(), *searched]))
        self._check(self._may_win())

    def _without_search(self, case: Case) -> Case:
        """Return the same setting without cuDNN's search if it is as fast to a user."""
        assert self.plain is not None
        twin = without_search(case, self.plain)
        if twin.case_id not in self.costs or twin.case_id in self.refused:
            return case
        return twin if self.time_s(twin) < self.time_s(case) * (1 + NEAR) else case

    def _best(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases that are measured and not refused, the best first."""
        known = [one for one in cases if one.case_id in self.costs]
        return sorted((one for one in known if one.case_id not in self.refused), key=self._order)

    def _compile(self, space: Space) -> None:
        """Measure one round of the compile modes on the best eager setting.

        Where no mode works on it, the next best one is tried.
        """
        if not space.compiled or not self._any_left():
            return
        # Numbers of threads do not need the compiler to be told apart.
        chosen: dict[tuple[str, ...], Case] = {}
        for case in self._best(list(self.cases.values())):
            chosen.setdefault(
                (case.dtype, case.amp, case.memory_format), self._without_search(case)
            )
        for case in list(chosen.values())[:MOST_COMPILED_ON]:
            compiled = [dataclasses.replace(case, compile=mode) for mode in space.compiled]
            self.tell(f"{number_of(len(compiled), 'setting')} will be compiled, which takes longer")
            self._round(self._with_plain([*self.left(), *compiled]))
            self._check(self._may_win())
            known = self.costs.keys() - self.refused.keys()
            if self._deadline.spent or any(one.case_id in known for one in compiled):
                return

    def _order(self, case: Case) -> tuple[float, float]:
        """Return the sort key: the counted figure if there is one, then the time."""
        counted = self.objective in COUNTED and case.case_id in self.statics
        figure = objectives.counted(self.statics[case.case_id], self.objective) if counted else None
        return (float("inf") if figure is None else figure), self.time_s(case)

    def _best_batch(self) -> int:
        """Double the batch size while images per second rise; return the best size.

        Each size is measured beside the best one so far, in the same round.
        """
        best, falls, batch = self.space_at(self.batch).plain, 0, self.batch
        why = f"{MOST_DOUBLINGS} doublings were tried"
        for _ in range(MOST_DOUBLINGS):
            batch *= 2
            larger = self.space_at(batch).plain
            if larger.batch != batch:
                why = "the inputs of the network have the same sizes for every batch"
                break
            found = list(self.lab.round(self._rounds_before, [best, larger], self._deadline))
            self._rounds_before += 1
            costs_s = {
                one.case.case_id: objectives.time_s(one, self.objective)
                for one in found
                if isinstance(one, Measurement)
            }
            if larger.case_id not in costs_s or best.case_id not in costs_s:
                failed = [one.told for one in found if isinstance(one, Failure)]
                why = f"N={batch} failed: {'; '.join(failed)}" if failed else "the budget ended"
                break
            gain = costs_s[best.case_id] / costs_s[larger.case_id]
            shown = units.count(1 / costs_s[larger.case_id], "images/s")
            self.tell(f"N={batch}: {shown}, {gain:.2f} times that of N={best.batch}")
            falls = 0 if gain > 1 + NEAR else falls + 1
            best = larger if gain > 1 + NEAR else best
            if falls >= FALLS:
                why = "no larger batch size has more images per second"
                break
            if self._deadline.spent:
                why = "the budget ended"
                break
        self.tell(f"N={best.batch} is used: {why}")
        return best.batch

    def winner(self) -> tuple[Case, Case | None]:
        """Return the setting to use, the simplest of equal ones, and the best of the others.

        Raises ValueError where no setting is right.
        """
        ranked = self._ranked()
        if not ranked:
            raise ValueError("no setting gave a right result")
        first = ranked[0]
        plain = self.plain
        assert plain is not None
        equal = [first]
        if self.objective in COUNTED:
            bound = self._figure(first) * (1 + NEAR)
            equal += [case for case in ranked[1:] if self._figure(case) <= bound]
        else:
            left = set(self.race().left)
            by_key = {one.key: one for one in self.race().standings}
            equal += [
                case
                for case in ranked[1:]
                if case.case_id in left and by_key[case.case_id].ratio < 1 + NEAR
            ]
        best = min(equal, key=lambda case: self._simplicity(case, plain))
        others = [case for case in ranked if case != best]
        return best, others[0] if others else None

    def comparisons(self) -> dict[str, tuple[Case, Case]]:
        """Return the pairs (a, b) that confirm the winner b, by name; none where plain wins.

        The second best is compared only while the race has not told it from the winner: another
        comparison would cost as much as the search and change nothing.
        """
        winner, second = self.winner()
        plain = self.plain
        assert plain is not None
        found: dict[str, tuple[Case, Case]] = {}
        if winner != plain and plain.case_id not in self.refused:
            found["plain"] = plain, winner
        if second is not None and second != plain and second in self.left():
            found["second"] = second, winner
        return found

    def answer(self, pairs: Confirmation) -> tuple[Case, Case | None, Confirmation]:
        """Return the setting to use, the best of the others, and the pairs from its side.

        pairs: fresh ones of `comparisons`.
        """
        winner, second = self.winner()
        assert self.plain is not None
        if second is None or self.objective in COUNTED:
            return winner, second, pairs
        simpler = self._simplicity(second, self.plain) < self._simplicity(winner, self.plain)
        exchanged = pairs.of_second(NEAR, simpler=simpler)
        return (second, winner, exchanged) if exchanged else (winner, second, pairs)

    def _ranked(self) -> list[Case]:
        """Return the candidates with a right result and a known figure, the best first."""
        barred = self.plain if self.plain_refused else None
        right = [
            self.cases[key]
            for key in self.costs
            if key not in self.refused and self.cases[key] != barred
        ]
        if self.objective in COUNTED:
            known = [
                case
                for case in right
                if case.case_id in self.statics
                and objectives.counted(self.statics[case.case_id], self.objective) is not None
            ]
            return sorted(known, key=lambda case: (self._figure(case), self.time_s(case)))
        if not right:
            return []
        order = {key: place for place, key in enumerate(self.race().left)}
        checked = [case for case in right if case.case_id in self.statics or case == self.plain]
        return sorted(
            checked,
            key=lambda case: (order.get(case.case_id, len(order)), self.time_s(case)),
        )

    def _figure(self, case: Case) -> float:
        found = objectives.counted(self.statics[case.case_id], self.objective)
        assert found is not None
        return found

    def time_s(self, case: Case) -> float:
        """Return the seconds of a setting, from its ratio to plain in the rounds that both have.

        Settings have different rounds, and rounds differ: a mean of its own would mix the two.
        """
        own = self.costs[case.case_id]
        plain = self.costs.get(self.plain.case_id, {}) if self.plain else {}
        shared = [number for number in own if number in plain]
        if not shared:
            return objectives.centre_of(own)
        ratio = statistics.fmean(math.log(own[number] / plain[number]) for number in shared)
        return objectives.centre_of(plain) * math.exp(ratio)

    def _simplicity(self, case: Case, plain: Case) -> tuple[int, int, float]:
        """Return the sort key of simplicity: fewer changes, no compiler, a smaller error."""
        settings = changed(case, plain)
        static = self.statics.get(case.case_id)
        error = static.error if static and static.error is not None else float("inf")
        return len(settings), int(case.compile != "off"), error
