"""The sentences and tables of a search."""

import csv
import io
import random
from typing import Any

import pytest

from bench.bisect.commits import Commit
from bench.bisect.report import Found, markdown, progress, table, text_table
from bench.bisect.search import Answer, Search
from tests.bisect.test_search import Simulated

COMMITS = [Commit(f"{n:x}" * 40, f"change | {n}", "2026-01-02") for n in range(1, 9)]


def found(effect: float = 0.1, broken: frozenset[int] = frozenset(), **more: Any) -> Found:
    """more: of the world that is searched."""
    world = Simulated(5, effect, 0.01, random.Random(1), broken=broken, **more)
    search = Search([1.0] * 8, world)
    lines: list[str] = []
    search.tell = lambda now: lines.append(progress(now, COMMITS, len(world.asked)))
    answer = search.run()
    assert all(lines)
    return Found(
        good="a" * 40, bad="8" * 40, case="Net inference N=2", phase="forward", commits=COMMITS,
        answer=answer, search=search, values={8: search.effect_values}, directory="results/x",
        confirmation="results/x/confirm" if world.compared else "",
    )  # fmt: skip


def test_the_headline_names_the_commit_and_the_size() -> None:
    one = found()
    assert one.headline == "555555555 (change | 5) made Net inference N=2 slower, 1.11×"
    text = "\n".join(one.sentences())
    assert "times the time of GOOD (99 % interval over 6 pairs, phase forward)" in text
    assert "confirms the change: results/x/confirm." in text


def test_commits_that_no_pair_can_tell_apart_are_named_together() -> None:
    one = found(broken=frozenset({5}))
    assert one.headline.startswith("One of 2 commits, 555555555 to 666666666 (change | 6), made")
    assert "1 commit could not be measured: 555555555: it does not import" in one.sentences()[-1]


def test_a_comparison_that_decides_nothing_is_told_with_its_reason() -> None:
    one = found(unsure="INCONCLUSIVE, +3.1 % in 4 pairs")
    assert one.headline == "The commit that changed Net inference N=2 is not known yet"
    assert one.sentences()[-1] == (
        "The comparison of 555555555 with the commit before it decides nothing "
        "(results/x/confirm): INCONCLUSIVE, +3.1 % in 4 pairs. "
        "To compare again: bench bisect --resume results/x"
    )


@pytest.mark.parametrize(("most", "pairs"), [(0, "0 pairs"), (1, "1 pair")])
def test_a_budget_that_ends_before_two_pairs_is_one_sentence(most: int, pairs: str) -> None:
    one = found(most=most)
    assert one.answer is Answer.UNDECIDED
    assert one.headline == "The commit that changed Net inference N=2 is not known yet"
    (sentence,) = one.sentences()
    assert sentence == (
        f"The budget ended after {pairs} of GOOD and BAD, which say nothing yet. "
        "To go on: bench bisect --resume results/x"
    )
    assert "|" not in markdown(one).replace("&#124;", "")


def test_without_a_difference_nothing_is_blamed() -> None:
    one = found(effect=0.0)
    assert one.headline == (
        "GOOD and BAD do not differ in Net inference N=2: there is nothing to bisect"
    )
    assert len(one.sentences()) == 1
    assert "|" not in markdown(one).replace("&#124;", "")


def test_the_table_has_every_commit_and_markdown_escapes_subjects() -> None:
    one = found()
    shown = "\n".join(line.plain for line in text_table(one).lines(100))
    assert "555555555" in shown
    assert "time / GOOD" in shown
    rows = list(csv.DictReader(io.StringIO(table(one))))
    assert [row["commit"] for row in rows] == [commit.sha for commit in COMMITS]
    assert sum(float(row["probability"]) for row in rows) > 0.999
    assert rows[7]["pairs"] == "6"
    assert "change &#124; 5" in markdown(one)
