"""Measures pairs of GOOD and a commit in fresh processes; each revision has its own worktree."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.ab import ab_plan, variants
from bench.ab.ab_plan import AbError, Asked, Look, Planned
from bench.ab.pair_journal import Pair
from bench.ab.scheduler import repeats
from bench.ab.variants import Side, SideError
from bench.ab.workers import PairWorkers
from bench.bisect.commits import Commit
from bench.bisect.search import CannotRunError, OutOfBudgetError
from bench.core.records import Case
from bench.engine import policy
from bench.engine.fork_server import StartError
from bench.engine.workers import Experience
from bench.verdict.paired_test import pair_value

TRIES = 2  # a commit whose pairs fail so often cannot be measured


@dataclass
class Place:
    """A commit with its worktree and its case.  case: None if it cannot be measured."""

    side: Side
    case: Case | None = None
    why: str = ""  # the reason, if there is no case


@dataclass(kw_only=True)
class Pairs:
    """The pairs of GOOD and other commits.

    planned: of GOOD and BAD; its `sides` are open.
    key, phase: the case and the phase whose time is compared.
    """

    planned: Planned
    asked: Asked
    key: str
    phase: str
    directory: Path
    folder: Path  # where the command started
    scratch: Path  # for worktrees
    deadline: policy.Deadline
    tell: Callable[[str], None]
    known: Look  # what the probe found in GOOD
    _places: dict[str, Place] = field(default_factory=dict)
    _experience: Experience = field(init=False)
    _repeats: policy.RepeatPolicy[Pair] = field(init=False)

    def __post_init__(self) -> None:
        self._experience = Experience(tell=self.tell)
        self._repeats = repeats(self.deadline)
        bad = self.planned.sides[1]
        assert bad.commit is not None
        self._places[bad.commit] = Place(bad, self.planned.cases[self.key]["B"])

    def pair(self, commit: Commit, number: int) -> tuple[Pair, float]:
        """Measure a pair; return it, and log(commit / GOOD) of the phase.

        Raises CannotRunError if the commit cannot be measured, OutOfBudgetError.
        """
        if self.deadline.spent:
            raise OutOfBudgetError
        place = self._place(commit)
        if place.case is None:
            raise CannotRunError(place.why)
        for _ in range(TRIES):
            pair = self._measured(place, number)
            if "A" in pair.failed and "B" not in pair.failed:
                raise AbError(f"GOOD cannot be measured: {pair.failed['A']}")
            if not pair.failed:
                return pair, self._value(pair)
        place.case, place.why = None, str(pair.failed["B"])
        raise CannotRunError(place.why)

    def _value(self, pair: Pair) -> float:
        value = pair_value(*pair.samples.get(self.phase, ((), ())))
        if value is None:
            raise CannotRunError(f"phase {self.phase} has no times")
        return value

    def _measured(self, place: Place, number: int) -> Pair:
        good = self.planned.sides[0]
        case = place.case
        assert case is not None
        cases = {self.key: {"A": self.planned.cases[self.key]["A"], "B": case}}

        def attempt() -> Pair:
            workers = PairWorkers(
                sides={"A": good, "B": place.side},
                cases=cases,
                run=self.planned.run,
                directory=self.directory,
                stage="fresh",
                number=number,
                experience=self._experience,
                null=False,
            )
            with workers.open():
                return workers.compare(self.key, null=False)

        try:
            return self._repeats.least_disturbed(attempt)[0]
        except (SideError, StartError) as error:
            place.case, place.why = None, str(error)
            raise CannotRunError(place.why) from None

    def _place(self, commit: Commit) -> Place:
        """Return the worktree and the case of a commit; both are made once."""
        if commit.sha not in self._places:
            self._places[commit.sha] = self._opened(commit)
        return self._places[commit.sha]

    def _opened(self, commit: Commit) -> Place:
        asked = Side(name="B", asked=commit.short, kind="revision", commit=commit.sha)
        try:
            side = variants.opened_in(asked, self.scratch / commit.short, self.folder)
        except SideError as error:
            return Place(asked, None, str(error))
        try:
            found = ab_plan.make(self.asked, self.planned.sides[0], side, known={"A": self.known})
        except (AbError, SideError) as error:
            return Place(side, None, str(error))
        if self.key not in found.cases:
            return Place(side, None, found.missing.get(self.key, "it has no such case"))
        return Place(side, found.cases[self.key]["B"])
