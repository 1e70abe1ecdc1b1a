"""git ignores the runs in a new folder `results`, and nothing that is meant to be committed."""

from pathlib import Path

import pytest

from bench.results import results_folder, run_directory
from tests.support.git import git


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in a repository."""
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def begin(path: Path) -> None:
    run_directory.create(path, {"name": "mine"})


def test_the_first_run_makes_the_folder_and_the_file(here: Path) -> None:
    begin(Path("results/one"))
    assert (here / "results" / ".gitignore").read_text().splitlines()[1:] == [
        "*",
        "!/baseline/",
        "!/baseline/**",
    ]
    assert (here / "results" / "one" / "run.json").is_file()


def test_a_folder_of_the_users_own_and_a_removed_file_stay_as_they_are(here: Path) -> None:
    (here / "results").mkdir()
    begin(Path("results/one"))
    assert not (here / "results" / ".gitignore").exists()
    (here / "results" / ".gitignore").write_text("*.csv\n")
    begin(here / "results" / "two")
    assert (here / "results" / ".gitignore").read_text() == "*.csv\n"


def test_another_folder_for_the_run_gets_no_file(here: Path) -> None:
    begin(Path("elsewhere/one"))
    begin(Path("results-of-mine/one"))
    begin(Path("results"))  # a run directory itself
    assert list(here.rglob(".gitignore")) == []


def test_outside_a_repository_there_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begin(Path("results/one"))
    assert list(tmp_path.rglob(".gitignore")) == []


def test_the_folder_of_this_project_gets_no_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_folder, "OWN", here / "results")
    begin(Path("results/one"))
    assert not (here / "results" / ".gitignore").exists()


@pytest.mark.slow
def test_git_sees_no_run_and_each_file_of_a_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    monkeypatch.chdir(tmp_path)
    begin(Path("results/one"))
    assert git(tmp_path, "status", "--porcelain") == ""
    begin(Path("results/baseline/two"))
    (tmp_path / "results/baseline/two/plots").mkdir()
    (tmp_path / "results/baseline/two/plots/a.png").touch()
    seen = git(tmp_path, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert [line.removeprefix("?? results/baseline/two/") for line in seen] == [
        "journal.jsonl",
        "plots/a.png",
        "run.json",
    ]
