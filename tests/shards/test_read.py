"""Shards that are not of one run are refused in one line."""

from pathlib import Path
from typing import Any

import pytest

from bench.shards import read
from tests.support import shards
from tests.support.shards import shard


def test_shards_of_one_run_are_read_also_from_a_folder_that_has_them(tmp_path: Path) -> None:
    shard(tmp_path / "all" / "s1", 1, 2)
    shard(tmp_path / "all" / "s2", 2, 2)
    found = read.parts([tmp_path / "all"])
    assert [str(one.shard) for one in found] == ["1/2", "2/2"]
    assert found[0].kind == found[1].kind


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"plan": "q"}, r"s2: is of another plan than .*s1 \(q instead of p\)"),
        ({"count": 3}, r"s2: is shard 2/3, and .*s1 is shard 1/2"),
        ({"environment__git_dirty": True}, r"s2: was measured in a working tree with uncommitted"),
        ({"environment__torch": "9.9"}, r"s2: another torch: 9\.9 instead of .*s1"),
        ({"environment__python": "3.99"}, r"s2: another Python: 3\.99 instead of"),
        ({"environment__suite": "other"}, r"s2: another bench: other instead of"),
        ({"environment__git_commit": "ffff"}, r"s2: another commit: ffff instead of"),
        (
            {"environment__sources": {"convnet": "another"}},
            r"s2: another version of convnet: another instead of",
        ),
    ],
)
def test_a_shard_of_another_plan_version_or_code_is_refused(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    one = shard(tmp_path / "s1", 1, 2)
    given = {"index": 2, "count": 2, **changes}
    other = shard(tmp_path / "s2", **given)
    with pytest.raises(read.ShardsError, match=says) as told:
        read.parts([one, other])
    assert "\n" not in str(told.value)


def test_a_whole_run_and_a_folder_without_runs_are_no_shards(tmp_path: Path) -> None:
    whole = shards.write(tmp_path / "whole", [], shards.described())
    with pytest.raises(read.ShardsError, match="is a whole run and not a shard"):
        read.parts([whole])
    (tmp_path / "empty").mkdir()
    with pytest.raises(read.ShardsError, match="has no run directory in it"):
        read.parts([tmp_path / "empty"])
    with pytest.raises(read.ShardsError, match="is not a run directory"):
        read.parts([tmp_path / "nowhere"])


def test_what_a_killed_start_left_in_the_folder_is_no_shard(tmp_path: Path) -> None:
    shard(tmp_path / "all" / "s1", 1, 1)
    shards.write(tmp_path / "all" / ".bench-0123abcd", [], shards.described())
    assert [one.path.name for one in read.parts([tmp_path / "all"])] == ["s1"]


def test_a_damaged_run_json_is_refused_in_one_line(tmp_path: Path) -> None:
    one = shard(tmp_path / "s1", 1, 2)
    for text in ("", "[]", "{}", '{"machine": {}, "environment": {}}', '{"shard": {"index": "1"}}'):
        (one / "run.json").write_text(text, encoding="utf-8")
        with pytest.raises(read.ShardsError, match=r"s1/run\.json: ") as told:
            read.parts([one])
        assert "\n" not in str(told.value)
