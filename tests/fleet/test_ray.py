"""A real cluster of Ray on this machine: several raylets, units that measure nothing.

All raylets are on one computer, so one unit runs at a time.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.fleet import journal
from tests.support.paths import ROOT

pytest.importorskip("ray", reason="Ray is not installed (the extra `fleet`)")

STORE_BYTES = 80_000_000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0,
        reason="only root can undo the nice of a raylet, which Cluster starts with Ray's default",
    ),
]


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    made: Any = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


def node(cluster: Any, label: str) -> Any:
    return cluster.add_node(
        num_cpus=1,
        resources={"bench": 1},
        labels={"bench-kind": label},
        object_store_memory=STORE_BYTES,
    )


def driver(cluster: Any, folder: Path, units: int) -> "subprocess.Popen[str]":
    module = [sys.executable, "-m", "tests.support.fleet_process", "drive"]
    return subprocess.Popen(
        [*module, cluster.address, str(folder), str(units)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def until(process: "subprocess.Popen[str]", text: str) -> None:
    """Read what a driver tells until it tells this."""
    assert process.stdout is not None
    assert any(text in line for line in process.stdout), text


def ended(process: "subprocess.Popen[str]") -> int:
    process.communicate(timeout=240)
    return process.returncode


def counted(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in journal.counting(journal.read(folder / journal.NAME)):
        found.setdefault(one.kind_id, []).append(one.unit)
    return {kind: sorted(units) for kind, units in found.items()}


def test_a_node_that_goes_in_the_middle_loses_nothing_and_no_unit_runs_at_low_priority(
    cluster: Any, tmp_path: Path
) -> None:
    first, _, _ = node(cluster, "a"), node(cluster, "a"), node(cluster, "b")
    process = driver(cluster, tmp_path, 3)
    until(process, "unit 1 of 3")
    cluster.remove_node(first, allow_graceful=False)
    assert ended(process) == 0
    assert list(counted(tmp_path).values()) == [[1, 2, 3], [1, 2, 3]]
    for one in journal.counting(journal.read(tmp_path / journal.NAME)):
        assert one.run["seen"] == {"nice": 0, "threads": None, "of_ray": [], "preloaded": None}


def test_a_driver_that_is_killed_goes_on_where_it_was(cluster: Any, tmp_path: Path) -> None:
    node(cluster, "a")
    process = driver(cluster, tmp_path, 3)
    until(process, "unit 1 of 3")
    process.send_signal(signal.SIGKILL)
    ended(process)
    before = journal.read(tmp_path / journal.NAME)
    assert 1 <= len(before) < 3
    again = driver(cluster, tmp_path, 3)
    assert ended(again) == 0
    lines = journal.read(tmp_path / journal.NAME)
    assert lines[: len(before)] == before
    assert list(counted(tmp_path).values()) == [[1, 2, 3]]
    done = [one.unit for one in lines if isinstance(one, journal.Done)]
    assert sorted(done) == [1, 2, 3]
