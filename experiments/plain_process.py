"""Compare the row `as a plain process` with the time that a plain script gets.

    python -m experiments.plain_process                    eight rounds of inference at 8 images
    python -m experiments.plain_process --batch 32 --rounds 12
    python -m experiments.plain_process --retained         plain rows; scripts with the variables

A round is one replicate of `bench run` for the ConvNet, and a script that knows nothing of this
project but the network: it warms up and takes the median of single calls.  The script runs in a
fresh process without a setting of the C library's allocator; with --retained it has those that
`bench run` names.  Nothing else may run meanwhile.  Printed: both times of each round, and the
ratio script / row with its 95 % interval over the rounds.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.core import units
from bench.core.records import whole_phase
from bench.host import allocators
from bench.stats.intervals import centre, log_interval

SCRIPT = """
import statistics, sys, time
import torch
from convnet.network import ConvNet

mode, batch, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
torch.manual_seed(0)
model = ConvNet().train(mode == "training")
x = torch.randn(batch, 3, 224, 224)
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

def infer():
    with torch.inference_mode():
        model(x)

def train():
    optimizer.zero_grad(set_to_none=True)
    model.loss(model(x)).backward()
    optimizer.step()

call = infer if mode == "inference" else train

def times(seconds):
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found

times(seconds / 2)
print(statistics.median(times(seconds)))
"""
SECONDS = 1.0  # of samples, after half as much warm-up
WITHIN = 0.05  # the target: the row is within 5 % of the script


def row_s(folder: Path, mode: str, batch: int, kind: str) -> float:
    """Return the median of single calls of one replicate of `bench run`."""
    command = [sys.executable, "-m", "bench", "run", "convnet", "--out", str(folder)]
    command += ["--mode", mode, "--batch", str(batch), "--device", "cpu", "--allocator", kind]
    command += ["--memory-format", "contiguous", "--amp", "off", "--compile", "off"]
    # The layers and settings of the default sweep are of no interest here.
    config = folder.with_suffix(".toml")
    config.write_text("[run]\nreplicates = 1\nmax_replicates = 1\n", encoding="utf-8")
    subprocess.run([*command, "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
    with (folder / "measurements.csv").open(newline="", encoding="utf-8") as file:
        rows = [one for one in csv.DictReader(file) if one["phase"] == whole_phase(mode)]
    return float(rows[0]["latency_median_s"])


def script_s(mode: str, batch: int, kind: str) -> float:
    """Return the median of single calls of the plain script in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode, str(batch), str(SECONDS)],
        env=allocators.environment(kind, os.environ),
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def told(rows_s: Sequence[float], scripts_s: Sequence[float]) -> str:
    """The ratio script / row over all rounds, with its interval, held against the target."""
    ratios = [script / row for script, row in zip(scripts_s, rows_s, strict=True)]
    middle = centre(ratios)
    found = log_interval(ratios)
    if found is None:
        return f"script / row: {middle:.3f} (one round, no interval)"
    low, high = found
    inside = 1 / (1 + WITHIN) <= middle <= 1 + WITHIN
    verdict = "within" if inside else "not within"
    return f"script / row: {middle:.3f} ({low:.3f}–{high:.3f}), {verdict} {100 * WITHIN:.0f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=("inference", "training"), default="inference")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--retained", action="store_true")
    asked = parser.parse_args()
    kind = "retained" if asked.retained else "system"
    rows, scripts = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds):
            rows.append(row_s(Path(folder) / f"run-{number}", asked.mode, asked.batch, kind))
            scripts.append(script_s(asked.mode, asked.batch, kind))
            print(
                f"round {number + 1}: row {units.seconds(rows[-1])}, "
                f"script {units.seconds(scripts[-1])}",
                flush=True,
            )
    print(told(rows, scripts))


if __name__ == "__main__":
    main()
