"""The commits between two revisions, as a repository has them."""

from pathlib import Path

import pytest

from bench.bisect.commits import BisectError, Commit, between, weights
from tests.support.git import git, sign_all


def commit(folder: Path, name: str, subject: str) -> str:
    (folder / name).write_text(subject)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", subject)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    return tmp_path


@pytest.mark.slow
def test_the_line_of_first_parents_from_the_oldest_with_the_files_of_a_merge(
    repository: Path,
) -> None:
    start = commit(repository, "net.py", "start")
    git(repository, "checkout", "--quiet", "-b", "side")
    commit(repository, "side.py", "on the side")
    git(repository, "checkout", "--quiet", "main")
    second = commit(repository, "größe.txt", "a subject — with signs | and more")
    git(repository, "merge", "--quiet", "--no-ff", "-m", "merged", "side")
    merged = git(repository, "rev-parse", "HEAD")
    last = commit(repository, "net.py", "last")
    found = between(start, last, repository)
    assert [one.sha for one in found] == [second, merged, last]
    assert [one.files for one in found] == [("größe.txt",), ("side.py",), ("net.py",)]
    assert found[0].subject == "a subject — with signs | and more"
    assert weights(found, {"side.py", "net.py"}) == [1.0, 10.0, 10.0]


@pytest.mark.slow
def test_neither_signatures_nor_a_subject_without_a_word_hide_a_commit(repository: Path) -> None:
    sign_all(repository)
    first = commit(repository, "net.py", "first")
    second = commit(repository, "net.py", "one\u2028two\x1fthree")
    git(repository, "commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", "")
    last = git(repository, "rev-parse", "HEAD")
    found = between(first, last, repository)
    assert [(one.sha, one.files) for one in found] == [(second, ("net.py",)), (last, ())]


@pytest.mark.slow
def test_wrong_ends_are_refused_with_what_helps(repository: Path) -> None:
    first = commit(repository, "a", "first")
    second = commit(repository, "a", "second")
    with pytest.raises(BisectError, match=r"the same commit"):
        between(first, first, repository)
    with pytest.raises(BisectError, match=r"not an ancestor .*; give them in the other order"):
        between(second, first, repository)
    git(repository, "checkout", "--quiet", "--orphan", "apart")
    apart = commit(repository, "b", "apart")
    with pytest.raises(BisectError, match=r"not an ancestor of BAD \([0-9a-f]{9}\)$"):
        between(first, apart, repository)


def test_a_commit_is_named_by_hash_and_subject() -> None:
    one = Commit("0123456789abcdef", "Faster pooling", "2026-01-02")
    assert one.shown == "012345678 (Faster pooling)"
