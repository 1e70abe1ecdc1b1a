"""The first-parent line of real repositories."""

from pathlib import Path

import pytest

from bench.history import commits
from bench.history.commits import CommitsError
from tests.support.git import git, sign_all

pytestmark = pytest.mark.slow


def commit(folder: Path, message: str) -> str:
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def test_a_merged_branch_is_one_commit_of_the_line(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "-b", "main")
    first = commit(tmp_path, "first")
    git(tmp_path, "checkout", "--quiet", "-b", "side")
    aside = commit(tmp_path, "aside")
    git(tmp_path, "checkout", "--quiet", "main")
    second = commit(tmp_path, "second")
    git(tmp_path, "merge", "--quiet", "--no-ff", "-m", "merged", "side")
    line = commits.line(tmp_path)
    assert [one.subject for one in line.commits] == ["first", "second", "merged"]
    assert (line.places[first], line.places[second]) == (0, 1)
    assert aside not in line.places
    assert not line.shallow


def test_a_shallow_clone_says_so(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "--quiet")
    for number in range(3):
        commit(source, str(number))
    git(tmp_path, "clone", "--quiet", "--depth", "1", source.as_uri(), "clone")
    assert commits.line(tmp_path / "clone").shallow


@pytest.mark.parametrize("revision", ["nowhere", "--all", ""])
def test_a_revision_that_is_none_is_refused(tmp_path: Path, revision: str) -> None:
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "first")
    with pytest.raises(CommitsError):
        commits.resolved(tmp_path, revision)


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommitsError, match="not a git repository"):
        commits.line(tmp_path)


def test_signatures_that_the_log_shows_are_no_commits(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "-b", "main")
    sign_all(tmp_path)
    names = [commit(tmp_path, f"{number}") for number in range(3)]
    assert "gpg: Signature made" in git(tmp_path, "log")
    assert [one.sha for one in commits.line(tmp_path).commits] == names


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        ("one\u2028two\x85three\x0cfour", "one two three four"),
        ("with \x1f in it", "with in it"),
        ("", ""),
    ],
)
def test_a_subject_may_have_any_character_or_none(
    tmp_path: Path, message: str, subject: str
) -> None:
    git(tmp_path, "init", "--quiet", "-b", "main")
    first = commit(tmp_path, "first")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", message)
    last = git(tmp_path, "rev-parse", "HEAD")
    found = commits.line(tmp_path).commits
    assert [one.sha for one in found] == [first, last]
    assert found[1].subject == subject
