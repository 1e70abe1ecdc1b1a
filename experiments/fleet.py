"""Compare the times of units that Ray starts with those of units started without it.

`python -m experiments.fleet --pairs 12 --out FILE` starts a head and a node of Ray on this machine,
and measures the ConvNet by turns: a unit through Ray, and the same unit as a process of this
script.  Each line of FILE is one pair; pairs of several calls add up.  At the end it prints, over
the cases, the median of the ratio of times (Ray / plain) with its interval.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.commands import run as measure
from bench.commands import unit
from bench.core import decode
from bench.core.records import Measurement, whole_phase
from bench.fleet import on_ray
from bench.fleet.cluster import Answer
from bench.fleet.driver import COMMAND
from bench.stats.intervals import t_quantile

# Processes differ more than samples of one do: many short pairs tell more than a few long ones.
SWEEP = """
[run]
replicates = 1
max_replicates = 1
samples_s = 0.25
warmup_s = 0.1
budget_s = 60

[[sweep]]
subject = "convnet"
mode = ["inference", "training"]
batch = [1, 8]
device = "cpu"
allocator = "retained"
"""
STORE_BYTES = 100_000_000


def request(config: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """The ConvNet as a unit: one replicate, static metrics as far as they are not known."""
    asked = measure.Asked(config=config)
    return {"job": "shard", "run": unit.asked_fields(asked), "shard": "1/1", "known": dict(known)}


def plain(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a unit that this process starts itself."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        given = {**asked, "out": str(out), "parent": os.getpid()}
        subprocess.run([sys.executable, *COMMAND], input=json.dumps(given), text=True, check=True)
        return dict(json.loads(out.read_text(encoding="utf-8")))


def by_ray(cluster: on_ray.RayCluster, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a unit that Ray starts."""
    (node,) = cluster.nodes()
    text = json.dumps({"command": list(COMMAND), "input": asked})
    handle = cluster.start(node, text)
    while not cluster.ended([handle], 60.0):
        pass
    result = cluster.result(handle)
    if not isinstance(result, Answer):
        raise SystemExit(result.why)
    answer: dict[str, Any] = json.loads(result.text)
    if "error" in answer:
        raise SystemExit(answer["error"])
    return answer


def times_s(answer: Mapping[str, Any]) -> dict[str, float]:
    """The median latency of each case."""
    found = {}
    for line in answer["lines"]:
        entry = decode.entry(line)
        if isinstance(entry, Measurement):
            for one in entry.samples:
                if (one.kind, one.phase) == ("latency", whole_phase(entry.case.mode)):
                    found[entry.case.case_id] = statistics.median(one.times_s)
    return found


def told(pairs: list[Mapping[str, Any]]) -> str:
    """The median over the cases of Ray / plain, and the interval over pairs of that median."""
    each = [
        {
            case: math.log(one["ray"][case] / one["plain"][case])
            for case in one["ray"].keys() & one["plain"]
        }
        for one in pairs
    ]
    cases = sorted({case for one in each for case in one})
    means = {case: statistics.fmean(one[case] for one in each if case in one) for case in cases}
    lines = [f"{case}: {100 * math.expm1(mean):+.2f} %" for case, mean in means.items()]
    medians = [statistics.median(one.values()) for one in each]
    half = t_quantile(len(medians) - 1) * statistics.stdev(medians) / math.sqrt(len(medians))
    middle = statistics.median(means.values())
    found = (
        f"median over {len(cases)} cases: {100 * math.expm1(middle):+.2f} % "
        f"(± {100 * half:.2f} % over {len(pairs)} pairs)"
    )
    return "\n".join([*lines, found])


def main() -> None:
    """Measure pairs, and print what all pairs in the file say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    on_ray.ray_module()
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
        },
    )
    cluster.add_node(num_cpus=1, resources={"bench": 1}, object_store_memory=STORE_BYTES)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            on_ray.connected(cluster.address, Path(folder)) as there,
            given.out.open("a", encoding="utf-8") as file,
        ):
            config = Path(folder) / "sweep.toml"
            config.write_text(SWEEP, encoding="utf-8")
            nothing: dict[str, Any] = {"static_metrics": (), "wrong": (), "calls": {}}
            first = plain(request(config, nothing))
            # The first unit of a machine measures its peaks, too; no pair looks for static metrics.
            asked = request(config, {**nothing, "static_metrics": list(times_s(first))})
            for _ in range(given.pairs):
                pair: dict[str, Any] = {}
                for side in random.sample(["ray", "plain"], 2):
                    answer = by_ray(there, asked) if side == "ray" else plain(asked)
                    pair[side] = times_s(answer)
                file.write(json.dumps(pair) + "\n")
                file.flush()
    finally:
        cluster.shutdown()
        if given.out.exists():
            pairs = [json.loads(line) for line in given.out.read_text("utf-8").splitlines()]
            if len(pairs) > 1:
                print(told(pairs))


if __name__ == "__main__":
    main()
