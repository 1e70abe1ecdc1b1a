"""The loop of a fleet, with a made-up cluster."""

import random
from pathlib import Path

import pytest

from bench.fleet import journal
from bench.fleet.journal import Done, Gone, Odd
from tests.support.fleets import CASES, MadeUpCluster, driver, fixed, node


def counted(folder: Path) -> dict[str, list[int]]:
    """The numbers of the units that count, by kind."""
    found: dict[str, list[int]] = {}
    for one in journal.counting(journal.read(folder / journal.NAME)):
        found.setdefault(one.kind_id, []).append(one.unit)
    return {kind: sorted(units) for kind, units in found.items()}


def test_every_kind_measures_every_unit_once(tmp_path: Path) -> None:
    cluster = MadeUpCluster([node("1"), node("2"), node("3", fixed=fixed(machine="other"))])
    assert driver(tmp_path, cluster, []).measure()
    assert sorted(counted(tmp_path).values()) == [[1, 2, 3], [1, 2, 3]]
    assert len(journal.read(tmp_path / journal.NAME)) == 6


def test_labels_set_machines_apart_that_look_alike(tmp_path: Path) -> None:
    cluster = MadeUpCluster([node("1", "rack-a"), node("2", "rack-b")])
    assert driver(tmp_path, cluster, []).measure()
    assert len(counted(tmp_path)) == 2


def test_the_first_unit_of_a_kind_goes_ahead_and_the_others_know_what_it_found(
    tmp_path: Path,
) -> None:
    cluster = MadeUpCluster([node("1"), node("2")])
    assert driver(tmp_path, cluster, []).measure()
    requests = [one for made in cluster.made for one in made.asked if one["job"] == "shard"]
    (first,) = [one for one in requests if one["known"]["static_metrics"] == []]
    assert first["shard"] == "1/3"
    ids = [one.case_id for one in CASES]
    for other in requests:
        if other is not first:
            assert sorted(other["known"]["static_metrics"]) == sorted(ids)
            assert other["known"]["calls"] == dict.fromkeys(ids, 10)


def test_two_nodes_on_one_computer_never_measure_at_the_same_time(tmp_path: Path) -> None:
    cluster = MadeUpCluster(
        [node("1", computer="same"), node("2", computer="same"), node("3", computer="other")]
    )
    assert driver(tmp_path, cluster, [], units=8).measure()
    assert cluster.most_at_a_time == {"same": 2, "other": 1}  # two looks at the start
    shards = [one for made in cluster.made for one in made.asked if one["job"] == "shard"]
    assert len(shards) == 8


def test_a_node_of_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    told: list[str] = []
    cluster = MadeUpCluster(
        [node("1"), node("2", fixed=fixed(torch="2.12.0+cpu", Python="3.12.0"))]
    )
    assert driver(tmp_path, cluster, told).measure()
    (line,) = [line for line in told if "refused" in line]
    assert line == (
        "node 10.0.0.2 is refused: another torch: 2.12.0 instead of 2.13.0; another Python: 3.12.0 "
        "instead of 3.11.7; install the same versions there"
    )
    assert [one["job"] for one in cluster.made[1].asked] == ["look"]


def test_the_head_measures_only_if_it_is_the_only_node(tmp_path: Path) -> None:
    told: list[str] = []
    cluster = MadeUpCluster([node("1"), node("9", is_head=True)])
    assert driver(tmp_path, cluster, told).measure()
    assert cluster.made[1].asked == []
    assert "note: the head of the cluster measures nothing, since other nodes are there" in told
    alone = MadeUpCluster([node("9", is_head=True)])
    (tmp_path / "b").mkdir()
    assert driver(tmp_path / "b", alone, []).measure()


