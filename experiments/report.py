"""Measure the time and memory that a page takes for a run of many cases.

    python -m experiments.report                  1 000, 1 600 and 10 000 cases
    python -m experiments.report --cases 1000

A made-up run on an accelerator, as the most columns are filled there: each case has five replicates
with 20 samples of each kind, and every figure that a run can find.  1 600 cases have 4 000 rows,
the most that a page shows.  `bench report` runs in a process of its own, whose wall time and
largest resident memory are printed, and the page's size.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.core.axes import BY_NAME
from bench.core.records import (
    INFERENCE_PHASES,
    TRAINING_PHASES,
    Case,
    Entry,
    Measurement,
    Samples,
    StaticMetrics,
    whole_phase,
)
from bench.results import run_json
from bench.results.aggregate import EVERYWHERE, METRICS, rows
from bench.results.csv_files import write_measurements, write_samples
from bench.results.results import samples_of
from tests.support.cases import case
from tests.support.results import RUN

REPLICATES, SAMPLES = 5, 20


def cases(count: int) -> Iterator[Case]:
    """Subjects in two modes, four batch sizes, two layouts, two kinds of arithmetic."""
    made = (
        case(
            subject=f"net{number}", mode=mode, batch=batch, memory_format=layout, amp=amp,
            device="cuda:0", cudnn_benchmark="off", tf32="off", threads=None, allocator=None,
        )
        for number in range(count)
        for mode in BY_NAME["mode"].values
        for batch in (1, 8, 32, 64)
        for layout in BY_NAME["memory_format"].values
        for amp in ("off", "bfloat16")
    )  # fmt: skip
    for _, one in zip(range(count), made, strict=False):
        yield one


def entries(count: int) -> Iterator[Entry]:
    rng = random.Random(0)
    for one in cases(count):
        base_s = 1e-3 * one.batch
        phases = INFERENCE_PHASES if one.mode == "inference" else TRAINING_PHASES
        whole = whole_phase(one.mode)
        for replicate in range(REPLICATES):
            samples = tuple(
                Samples(
                    phase=phase,
                    kind=kind,
                    calls_per_sample=1,
                    times_s=tuple(base_s * rng.lognormvariate(0, 0.05) for _ in range(SAMPLES)),
                )
                for phase in phases
                for kind in (("latency", "pipelined", "device") if phase == whole else ("device",))
            )
            own = {name: rng.lognormvariate(0, 1) for name in EVERYWHERE}
            yield Measurement(
                case=one, replicate=replicate, samples=samples, metrics=own, flags=("unsteady",)
            )
        yield StaticMetrics(
            case=one, metrics={name: 1e9 * rng.lognormvariate(0, 1) for name in METRICS}
        )


def made(folder: Path, count: int) -> Path:
    """A run directory without plots."""
    folder.mkdir()
    described = {**RUN, "run_id": folder.name}
    all_ = list(entries(count))
    (folder / "run.json").write_text(json.dumps(described), encoding="utf-8")
    write_measurements(folder / "measurements.csv", rows(all_, run=run_json.of(described)))
    write_samples(folder / "samples.csv", samples_of(all_, folder.name))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, action="append")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for count in asked.cases or [1_000, 1_600, 10_000]:
            folder = made(Path(scratch) / f"run-{count}", count)
            start_s = time.monotonic()
            command = [sys.executable, "-m", "bench", "report", str(folder)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            took_s = time.monotonic() - start_s
            # Of all children so far: the counts grow, so the last is the largest.
            peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            size_bytes = (folder / "report.html").stat().st_size
            print(
                f"{count} cases: {took_s:.1f} s, {peak_bytes / 1e6:.0f} MB, "
                f"page of {size_bytes / 1e6:.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
