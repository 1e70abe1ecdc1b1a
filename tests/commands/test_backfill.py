"""The sentences of `bench backfill` about a commit that was measured."""

from pathlib import Path

import pytest

from bench.commands import backfill
from bench.history import past
from bench.history.commits import Commit
from bench.history.past import Shelf
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
