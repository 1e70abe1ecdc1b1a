"""A history from end to end: past commits are measured, judged, confirmed and accepted."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.history import blessed
from tests.support.cases import case
from tests.support.git import git
from tests.support.history import write_run
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

NET = """\
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.width = {width}

    def forward(self, x):
        for _ in range(self.width):
            y = self.conv(x)
        return y

def make():
    return Net()
"""
FLAGS = ("--subject", "net:make", "--input", "3,32,32", "--batch", "4", "--mode", "inference")
Call = Callable[..., subprocess.CompletedProcess[str]]


def commit(folder: Path, text: str, message: str) -> str:
    (folder / "net.py").write_text(text)
    git(folder, "add", "net.py")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "main")
    return folder


@pytest.fixture
def bench(repo: Path) -> Call:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=repo,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    return call


def test_past_commits_are_measured_with_their_own_code_and_what_fails_is_named(
    repo: Path, bench: Call
) -> None:
    before = commit(repo, NET.format(width=1), "begin")
    fast = commit(repo, NET.format(width=1), "one")
    broken = commit(repo, "import nothing_of_this_name\n", "broken")
    slow = commit(repo, NET.format(width=40), "forty")
    (repo / "net.py").write_text("mine = 1\n")  # the working tree is not measured, nor changed
    given = ("backfill", f"{before}..HEAD", *FLAGS, "--replicates", "1", "--out", "store")
    done = bench(*given)
    assert done.returncode == 0, done.stderr
    assert "3 commits: 0 measured already, 3 to measure" in done.stdout
    assert f"1 of 3: {slow[:8]}" in done.stdout
    assert f"2 of 3: {broken[:8]}" in done.stdout
    assert "cannot be measured" in done.stdout
    assert "nothing_of_this_name" in done.stdout
    assert (repo / "net.py").read_text() == "mine = 1\n"
    assert len(git(repo, "worktree", "list").splitlines()) == 1

    found = {
        described["environment"]["git_commit"]: described
        for path in (repo / "store").rglob("run.json")
        if (described := json.loads(path.read_text()))
    }
    assert set(found) == {fast, slow}
    assert found[fast]["environment"]["git_dirty"] is False
    assert found[fast]["environment"]["sources"] != found[slow]["environment"]["sources"]
    assert found[fast]["command"][:4] == ["bench", "run", "--subject", "net:make"]

    again = bench(*given)
    assert "3 commits: 2 measured already, 1 skipped" in again.stdout
    assert "cannot be measured" not in again.stdout
    shown = bench("history", "store")
    assert shown.returncode == 0, shown.stderr
    assert "fewer than 10" in shown.stdout


@pytest.mark.alone
def test_a_finding_is_confirmed_or_taken_back_and_an_accepted_level_is_silent(
    repo: Path, bench: Call
) -> None:
    """The store says that two cases became slower at one commit; only one of them really did."""
    names = [commit(repo, NET.format(width=1), f"quick {one}") for one in range(8)]
    slow = NET.format(width=1).replace("(self.width)", "(1 + 10 * (len(x) - 1))")  # not at 1
    names += [commit(repo, slow, f"slow {one}") for one in range(8)]
    both = [
        case(subject="net:make", input="3,32,32", batch=batch, allocator="retained")
        for batch in (1, 4)
    ]
    rng = random.Random(0)
    machine = machine_here(repo, bench)
    for number, name in enumerate(names):
        times = {one: 0.001 * rng.lognormvariate(0, 0.01) * (1.5 if number >= 8 else 1.0)
                 for one in both}  # fmt: skip
        write_run(repo / "store" / f"run{number:02}", name, times, machine=machine)

    suspects = bench("history", "store", "--strict")
    assert suspects.returncode == 1
    assert suspects.stdout.count("- suspect:") == 2

    done = bench("history", "store", "--confirm", "--budget", "180", "--strict")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "confirmed: +" in done.stdout
    assert "- taken back (" in done.stdout
    assert len(list((repo / "store" / "confirmed").glob("*/ab.json"))) == 2

    again = bench("history", "store")  # the answers are kept
    assert "confirmed: +" in again.stdout
    assert "suspect:" not in again.stdout

    accepted = bench("bless", "net:make:*", "--at", names[8], "-m", "more work")
    assert accepted.returncode == 0, accepted.stderr
    assert len(blessed.read(repo / blessed.FILE)) == 1
    silent = bench("history", "store", "--strict")
    assert silent.returncode == 0
    assert "fewer than 10 runs since it was blessed" in silent.stdout


def machine_here(repo: Path, bench: Call) -> str:
    """Return the machine_id that a run gets here."""
    listed = bench("backfill", "HEAD~1..HEAD", *FLAGS, "--replicates", "1", "--out", "first")
    assert listed.returncode == 0, listed.stderr
    (path,) = (repo / "first").rglob("run.json")
    return str(json.loads(path.read_text())["machine"]["machine_id"])
