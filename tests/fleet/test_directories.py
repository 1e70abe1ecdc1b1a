"""The run directories of a fleet are made of its journal, at any time again."""

from pathlib import Path

import pytest

from bench.commands import derive
from bench.fleet import directories, journal
from bench.fleet.driver import FleetError
from bench.results import run_directory
from bench.results.run_directory import RunDirError
from tests.support.fleets import CASES, MadeUpCluster, driver, node


def measured(folder: Path) -> list[journal.Line]:
    cluster = MadeUpCluster([node("1", "rack-a"), node("2", "rack-a"), node("3", "rack-b")])
    assert driver(folder, cluster, [], units=4).measure()
    return journal.read(folder / journal.NAME)


def test_each_kind_gets_a_run_directory_with_all_its_replicates(tmp_path: Path) -> None:
    made = directories.write_runs(tmp_path, measured(tmp_path), ["bench", "fleet"])
    assert sorted(folder.name.rpartition("-")[0] for folder, _ in made) == ["rack-a", "rack-b"]
    for folder, _ in made:
        run = derive.write_all(folder).results
        assert {row.case_id for row in run.rows} == {one.case_id for one in CASES}
        assert {row.replicates for row in run.rows} == {4}
        nodes = 2 if folder.name.startswith("rack-a") else None
        assert {row.nodes for row in run.rows} == {nodes}


def test_they_are_written_anew_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    lines = measured(tmp_path)
    for _ in range(2):
        made = directories.write_runs(tmp_path, [*lines, *lines], ["bench", "fleet"])
    for folder, merged in made:
        assert merged.shards == [1, 2, 3, 4]
        content = (folder / "journal.jsonl").read_text(encoding="utf-8")
        assert content.count('"kind":"measurement"') == 4 * len(CASES)
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith(".")) == []


def test_a_name_from_another_machine_leads_to_no_other_folder(tmp_path: Path) -> None:
    (first, *_) = measured(tmp_path)
    assert isinstance(first, journal.Done)
    foreign = journal.Done(
        unit=1,
        kind_id="k",
        node="n",
        address="a",
        run=first.run,
        lines=first.lines,
        failures={"../../evil.txt": "x", "fine.txt": "y"},
    )
    directories.write_runs(tmp_path / "in" / "side", [foreign], [])
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_fleet_is_reopened_as_it_began_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "fleet"
    directories.create(path, {"asked": {"quick": True}, "versions": {"torch": "2"}, "units": 3})
    assert directories.reopen(path)["asked"] == {"quick": True}
    with pytest.raises(RunDirError, match="resume it: bench fleet --resume"):
        run_directory.refuse_existing(path)
    (path / directories.DESCRIPTION).write_text("{}", encoding="utf-8")
    with pytest.raises(FleetError, match=r"its fleet\.json is damaged"):
        directories.reopen(path)
    with pytest.raises(FleetError, match="is not the directory of a fleet"):
        directories.reopen(tmp_path / "nowhere")
