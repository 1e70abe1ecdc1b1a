"""Shards that are really measured, in a repository of their own, and merged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.records import Measurement
from bench.results import journal
from bench.results.loading import load
from tests.support.paths import ROOT

SUBJECT = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
"""
SWEEP = """
[run]
replicates = 3
samples_s = 0.02
warmup_s = 0.02
min_samples = 3
[[sweep]]
subject = "net:make"
input = "3,8,8"
mode = ["inference"]
batch = 1
memory_format = ["contiguous", "channels_last"]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SUBJECT, encoding="utf-8")
    (tmp_path / "bench.toml").write_text(SWEEP, encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "one")
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


def bench(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # `-m` puts the current folder on the path; the suite is found beside it.
    start = (
        f"import sys; sys.path.insert(1, {str(ROOT)!r}); from bench.__main__ import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", start, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.mark.slow
def test_two_shards_that_are_measured_make_one_run(repository: Path) -> None:
    """On a busy machine a shard may measure a replicate more, under a number of its own."""
    for number in (1, 2):
        done = bench(repository, "run", "--shard", f"{number}/2", "--out", f"shards/{number}")
        assert done.returncode == 0, done.stderr
    merged = bench(repository, "merge", "shards", "--out", "merged")
    assert merged.returncode == 0, merged.stderr
    run = load(repository / "merged")
    assert all((row.replicates or 0) >= 3 for row in run.rows)
    entries = journal.read(repository / "merged" / journal.NAME)
    found = [one for one in entries if isinstance(one, Measurement)]
    keys = [(one.case.case_id, one.replicate) for one in found]
    assert len(keys) == len(set(keys))
    for case_id in {one.case.case_id for one in found}:
        assert {number for own, number in keys if own == case_id} >= {0, 1, 2}
    written = json.loads((repository / "merged" / "run.json").read_text(encoding="utf-8"))
    assert [one["index"] for one in written["merged"]["shards"]] == [1, 2]