def test_a_unit_that_is_lost_is_tried_again_and_a_node_that_loses_two_gets_no_more(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    cluster = MadeUpCluster([node("1", loses=(1, 2)), node("2")])
    assert driver(tmp_path, cluster, told).measure()
    lines = journal.read(tmp_path / journal.NAME)
    assert [one.address for one in lines if isinstance(one, Gone)] == ["10.0.0.1", "10.0.0.1"]
    assert "node 10.0.0.1 lost 2 units in a row; it gets no more" in told
    assert list(counted(tmp_path).values()) == [[1, 2, 3]]


def test_a_unit_that_is_lost_three_times_is_given_up_and_the_rest_is_measured(
    tmp_path: Path,
) -> None:
    """It may be the unit that ends its nodes."""
    cluster = MadeUpCluster([node(str(one), fatal="2/3") for one in range(4)])
    assert not driver(tmp_path, cluster, [], units=3).measure()
    gone = [one.unit for one in journal.read(tmp_path / journal.NAME) if isinstance(one, Gone)]
    assert gone == [2, 2, 2]
    assert list(counted(tmp_path).values()) == [[1, 3]]


def test_a_unit_that_was_given_up_is_tried_again_after_a_resume(tmp_path: Path) -> None:
    """The nodes may have been mended, and the message says that a resume measures the rest."""
    broken = MadeUpCluster([node(str(one), fatal="2/3") for one in range(4)])
    assert not driver(tmp_path, broken, [], units=3).measure()
    assert driver(tmp_path, MadeUpCluster([node("1")]), [], units=3).measure()
    assert list(counted(tmp_path).values()) == [[1, 2, 3]]


def test_the_units_of_an_odd_node_are_measured_elsewhere(tmp_path: Path) -> None:
    told: list[str] = []
    cluster = MadeUpCluster([node("1"), node("2"), node("3", control_s=1.4e-3)])
    assert driver(tmp_path, cluster, told, units=6).measure()
    lines = journal.read(tmp_path / journal.NAME)
    (odd,) = [one for one in lines if isinstance(one, Odd)]
    assert odd.address == "10.0.0.3"
    assert "its controls are 40 % slower" in odd.why
    assert any(isinstance(one, Done) and one.node == odd.node for one in lines)
    counting = journal.counting(lines)
    assert odd.node not in {one.node for one in counting}
    assert sorted(one.unit for one in counting) == [1, 2, 3, 4, 5, 6]


def test_an_odd_node_measures_nothing_after_a_resume_either(tmp_path: Path) -> None:
    """Its units would never count, so that they would never end."""
    told: list[str] = []
    first = MadeUpCluster([node("1"), node("2"), node("3", control_s=1.4e-3)])
    assert driver(tmp_path, first, [], units=6).measure()
    alone = MadeUpCluster([node("3", control_s=1.4e-3)])
    assert not driver(tmp_path, alone, told, units=7).measure()
    assert [one["job"] for one in alone.made[0].asked] == ["look"]
    (line,) = [line for line in told if "stays left out" in line]
    assert line.startswith("node 10.0.0.3 stays left out: its controls are 40 % slower")


def test_the_commit_is_that_of_the_driver(tmp_path: Path) -> None:
    assert driver(tmp_path, MadeUpCluster([node("1")]), []).measure()
    (first, *_) = journal.counting(journal.read(tmp_path / journal.NAME))
    assert first.run["environment"]["git_commit"] == "abc"


class DriverKilledError(Exception):
    pass


@pytest.mark.parametrize("seed", range(10))
def test_the_end_of_any_node_or_of_the_driver_at_any_moment_loses_nothing(
    tmp_path: Path, seed: int
) -> None:
    """Nor is anything counted twice: also where a line was cut off in the middle."""
    draw = random.Random(seed)
    ends = iter(sorted(draw.sample(range(1, 30), 4)))
    doomed = next(ends)
    path = tmp_path / journal.NAME

    def before_end(handle: int) -> None:
        nonlocal doomed
        if handle != doomed:
            return
        doomed = next(ends, 0)
        if draw.random() < 0.5 and sum(one.alive for one in cluster.made) > 2:
            draw.choice([one for one in cluster.made if one.alive]).alive = False
        else:
            raise DriverKilledError

    cluster = MadeUpCluster([node(str(one)) for one in range(4)], before_end)
    for _ in range(6):
        try:
            complete = driver(tmp_path, cluster, [], units=12).measure()
            break
        except DriverKilledError:
            cluster.running.clear()
            content = path.read_bytes()
            if draw.random() < 0.5 and content.count(b"\n") > 1:  # killed while it wrote
                path.write_bytes(content[: content.rstrip(b"\n").rfind(b"\n") + 40])
    assert complete
    assert list(counted(tmp_path).values()) == [list(range(1, 13))]
