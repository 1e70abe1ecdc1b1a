"""Processes of a fleet for the tests: a driver on a real cluster, and units that measure nothing.

`python -m tests.support.fleet_process drive ADDRESS FOLDER UNITS` prints what the driver tells.
"""

import json
import os
import sys
from pathlib import Path

from bench.fleet import on_ray
from bench.host import priority
from bench.host.orphans import end_with_parent
from tests.support import fleets
from tests.support.paths import ROOT

STUB = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
COMMAND = ("-c", STUB + "from tests.support import fleet_process; fleet_process.unit()")


def drive(address: str, folder: Path, units: int) -> int:
    """Drive a fleet to its end; the exit code says whether all was measured."""
    (folder / "code").mkdir(exist_ok=True)
    with on_ray.connected(address, folder / "code") as cluster:
        driver = fleets.driver(folder, cluster, [], units)
        driver.tell = lambda text: print(text, flush=True)  # noqa: T201
        driver.command = COMMAND
        driver.wait_s = 1.0
        return 0 if driver.measure() else 4


def unit() -> None:
    """Answer as a unit does, with the priority and the variables that it began with."""
    asked = json.loads(sys.stdin.read())
    end_with_parent(asked["parent"])
    if why := priority.undo_nice():
        answer: dict[str, object] = {"error": why}
    elif asked["job"] == "look":
        answer = {"fixed": fleets.fixed(), "devices": {"cpu": "AMD EPYC"}, "node": "here"}
    else:
        made = fleets.unit(asked["shard"], asked["known"])
        made["run"]["seen"] = {
            "nice": os.getpriority(os.PRIO_PROCESS, 0),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "of_ray": sorted(name for name in os.environ if name.startswith("RAY_")),
            "preloaded": os.environ.get("LD_PRELOAD"),
        }
        answer = made
    Path(asked["out"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(drive(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
