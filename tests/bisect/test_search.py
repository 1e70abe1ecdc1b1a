"""The search on simulated commits, whose answer is known."""

import math
import random
from dataclasses import dataclass, field

import pytest

from bench.bisect.posterior import Suspects
from bench.bisect.search import (
    Answer,
    CannotRunError,
    OutOfBudgetError,
    Search,
    UnconfirmedError,
)


@dataclass
class Simulated:
    """Commits of which number `culprit` has the effect; pairs scatter by `sd`."""

    culprit: int
    effect: float
    sd: float
    draw: random.Random
    broken: frozenset[int] = frozenset()
    most: int = 10_000
    same: bool = False  # no commit differs from the one before it
    unsure: str = ""  # why the comparison decides nothing
    asked: list[int] = field(default_factory=list)
    compared: list[Suspects] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)

    def pair(self, commit: int) -> float:
        if commit in self.broken:
            raise CannotRunError("it does not import")
        if len(self.asked) >= self.most:
            raise OutOfBudgetError
        self.asked.append(commit)
        return self.draw.gauss(0, self.sd) + (self.effect if commit >= self.culprit else 0.0)

    def differs(self, suspects: Suspects, change: float) -> bool:
        assert (change > 0) is (self.effect > 0)
        self.changes.append(change)
        self.compared.append(suspects)
        if self.unsure:
            raise UnconfirmedError(self.unsure)
        return not self.same and suspects.first <= self.culprit <= suspects.last


def searched(
    commits: int, culprit: int, seed: int, **more: float
) -> tuple[Search, Simulated, Answer]:
    settings = {"effect": math.log(1.08), "sd": 0.02, **more}
    world = Simulated(culprit, settings["effect"], settings["sd"], random.Random(seed))
    search = Search([1.0] * commits, world)
    return search, world, search.run()


@pytest.mark.parametrize("effect", [math.log(1.08), -math.log(1.08)])
def test_eight_percent_among_64_commits_is_found_by_few_pairs(effect: float) -> None:
    right, pairs = 0, []
    for seed in range(40):
        culprit = random.Random(seed + 100).randint(1, 64)
        search, world, answer = searched(64, culprit, seed, effect=effect)
        found = search.suspects()
        right += answer is Answer.FOUND and found.first == found.last == culprit
        pairs.append(len(world.asked))
    assert right == 40
    assert sorted(pairs)[37] <= 30


def test_no_difference_is_no_search() -> None:
    found = [searched(16, 4, seed, effect=0.0) for seed in range(20)]
    assert [answer for _, _, answer in found].count(Answer.NO_EFFECT) >= 18
    search, world, _ = found[0]
    assert set(world.asked) == {16}
    assert search.pairs == 0


def test_a_commit_that_cannot_run_is_asked_once_and_stays_suspect() -> None:
    draw = random.Random(1)
    world = Simulated(10, 0.1, 0.01, draw, broken=frozenset({9, 10}))
    search = Search([1.0] * 20, world)
    assert search.run() is Answer.FOUND
    found = search.suspects()
    assert (found.first, found.last) == (9, 11)
    assert set(search.broken) <= {9, 10}
    assert world.compared == [found]


def test_bad_itself_must_run() -> None:
    world = Simulated(2, 0.1, 0.01, random.Random(1), broken=frozenset({4}))
    with pytest.raises(CannotRunError):
        Search([1.0] * 4, world).run()


def test_an_answer_that_the_comparison_refutes_is_not_given() -> None:
    world = Simulated(5, 0.1, 0.01, random.Random(1))
    world.same = True
    search = Search([1.0] * 8, world)
    assert search.run() is Answer.UNDECIDED
    assert search.refuted[0] == world.compared[0]
    assert search.refuted[0].first == 5


def test_a_comparison_that_decides_nothing_ends_the_search_and_blames_or_clears_nobody() -> None:
    world = Simulated(5, 0.1, 0.01, random.Random(1), unsure="UNTRUSTED: it is too noisy")
    search = Search([1.0] * 8, world)
    assert search.run() is Answer.UNDECIDED
    assert search.unconfirmed == "UNTRUSTED: it is too noisy"
    assert (len(world.compared), search.refuted) == (1, [])
    assert search.suspects().share > 0.95


@pytest.mark.parametrize("effect", [math.log(1.04), -math.log(1.04)])
def test_the_comparison_knows_the_size_of_the_change(effect: float) -> None:
    _, world, answer = searched(16, 9, 2, effect=effect, sd=0.005)
    assert answer is Answer.FOUND
    assert world.changes == [pytest.approx(effect, abs=0.01)]


def test_a_spent_budget_leaves_what_is_known() -> None:
    world = Simulated(5, 0.1, 0.01, random.Random(1), most=8)
    search = Search([1.0] * 64, world)
    assert search.run() is Answer.UNDECIDED
    assert search.pairs == 2
    assert sum(search.shares()) == pytest.approx(1.0)


def test_the_search_ends_after_its_pairs() -> None:
    world = Simulated(5, 0.01, 0.004, random.Random(4))
    search = Search([1.0] * 64, world, most_pairs=3)
    assert search.run() is Answer.UNDECIDED
    assert search.pairs == 3


def test_files_that_the_subject_imports_count_more() -> None:
    world = Simulated(3, 0.1, 0.01, random.Random(1))
    search = Search([1.0, 1.0, 10.0, 1.0, 1.0, 1.0], world)
    assert search.run() is Answer.FOUND
    assert world.asked[6] in (2, 3)  # after six pairs of BAD
