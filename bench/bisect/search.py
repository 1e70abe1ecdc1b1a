"""The search: which commit is measured next, and when the answer is certain enough.

First the effect: pairs of GOOD and BAD until their interval excludes "no change".  Then single
pairs of GOOD and the commit that splits the probability in half, until one commit has 95 %.  At the
end, this commit is compared with the one before it.  If they do not differ, the search goes on.
If the comparison decides nothing, the search ends undecided.
"""

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.bisect.posterior import Posterior, Suspects, best, effect_interval, next_commit

ENOUGH = 0.95  # probability at which the search stops
LOOKS = (6, 9, 13, 18)  # numbers of pairs of GOOD and BAD after which the effect is looked at
# For the interval of each look.  A wrong "changed" is found out by the confirmation at the end.
EFFECT_LEVEL = 0.99
LEAST_PAIRS = 2  # of GOOD and BAD, for an interval
MOST_PAIRS = 80  # of the search, without those of the effect
REFUTED = 0.01  # the weight left to a commit that does not differ from the one before it
MOST_REFUTED = 2
AGAIN_COST = 0.97  # a commit that is not set up yet is chosen if it is better by this factor


class Answer(enum.Enum):
    """The outcome of a search."""

    FOUND = "found"
    NO_EFFECT = "GOOD and BAD do not differ"
    UNDECIDED = "not decided"


class CannotRunError(Exception):
    """A commit cannot be measured; the message says why."""


class Measure(Protocol):
    """Measures commits; a number of 1 to n names a commit, n is BAD."""

    def pair(self, commit: int) -> float:
        """Return log(commit / GOOD) of a new pair.  Raises CannotRunError, OutOfBudgetError."""

    def differs(self, suspects: Suspects, change: float) -> bool:
        """Return whether the last suspect made the change, against the commit before the first one.

        change: log(BAD / GOOD), above 0 is slower.

        Raises UnconfirmedError, OutOfBudgetError.
        """


class OutOfBudgetError(Exception):
    """The budget allows no further pair."""


class UnconfirmedError(Exception):
    """The comparison of a suspect decides nothing; the message says why."""


@dataclass
class Search:
    """A search over n commits.

    prior: weights of the commits, the oldest first.
    tell: called with a sentence after each step.
    """

    prior: Sequence[float]
    measure: Measure
    tell: Callable[["Search"], None] = lambda _: None
    most_pairs: int = MOST_PAIRS
    effect_values: list[float] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)  # by commit, the reason
    refuted: list[Suspects] = field(default_factory=list)
    pairs: int = 0  # of the search
    last: tuple[int, float] | None = None  # the last pair: commit and value
    unconfirmed: str = ""  # why the last comparison decided nothing
    posterior: Posterior = field(init=False)

    def __post_init__(self) -> None:
        self.posterior = Posterior(self.prior)

    @property
    def bad(self) -> int:
        return len(self.prior)

    def run(self) -> Answer:
        """Search.  Raises CannotRunError if BAD cannot be measured."""
        try:
            if not self._effect():
                return Answer.NO_EFFECT
            return self._search()
        except OutOfBudgetError:
            return Answer.UNDECIDED
        except UnconfirmedError as error:
            self.unconfirmed = str(error)
            return Answer.UNDECIDED

    def interval(self) -> tuple[float, float]:
        """Return the interval of BAD / GOOD at EFFECT_LEVEL.  It needs LEAST_PAIRS pairs."""
        low, high = effect_interval(self.effect_values, EFFECT_LEVEL)
        return math.exp(low), math.exp(high)

    def shares(self) -> list[float]:
        return self.posterior.shares()

    def suspects(self) -> Suspects:
        return best(self.shares(), self.broken)

    def _effect(self) -> bool:
        """Measure GOOD and BAD; return whether they differ."""
        for look in LOOKS:
            while len(self.effect_values) < look:
                value = self.measure.pair(self.bad)
                self.effect_values.append(value)
                self.last = self.bad, value
                self.tell(self)
            low, high = effect_interval(self.effect_values, EFFECT_LEVEL)
            if low > 0 or high < 0:
                self.posterior = Posterior(self.prior, slower=low > 0)
                for value in self.effect_values:
                    self.posterior.add(self.bad, value)
                return True
        return False

    def _search(self) -> Answer:
        while True:
            suspects = self.suspects()
            if suspects.share >= ENOUGH:
                if self.measure.differs(suspects, self.posterior.change()):
                    return Answer.FOUND
                self.refuted.append(suspects)
                if len(self.refuted) > MOST_REFUTED:
                    return Answer.UNDECIDED
                for commit in range(suspects.first, suspects.last + 1):
                    self.posterior.weigh(commit, REFUTED)
                continue
            following = next_commit(self.shares(), self.broken, self._costs())
            if following is None or self.pairs >= self.most_pairs:
                return Answer.UNDECIDED
            self._pair(following)

    def _pair(self, commit: int) -> None:
        try:
            value = self.measure.pair(commit)
        except CannotRunError as error:
            self.broken[commit] = str(error)
            self.last = None
        else:
            self.pairs += 1
            self.posterior.add(commit, value)
            self.last = commit, value
        self.tell(self)

    def _costs(self) -> dict[int, float]:
        known = {one for one in range(1, self.bad) if self.posterior.pairs(one)}
        return {one: 1.0 if one in known else AGAIN_COST for one in range(1, self.bad)}
