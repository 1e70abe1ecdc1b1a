"""Merged shards are what one journal of the same outcomes is."""

from pathlib import Path

import pytest

from bench.commands import derive
from bench.core.records import Entry, Failure, Measurement, StaticMetrics
from bench.plots import draw
from bench.results import journal
from bench.shards import merge, read
from tests.support import shards
from tests.support.cases import case
from tests.support.results import measurement
from tests.support.shards import shard


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second each, and no figure is in them."""
    monkeypatch.setattr(draw, "draw", lambda _: [])


def merged_once(*paths: Path) -> merge.Merged:
    (one,) = merge.by_kind(read.parts(paths))
    return one


@pytest.mark.parametrize("count", [2, 3, 5])
def test_merging_gives_figure_for_figure_what_one_journal_gives(tmp_path: Path, count: int) -> None:
    """The order of the directories on the command line does not matter."""
    whole = shards.write(tmp_path / "a" / "run", shards.entries(), shards.described())
    parts = [shard(tmp_path / f"s{number}", number, count) for number in range(1, count + 1)]
    merge.write(merged_once(*reversed(parts)), tmp_path / "b" / "run", ["bench", "merge"])
    derive.write_all(whole)
    derive.write_all(tmp_path / "b" / "run")
    for name in ("measurements.csv", "samples.csv"):
        expected = (whole / name).read_text(encoding="utf-8")
        assert (tmp_path / "b" / "run" / name).read_text(encoding="utf-8") == expected
    assert expected.count("\n") > 1000


def test_the_same_shard_twice_counts_once_and_the_fuller_one_counts(tmp_path: Path) -> None:
    first, second = shard(tmp_path / "s1", 1, 2), shard(tmp_path / "s2", 2, 2)
    short = shards.of_shard(shards.entries(), 2, 2)[:5]
    copy = shards.described(shard={"index": 2, "count": 2, "plan": "p"})
    again = shards.write(tmp_path / "again", short, copy)
    for order in ([first, second, again], [again, second, first]):
        one = merged_once(*order)
        assert [part.path for part in one.parts] == [first, second]
        assert [part.path for part in one.again] == [again]
        own = [entry for entry in merge.entries(one.parts) if not isinstance(entry, StaticMetrics)]
        assert len(own) == sum(not isinstance(entry, StaticMetrics) for entry in shards.entries())


def test_of_two_of_one_shard_the_one_that_failed_gives_way(tmp_path: Path) -> None:
    """It was measured again because of that."""
    copy = shards.described(shard={"index": 1, "count": 1, "plan": "p"})
    failed = Failure(case=case(), replicate=0, status="error", reason="no")
    first = shards.write(tmp_path / "s1", [failed], copy)
    again = shards.write(tmp_path / "again", [measurement(case(), 0, 1.0)], copy)
    for order in ([first, again], [again, first]):
        assert [part.path for part in merged_once(*order).parts] == [again]


def test_missing_shards_are_named_over_all_kinds(tmp_path: Path) -> None:
    here = shard(tmp_path / "s1", 1, 5)
    there = shard(tmp_path / "s4", 4, 5, machine__machine_id="other")
    merged = merge.by_kind(read.parts([here, there]))
    assert [one.shards for one in merged] == [[1], [4]]
    assert merge.missing(merged) == [2, 3, 5]
    assert merged[0].name != merged[1].name


def test_outcomes_of_several_machines_name_them_and_those_of_one_do_not(tmp_path: Path) -> None:
    first, second = shard(tmp_path / "s1", 1, 2), shard(tmp_path / "s2", 2, 2, machine__node="b")
    nodes = {
        entry.replicate % 2: entry.state["node"]
        for entry in merge.entries(merged_once(first, second).parts)
        if isinstance(entry, Measurement)
    }
    assert nodes == {0: "a", 1: "b"}
    alone = merge.entries(merged_once(first).parts)
    assert all("node" not in one.state for one in alone if isinstance(one, Measurement))


def test_a_case_that_one_shard_found_wrong_is_wrong_in_the_merged_run(tmp_path: Path) -> None:
    document = shards.described()
    right = StaticMetrics(case=case(), metrics={"flops": 5.0})
    wrong = StaticMetrics(case=case(), metrics={}, invalid="the output differs")
    paths = []
    for index, facts in ((1, right), (2, wrong)):
        own: list[Entry] = [measurement(case(), index - 1, 1.0), facts]
        document["shard"] = {"index": index, "count": 2, "plan": "p"}
        paths.append(shards.write(tmp_path / f"s{index}", own, document))
    found = [
        one for one in merge.entries(merged_once(*paths).parts) if isinstance(one, StaticMetrics)
    ]
    assert found == [wrong]


def test_the_output_of_failures_comes_along_and_none_replaces_another(tmp_path: Path) -> None:
    document, paths = shards.described(), []
    for index in (1, 2):
        failed = Failure(
            case=case(), replicate=index - 1, status="error", reason="no", log="case.txt"
        )
        document["shard"] = {"index": index, "count": 2, "plan": "p"}
        path = shards.write(tmp_path / f"s{index}", [failed], document)
        (path / "failures").mkdir()
        (path / "failures" / "case.txt").write_text(f"of {index}", encoding="utf-8")
        paths.append(path)
    merge.write(merged_once(*paths), tmp_path / "run", ["bench"])
    told = {
        one.replicate: (tmp_path / "run" / "failures" / str(one.log)).read_text(encoding="utf-8")
        for one in journal.read(tmp_path / "run" / journal.NAME)
        if isinstance(one, Failure)
    }
    assert told == {0: "of 1", 1: "of 2"}


def test_the_merged_run_is_not_a_shard_and_says_where_its_replicates_are_from(
    tmp_path: Path,
) -> None:
    first, second = shard(tmp_path / "s1", 1, 2), shard(tmp_path / "s2", 2, 2, machine__node="b")
    merge.write(merged_once(first, second), tmp_path / "run", ["bench", "merge"])
    run = derive.write_all(tmp_path / "run").results
    assert run.description.shard is None
    written = run.description.written()["merged"]
    assert [(one["index"], one["node"]) for one in written["shards"]] == [(1, "a"), (2, "b")]
    assert {row.nodes for row in run.rows if row.status == "ok"} == {2}
