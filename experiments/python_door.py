"""Compare `bench.measure` with `bench run`, and measure how long it takes.

    python -m experiments.python_door [--trials N] [SUBJECT ...]

Each case is measured by `bench run` in processes of its own, and then N times by `bench.measure` in
one new process, with the same settings and the C library's allocator on both sides.  A line gives
the median over the trials by the latency of the run, and the seconds that one call of
`bench.measure` took.  Nothing else may run meanwhile.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import bench
from bench.core.decode import case as case_of
from bench.core.records import Case, whole_phase
from bench.worker.model.build import prepare

SUBJECTS = ("convnet", "convnet/*")
SWEEP = """
[[sweep]]
batch = 8
mode = ["inference", "training"]
device = "cpu"
allocator = "system"
input = "3,224,224"
"""


def main() -> None:
    """Print a line for each case, and the worst of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("subjects", nargs="*", default=SUBJECTS)
    parser.add_argument("--trials", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sweep.toml"
        config.write_text(SWEEP, encoding="utf-8")
        run = bench.run(asked.subjects, config=config, out=Path(folder) / "run")
        rows = {(row.case_id, row.phase): row for row in run.results.rows}
        cases = [case_of(fields) for fields in run.results.description.cases]
    ratios: list[float] = []
    for case in cases:
        row = rows.get((case.case_id, whole_phase(case.mode)))
        if row is None or row.latency_median_s is None:
            print(f"{case.case_id}: not measured by the run")
            continue
        # A new one, because memory that an earlier case freed changes the allocator's state.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            times_s, costs_s = process.submit(_trials, case, asked.trials).result()
        ratios.append(statistics.median(times_s) / row.latency_median_s)
        print(f"{case.case_id}: {ratios[-1]:.3f}, {statistics.median(costs_s):.2f} s each")
    print(_summary(ratios))


def _trials(case: Case, count: int) -> tuple[list[float], list[float]]:
    """Return the latencies by `bench.measure`, and the seconds of each of its calls."""
    prepared = prepare(case)
    times_s, costs_s = [], []
    for _ in range(count):
        start_s = time.perf_counter()
        found = bench.measure(
            prepared.module,
            *prepared.args,
            mode=case.mode,
            loss=prepared.loss if case.mode == "training" else None,
            keywords=prepared.kwargs,
        )
        costs_s.append(time.perf_counter() - start_s)
        times_s.append(found.latency.median_s)
    return times_s, costs_s


def _summary(ratios: Sequence[float]) -> str:
    if not ratios:
        return "nothing was measured"
    within = sum(abs(one - 1) <= 0.05 for one in ratios)
    return f"within 5 %: {within} of {len(ratios)}; from {min(ratios):.3f} to {max(ratios):.3f}"


if __name__ == "__main__":
    main()
