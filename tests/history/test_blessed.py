"""The file of accepted levels: written by a command, read and edited by people."""

import datetime
from pathlib import Path

import pytest

from bench.history import blessed, commits
from bench.history.blessed import BlessedError, Blessing
from tests.support.git import git

TODAY = datetime.date(2026, 11, 3)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / blessed.FILE
    given = Blessing("convnet:*", "0" * 40, 'it is "right"\nand slower \\ é')
    blessed.add(path, [given], TODAY)
    (found,) = blessed.read(path)
    assert (found.case, found.at, found.why) == (given.case, given.at, given.why)
    assert "when = 2026-11-03\n" in path.read_text(encoding="utf-8")


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / blessed.FILE
    path.write_text('# mine\n[[blessed]]\ncase = "a"\nat = "b"\nwhy = "c" # because\n')
    blessed.add(path, [Blessing("d", "e", "f")], TODAY)
    assert path.read_text().startswith("# mine\n[[blessed]]\n")
    assert "# because" in path.read_text()
    assert [one.case for one in blessed.read(path)] == ["a", "d"]


def test_no_file_is_no_blessing(tmp_path: Path) -> None:
    assert blessed.read(tmp_path / blessed.FILE) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blessed = 3", "blessed is not a list of tables"),
        ("[[blessed]]\ncase = 'a'\nat = 'b'\n", "blessed number 1 has no text for why"),
        ("[[blessed", "is not valid TOML"),
    ],
)
def test_a_damaged_file_is_refused_and_not_written_to(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / blessed.FILE
    path.write_text(text)
    with pytest.raises(BlessedError, match=message):
        blessed.add(path, [Blessing("d", "e", "f")], TODAY)
    assert path.read_text() == text


def test_a_pattern_is_of_the_cases_that_match_it() -> None:
    assert blessed.is_of("convnet:training:*", "convnet:training:b8")
    assert blessed.is_of("m:f(1)[2]", "m:f(1)[2]")
    assert not blessed.is_of("convnet", "convnet:training:b8")


def commit(folder: Path, message: str) -> str:
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "-b", "main")
    commit(tmp_path, "first")
    return tmp_path


@pytest.mark.slow
def test_a_blessing_on_a_branch_begins_at_the_commit_that_merged_it(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "side")
    aside = commit(repository, "aside")
    commit(repository, "more")
    git(repository, "checkout", "--quiet", "main")
    commit(repository, "second")
    git(repository, "merge", "--quiet", "--no-ff", "-m", "merged", "side")
    merged = git(repository, "rev-parse", "HEAD")
    commit(repository, "last")
    given = [Blessing("a", aside, "why")]
    found = blessed.placed(given, repository, commits.line(repository))
    assert found == ([Blessing("a", merged, "why")], [])


@pytest.mark.slow
def test_a_blessing_that_was_written_by_hand_may_name_a_tag_or_a_short_hash(
    repository: Path,
) -> None:
    sha = commit(repository, "second")
    git(repository, "tag", "-a", "v2.1", "-m", "a tag")
    commit(repository, "third")
    given = [Blessing("a", at, "why") for at in ("v2.1", sha[:7], sha)]
    found = blessed.placed(given, repository, commits.line(repository))
    assert found == ([Blessing("a", sha, "why")] * 3, [])


@pytest.mark.slow
def test_a_blessing_that_is_not_used_is_named_with_the_reason(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "side")
    squashed = commit(repository, "aside")
    git(repository, "checkout", "--quiet", "main")
    commit(repository, "the same in one commit")
    given = [Blessing("a", squashed, "why"), Blessing("b:*", "v9", "why")]
    found, (lost, unknown) = blessed.placed(given, repository, commits.line(repository))
    assert found == []
    assert lost == (
        f"the blessing of a at {squashed} is not used: the branch does not contain this commit, "
        "which may have been squashed or rebased; bless the case again at a commit of the branch"
    )
    assert unknown == (
        "the blessing of b:* at v9 is not used: v9: the repository has no such revision"
    )
