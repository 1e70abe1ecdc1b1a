"""How far independent runs of one and the same code differ, and what the controls explain of it.

    python -m tests.perf.drift --runs 10 --out /tmp/drift     measures, one run after the other
    python -m tests.perf.drift --read /tmp/drift              looks again at what was measured

Each run is `bench run` of ConvNet inference and training at N = 1, 8, 32 in a process of its own.
Nothing else may run meanwhile.  Printed per case: the standard deviation of the runs' medians, raw,
divided by the controls in each way, and with a fitted slope (of the other runs: a run does not
explain itself); and how many of the runs' 95 % intervals hold the median of all runs.
"""

import argparse
import itertools
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.journal import read
from bench.precision import log_interval
from bench.records import Measurement, whole_phase

CONFIG = """
[run]
replicates = {replicates}
max_replicates = {replicates}
precision = 0.01

[[sweep]]
subject = "convnet"
mode = ["inference", "training"]
batch = [1, 8, 32]
"""
CONTROLS = ("matmul", "copy", "convolution")


@dataclass(frozen=True, slots=True)
class Seen:
    """One case in one run, as logs of seconds."""

    median: float
    low: float
    high: float
    controls: dict[str, float]  # by control: mean over replicates


def measure(out: Path, runs: int, replicates: int) -> None:
    """So many runs into so many folders."""
    out.mkdir(parents=True, exist_ok=True)
    config = out / "drift.toml"
    config.write_text(CONFIG.format(replicates=replicates), encoding="utf-8")
    for number in range(runs):
        folder = out / f"run-{number:02d}"
        command = [sys.executable, "-m", "bench", "run", "--config", str(config)]
        subprocess.run(
            [*command, "--seed", str(number), "--out", str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        print(f"run {number + 1} of {runs}", flush=True)


def load(folder: Path) -> dict[str, Seen]:
    """By case; cases without an interval are left out."""
    by_case: dict[str, list[Measurement]] = {}
    for entry in read(folder / "journal.jsonl"):
        if isinstance(entry, Measurement):
            by_case.setdefault(entry.case.case_id, []).append(entry)
    return {name: seen for name, found in by_case.items() if (seen := _seen(found))}


def _seen(found: Sequence[Measurement]) -> Seen | None:
    medians = [
        statistics.median(one.times_s)
        for each in found
        for one in each.samples
        if one.kind == "latency" and one.phase == whole_phase(each.case.mode)
    ]
    interval = log_interval(medians)
    if interval is None or not all(each.controls for each in found):
        return None
    controls = {
        name: statistics.fmean(math.log(statistics.median(each.controls[name])) for each in found)
        for name in CONTROLS
    }
    return Seen(
        math.log(statistics.median(medians)), math.log(interval[0]), math.log(interval[1]), controls
    )


def spread(logs: Sequence[float]) -> float:
    """Relative standard deviation."""
    return statistics.stdev(logs)


def divided(runs: Sequence[Seen], names: Sequence[str]) -> list[float]:
    """By the geometric mean of the controls."""
    return [one.median - statistics.fmean(one.controls[name] for name in names) for one in runs]


def fitted(runs: Sequence[Seen], names: Sequence[str]) -> list[float]:
    """With the slope that the other runs have, in what the controls moved."""
    moved = [statistics.fmean(one.controls[name] for name in names) for one in runs]
    result = []
    for number, one in enumerate(runs):
        others = [k for k in range(len(runs)) if k != number]
        xs, ys = [moved[k] for k in others], [runs[k].median for k in others]
        slope = _slope(xs, ys)
        result.append(one.median - slope * (moved[number] - statistics.fmean(xs)))
    return result


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    mean_x, mean_y = statistics.fmean(xs), statistics.fmean(ys)
    square = sum((x - mean_x) ** 2 for x in xs)
    if not square:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / square


def covered(runs: Sequence[Seen]) -> int:
    """Of how many runs the 95 % interval holds the median of all runs' medians."""
    middle = statistics.median(one.median for one in runs)
    return sum(one.low <= middle <= one.high for one in runs)


def show(runs: Sequence[dict[str, Seen]]) -> None:
    """The table."""
    ways: dict[str, Callable[[Sequence[Seen]], list[float]]] = {
        "raw": lambda seen: [one.median for one in seen]
    }
    for size in (1, 2, 3):
        for names in itertools.combinations(CONTROLS, size):
            short = "+".join(name[:4] for name in names)
            ways[f"/{short}"] = lambda seen, names=names: divided(seen, names)  # type: ignore[misc]
            ways[f"~{short}"] = lambda seen, names=names: fitted(seen, names)  # type: ignore[misc]
    cases = sorted(set.intersection(*(set(run) for run in runs)))
    sums: dict[str, list[float]] = {name: [] for name in ways}
    held = 0
    for case in cases:
        seen = [run[case] for run in runs]
        for name, way in ways.items():
            sums[name].append(spread(way(seen)))
        held += covered(seen)
        print(f"{case}: raw {sums['raw'][-1]:.1%}, intervals {covered(seen)} of {len(seen)}")
    print("\nSD of the runs' medians, mean over cases (/ divided, ~ with a fitted slope)")
    for name, values in sums.items():
        each = " ".join(f"{value:6.1%}" for value in values)
        print(f"  {name:16} {statistics.fmean(values):6.1%}   {each}")
    print(f"\n{held} of {len(cases) * len(runs)} intervals hold the median of all runs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path)
    asked = parser.parse_args()
    if asked.out:
        measure(asked.out, asked.runs, asked.replicates)
    folder = asked.read or asked.out
    if folder is None:
        parser.error("give --out, to measure, or --read")
    show([load(one) for one in sorted(folder.glob("run-*"))])


if __name__ == "__main__":
    main()
