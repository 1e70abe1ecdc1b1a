"""Measure cost and use of a process for each case: `--isolation process` and `session`.

    python -m experiments.isolation                        eight rounds on the CPU
    python -m experiments.isolation --device cuda:0 --rounds 12

A round is one replicate of `bench run` with each of the two, in turns (ABBA).  Its cases are the
ConvNet in both modes, at two batch sizes and in two layouts.  Nothing else may run meanwhile.
Printed for each case: how far the replicates of each scatter (SD of the logarithm of the median),
and session / process, the bias, with its 95 % interval over the rounds; at the end the seconds that
a round takes with each.
"""

import argparse
import csv
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.core.records import whole_phase
from bench.stats.intervals import centre, log_interval

HOW = ("process", "session")
SWEEP = """
[run]
replicates = 1
max_replicates = 1
extras_s = 0.01  # neither references nor counted figures: they are the same with both
energy = false

[[sweep]]
subject = "convnet"
mode = ["inference", "training"]
batch = [{small}, {large}]
memory_format = ["contiguous", "channels_last"]
device = "{device}"
"""
SIZES = {"cpu": (1, 8)}  # of an accelerator larger ones, which keep it busy
ACCELERATORS_SIZES = (32, 256)

Times = Mapping[str, Mapping[str, Sequence[float]]]  # isolation → case → seconds by round


def sweep(device: str) -> str:
    small, large = SIZES.get(device, ACCELERATORS_SIZES)
    return SWEEP.format(device=device, small=small, large=large)


def medians_s(folder: Path, config: Path, how: str) -> dict[str, float]:
    """Return the back-to-back time of each case in one replicate of `bench run`."""
    command = [sys.executable, "-m", "bench", "run", "--config", str(config), "--isolation", how]
    subprocess.run([*command, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    with (folder / "measurements.csv").open(newline="", encoding="utf-8") as file:
        rows = [one for one in csv.DictReader(file) if one["phase"] == whole_phase(one["mode"])]
    return {one["case_id"]: float(one["pipelined_s"]) for one in rows if one["pipelined_s"]}


def order(number: int) -> tuple[str, ...]:
    """Return the order ABBA, so that drift cancels."""
    return HOW if number % 2 == 0 else HOW[::-1]


def told(times: Times) -> list[str]:
    """A line for each case that both have, and one over all."""
    lines, every = list[str](), list[float]()
    for case_id, own in times["process"].items():
        shared = times["session"].get(case_id, ())
        if len(shared) != len(own):
            continue
        ratios = [one / other for one, other in zip(shared, own, strict=True)]
        every.append(centre(ratios))
        scatter = ", ".join(f"{how} {_percent(times[how][case_id])}" for how in HOW)
        found = log_interval(ratios)
        interval = "no interval" if found is None else f"{found[0]:.3f}–{found[1]:.3f}"
        lines.append(
            f"{case_id}: scatter {scatter}; session / process {centre(ratios):.3f} ({interval})"
        )
    if every:
        lines.append(f"over all {len(every)} cases: session / process {centre(every):.3f}")
    return lines


def _percent(times_s: Sequence[float]) -> str:
    return f"{100 * spread(times_s):.1f} %" if len(times_s) > 1 else "unknown"


def spread(times_s: Sequence[float]) -> float:
    """Standard deviation of the logarithms, of two or more."""
    return statistics.stdev(map(math.log, times_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=8)
    asked = parser.parse_args()
    times: dict[str, dict[str, list[float]]] = {how: {} for how in HOW}
    took_s: dict[str, list[float]] = {how: [] for how in HOW}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sweep.toml"
        config.write_text(sweep(asked.device), encoding="utf-8")
        for number in range(asked.rounds):
            for how in order(number):
                begin_s = time.monotonic()
                found = medians_s(Path(folder) / f"{how}-{number}", config, how)
                took_s[how].append(time.monotonic() - begin_s)
                for case_id, median_s in found.items():
                    times[how].setdefault(case_id, []).append(median_s)
            print(f"round {number + 1} of {asked.rounds} is done", flush=True)
    print("\n".join(told(times)))
    for how in HOW:
        print(f"a round with --isolation {how} takes {statistics.median(took_s[how]):.1f} s")


if __name__ == "__main__":
    main()
