"""Kill nodes and the driver of a fleet at random, and look for lost or repeated units.

`python -m experiments.fleet_kills --kills 10` starts a cluster of Ray with three nodes of one kind
and one of another on this machine.  The units measure nothing and take about a second; drivers,
raylets and the journal are real.  After each kill a node is added, or the driver is resumed.  At
the end every unit of both kinds must be in the journal and count once.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.fleet import journal

UNITS = 6  # of each kind
STORE_BYTES = 80_000_000
LATEST_S = 6.0  # of a kill, after the last
ROOT = Path(__file__).parents[1]


def node(cluster: Any, label: str) -> Any:
    """Add a raylet that offers to measure."""
    return cluster.add_node(
        num_cpus=1,
        resources={"bench": 1},
        labels={"bench-kind": label},
        object_store_memory=STORE_BYTES,
    )


def driver(address: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Start, or resume, the driver of the fleet in the folder."""
    module = [sys.executable, "-m", "tests.support.fleet_process", "drive"]
    with (folder / "driver.log").open("ab") as log:
        return subprocess.Popen(
            [*module, address, str(folder), str(UNITS)], cwd=ROOT, stdout=log, stderr=log
        )


def main() -> None:
    """Kill, resume, and print the content of the journal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    from ray.cluster_utils import Cluster

    draw = random.Random(given.seed)
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    nodes = [(label, node(cluster, label)) for label in ("a", "a", "a", "b")]
    killed = {"driver": 0, "node": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = driver(cluster.address, folder)
        try:
            for _ in range(given.kills):
                time.sleep(draw.uniform(0.2, LATEST_S))
                if draw.random() < 0.5:
                    process.kill()
                    process.wait()
                    process = driver(cluster.address, folder)
                    killed["driver"] += 1
                else:
                    label, victim = nodes.pop(draw.randrange(len(nodes)))
                    cluster.remove_node(victim, allow_graceful=False)
                    nodes.append((label, node(cluster, label)))
                    killed["node"] += 1
            code = process.wait(600)
        finally:
            process.kill()
            cluster.shutdown()
        lines = journal.read(folder / journal.NAME)
        print((folder / "driver.log").read_text("utf-8", errors="replace")[-2000:])
    counted: dict[str, list[int]] = {}
    for one in journal.counting(lines):
        counted.setdefault(one.kind_id, []).append(one.unit)
    done = [(one.kind_id, one.unit) for one in lines if isinstance(one, journal.Done)]
    whole = [sorted(units) == list(range(1, UNITS + 1)) for units in counted.values()]
    gone = sum(isinstance(one, journal.Gone) for one in lines)
    print(f"killed {killed['node']} nodes and {killed['driver']} drivers; exit code {code}")
    print(f"{len(done)} units in the journal, {len(done) - len(set(done))} twice; {gone} were lost")
    print("nothing lost, nothing twice" if whole == [True, True] else f"missing: {counted}")
    sys.exit(0 if whole == [True, True] and len(done) == len(set(done)) and code == 0 else 1)


if __name__ == "__main__":
    main()
