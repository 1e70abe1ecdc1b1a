"""The sentences of `bench backfill` about a commit that was measured."""

from pathlib import Path

import pytest
from typer.main import get_command

from bench import cli
from bench.commands import backfill, past_run
from bench.history import past
from bench.history.commits import Commit
from bench.history.past import Shelf
from bench.plan import config
from bench.results.loading import load
from tests.support.cases import PLAIN, case
from tests.support.history import write_run


@pytest.mark.parametrize(
    ("flags", "promise"),
    [
        ("", ""),
        ("contended", "; flagged contended, so --retry measures it again"),
        ("throttled;contended", "; flagged contended, throttled, so --retry measures it again"),
        ("implausible", "; flagged implausible, so --retry measures it again"),
        ("growing", ""),
        ("parallel", ""),
    ],
)
def test_a_retry_is_promised_where_retry_measures_again(
    tmp_path: Path, flags: str, promise: str
) -> None:
    commit, shelf, other = Commit("1" * 40), Shelf(tmp_path / "m1", "cafe"), case(batch=32)
    folder = shelf.free_path(commit)
    write_run(folder, commit.sha, {PLAIN: 0.1, other: 0.2}, flags={other: flags})
    told = backfill._told(load(folder, samples=False))
    assert told.partition(";")[2] == promise.removeprefix(";")
    left, _, _ = past.left_to_do([commit], shelf, retry=True)
    assert left == ([commit] if promise else [])


@pytest.mark.parametrize("by_flag", [True, False])
def test_weights_are_those_of_the_folder_of_the_command_for_every_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_flag: bool
) -> None:
    here, tree = tmp_path / "here", tmp_path / "tree of a commit"
    for folder in (here, tree):
        folder.mkdir()
    (here / "w.pt").touch()
    named = "" if by_flag else 'weights = "w.pt"'
    (here / "b.toml").write_text(f'[run]\n{named}\n[[sweep]]\nsubject = "my:Net"\n')
    monkeypatch.chdir(here)
    asked = backfill.Asked(
        range="a..b", config=Path("b.toml"), options={"weights": "w.pt"} if by_flag else {}
    )
    request = backfill._request(asked, backfill._settings(asked), tmp_path / "out")
    monkeypatch.chdir(tree)
    of_commit = past_run.asked_of(request)
    found = config.load(of_commit.config, **of_commit.options)
    assert found.run.weights_file == str(here / "w.pt")


def test_the_budget_of_a_file_holds_for_each_commit_and_the_help_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench.toml").write_text("[run]\nbudget_s = 320\n")
    monkeypatch.chdir(tmp_path)
    assert backfill._settings(backfill.Asked(range="a..b")).run.budget_s == 320
    flags = get_command(cli.app).commands["backfill"].params  # type: ignore[attr-defined]
    (budget,) = (one for one in flags if "--budget" in one.opts)
    assert budget.help.endswith("[default: as in the TOML]")
