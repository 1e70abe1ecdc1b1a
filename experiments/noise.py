"""Find causes why identical processes differ: the same cases under several process settings.

    python -m experiments.noise --rounds 12

Each round starts a fresh interpreter per variant, in an order drawn anew; each times ConvNet
inference and training and conv1, at N = 8, as a run does.  Printed: per case and variant the
coefficient of variation of the processes' medians (robust: from the interquartile range, and the
plain one), and the time beside that of the first variant.  Nothing else may run meanwhile.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys

from bench.host.allocators import HUGE_PAGES, THRESHOLDS, TUNABLES
from tests.support.cases import case

CASES = (
    case(mode="inference"),
    case(mode="training"),
    case(subject="convnet/conv1", mode="training"),
)
HUGE = {TUNABLES: f"{HUGE_PAGES}=1"}
VARIANTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "retained": ([], THRESHOLDS | HUGE),
    "small pages": ([], THRESHOLDS),
    "small pages, torch's huge ones": ([], THRESHOLDS | {"THP_MEM_ALLOC_ENABLE": "1"}),
    "small pages, no address randomisation": (["setarch", "-R"], THRESHOLDS),
    "small pages, threads bound": ([], THRESHOLDS | {"OMP_PROC_BIND": "true"}),
    "retained, no address randomisation": (["setarch", "-R"], THRESHOLDS | HUGE),
    "retained, threads bound": ([], THRESHOLDS | HUGE | {"OMP_PROC_BIND": "true"}),
    "system": ([], {}),
}


def one_process() -> None:
    """The medians of the cases, as a line of JSON."""
    from bench.core.protocol import Budget, Request
    from bench.worker.jobs import prepare
    from bench.worker.timing import call_timing

    found = []
    for one in CASES:
        built = prepare.build(
            Request(
                job="measure",
                case=one,
                replicate=0,
                calls=None,
                budget=Budget(),
                cache="",
                out="",
                log="",
                timeout_s=60,
            )
        )
        prepare.begin(built)
        times = call_timing.measure(built.step, built.device, Budget(samples_s=0.5))
        found.append(
            statistics.median(
                next(
                    s.times_s
                    for s in times.samples
                    if s.kind == "latency" and s.phase == built.step.whole
                )
            )
        )
    print(json.dumps(found))


def variation(times_s: list[float]) -> tuple[float, float]:
    """Robust and plain coefficient of variation, on logs."""
    logs = [math.log(one) for one in times_s]
    low, _, high = statistics.quantiles(logs, n=4)
    return (high - low) / 1.349, statistics.stdev(logs)  # the IQR of a normal is 1.349 SD


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", action="append", help="variants, by a part of their name")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one_process()
        return
    names = [
        name for name in VARIANTS if not asked.only or any(part in name for part in asked.only)
    ]
    seen: dict[str, list[list[float]]] = {name: [] for name in names}
    kept = {k: v for k, v in os.environ.items() if k not in {*THRESHOLDS, TUNABLES}}
    for number in range(asked.rounds):
        for name in random.Random(number).sample(names, len(names)):
            before, variables = VARIANTS[name]
            done = subprocess.run(
                [*before, sys.executable, "-m", "experiments.noise", "--one"],
                env=kept | variables,
                capture_output=True,
                text=True,
                check=True,
            )
            seen[name].append(json.loads(done.stdout))
        print(f"round {number + 1} of {asked.rounds}", file=sys.stderr, flush=True)
    for position, one in enumerate(CASES):
        print(f"\n{one.subject} {one.mode} N={one.batch}")
        first = statistics.median(row[position] for row in seen[names[0]])
        for name in names:
            times_s = [row[position] for row in seen[name]]
            robust, plain = variation(times_s)
            ratio = statistics.median(times_s) / first
            print(f"  {name:38} CV {robust:6.1%} (plain {plain:6.1%})  time ×{ratio:.2f}")


if __name__ == "__main__":
    main()
