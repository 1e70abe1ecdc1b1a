"""Decide when to measure again and when to stop, for runs and for comparisons of two sides.

Rules on numbers only.  `bench.engine.scheduler` and `bench.ab.scheduler` decide whom to ask and
what to write.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

MOST_FAILURES = 2  # of a case that chance may decide: then it is given up
MOST_REPEATS = 2  # of what other work on the machine disturbed
TRIES = 3  # of what something outside killed: that is no verdict on the case

Found = TypeVar("Found")


def given_up(failures: Sequence[Collection[str]], final: Collection[str]) -> bool:
    """Return whether a case is tried no more.

    failures: the statuses of each time that it failed.  final: statuses that no chance decides.
    """
    decided = any(status in final for one in failures for status in one)
    return decided or len(failures) >= MOST_FAILURES


def tried(ask: Callable[[], Found], killed: Callable[[Found], bool]) -> Found:
    """Return the result of `ask`; ask again if something outside killed it."""
    for _ in range(TRIES - 1):
        found = ask()
        if not killed(found):
            return found
    return ask()


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time that everything together may take; begun when it is made."""

    budget_s: float | None
    clock: Callable[[], float]
    start_s: float

    @classmethod
    def begun(cls, budget_s: float | None, clock: Callable[[], float]) -> "Deadline":
        return cls(budget_s, clock, clock())

    @property
    def elapsed_s(self) -> float:
        return self.clock() - self.start_s

    @property
    def spent(self) -> bool:
        return self.budget_s is not None and self.elapsed_s > self.budget_s

    @property
    def left_s(self) -> float | None:
        """The seconds that are left; None without a budget."""
        return None if self.budget_s is None else max(0.0, self.budget_s - self.elapsed_s)

    def said(self, where: str) -> str:
        """Return the sentence about a spent budget."""
        return f"the budget of {self.budget_s:.0f} s is used up in {where}"


@dataclass(kw_only=True)
class RepeatPolicy(Generic[Found]):
    """Measures again where other work disturbed it; of several the least disturbed counts.

    disturbance: whether, and by how much; the smaller is the better.
    stands:    what no repeat may hide, e.g. a failure.
    fruitless: repeats in a row that were disturbed as well, after which the machine is busy for
               good, and repeats are over until something was undisturbed.
    """

    deadline: Deadline
    contended: Callable[[Found], bool]
    disturbance: Callable[[Found], tuple[bool, float]]
    stands: Callable[[Found], bool]
    fruitless: int
    _in_vain: int = 0

    def least_disturbed(self, measure: Callable[[], Found]) -> tuple[Found, int]:
        """Return the outcome that counts, and how often it was measured again."""
        best = measure()
        repeats = 0
        while self.contended(best) and repeats < MOST_REPEATS and self._may_repeat():
            other = measure()
            repeats += 1
            self._in_vain = self._in_vain + 1 if self.contended(other) else 0
            if self.stands(other):
                return other, repeats
            best = min(best, other, key=self.disturbance)
        if not self.contended(best):
            self._in_vain = 0
        return best, repeats

    def _may_repeat(self) -> bool:
        return self._in_vain < self.fruitless and not self.deadline.spent


@dataclass(kw_only=True)
class Allowance:
    """The share of the time left that extra work, which nobody asked for, may take.

    share: of the time left.  It counts what was taken already, so that the whole of it stays below
           that share of the time that was left at first.  Without a budget: of the time so far.
    """

    deadline: Deadline
    share: float
    taken_s: float = 0.0

    def covers(self, cost_s: float) -> bool:
        """Return whether something that takes so long may be begun."""
        if self.deadline.spent:
            return False
        left_s = self.deadline.left_s
        total_s = self.deadline.elapsed_s if left_s is None else left_s + self.taken_s
        return self.taken_s + cost_s <= self.share * total_s
