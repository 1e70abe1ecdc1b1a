"""The past commits that a backfill measures, and those that it skips."""

from pathlib import Path

import pytest

from bench.history import past
from bench.history.commits import Commit
from bench.history.past import PastError, Shelf
from tests.support.cases import PLAIN, case
from tests.support.history import line_of, write_run

COMMITS = line_of(10).commits


@pytest.mark.parametrize(
    ("given", "ends"),
    [("v1..v2", ("v1", "v2")), ("v1..", ("v1", "HEAD")), ("HEAD~3..HEAD", ("HEAD~3", "HEAD"))],
)
def test_a_range_has_two_ends(given: str, ends: tuple[str, str]) -> None:
    assert past.ends(given) == ends


@pytest.mark.parametrize("given", ["HEAD", "..HEAD", "a...b", ""])
def test_another_text_is_not_a_range(given: str) -> None:
    with pytest.raises(PastError, match="is not a range of commits"):
        past.ends(given)


def test_the_newest_commit_comes_first_and_every_third_is_measured() -> None:
    found = past.chosen(COMMITS, 3)
    assert [one.subject for one in found] == ["change 9", "change 6", "change 3", "change 0"]
    with pytest.raises(PastError, match="--every 0"):
        past.chosen(COMMITS, 0)


def shelf(folder: Path) -> Shelf:
    return Shelf(folder / "m1", "cafe")


def test_what_is_measured_or_skipped_is_not_measured_again(tmp_path: Path) -> None:
    own = shelf(tmp_path)
    one, two, three = named = [Commit(f"{number}" * 40) for number in (1, 2, 3)]
    write_run(own.free_path(one), one.sha, {PLAIN: 0.1})
    own.skip(two, "no module named x")
    assert past.left_to_do(named, own, retry=False) == ([three], 1, 1)
    assert past.left_to_do(named, own, retry=True) == ([two, three], 1, 0)
    assert own.skipped() == {two.sha: "no module named x"}


def test_other_cases_are_measured_beside_them(tmp_path: Path) -> None:
    one = Commit("1" * 40)
    write_run(shelf(tmp_path).free_path(one), one.sha, {PLAIN: 0.1})
    other = Shelf(tmp_path / "m1", "beef")
    assert past.left_to_do([one], other, retry=False) == ([one], 0, 0)


def test_a_disturbed_run_is_measured_again_beside_the_first_when_asked(tmp_path: Path) -> None:
    one, own = Commit("1" * 40), shelf(tmp_path)
    first = own.free_path(one)
    write_run(first, one.sha, {PLAIN: 0.1}, rows={"flags": "contended"})
    assert past.left_to_do([one], own, retry=False) == ([], 1, 0)
    assert past.left_to_do([one], own, retry=True) == ([one], 0, 0)
    second = own.free_path(one)
    assert second.name == f"{first.name}-2"
    write_run(second, one.sha, {PLAIN: 0.1})
    assert past.left_to_do([one], own, retry=True) == ([], 1, 0)


def test_one_disturbed_case_is_enough_for_a_run_to_be_measured_again(tmp_path: Path) -> None:
    one, own, other = Commit("1" * 40), shelf(tmp_path), case(batch=32)
    flags = {other: "noisy;contended"}
    write_run(own.free_path(one), one.sha, {PLAIN: 0.1, other: 0.2}, flags=flags)
    assert past.left_to_do([one], own, retry=True) == ([one], 0, 0)


@pytest.mark.parametrize("flag", ["growing", "parallel", "noisy"])
def test_a_flag_that_a_new_run_would_have_as_well_is_no_reason_for_one(
    tmp_path: Path, flag: str
) -> None:
    one, own = Commit("1" * 40), shelf(tmp_path)
    write_run(own.free_path(one), one.sha, {PLAIN: 0.1}, flags={PLAIN: flag})
    assert past.left_to_do([one], own, retry=True) == ([], 1, 0)


def test_a_damaged_list_of_skipped_commits_is_named(tmp_path: Path) -> None:
    own = shelf(tmp_path)
    own.skip(Commit("1" * 40), "why")
    (own.folder / "cafe-skipped.json").write_text("[")
    with pytest.raises(PastError, match=r"cafe-skipped.json: cannot be read"):
        own.skipped()


def test_the_digest_follows_what_is_measured() -> None:
    assert past.digest_of({"a": 1, "b": 2}) == past.digest_of({"b": 2, "a": 1})
    assert past.digest_of({"a": 1}) != past.digest_of({"a": 2})
