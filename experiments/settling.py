"""Simulate how often steady work is called unsteady, and slowly settling work is not.

    python -m experiments.settling

Printed first: of kept runs (the example and the baseline) the share of replicates whose samples
moved, as they were taken, and after a line through them was taken out and they were turned by a
random amount, which leaves their noise and its memory but no drift.  Then the share of simulated
steady series by kind of noise.  Last, calls that settle exponentially, on a clock of their own: how
much too slow the median of the samples is, and whether the row says so.
"""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.core.protocol import Budget
from bench.core.records import Measurement, whole_phase
from bench.results import journal
from bench.worker.timing.call_timing import measure
from bench.worker.timing.settling import moved
from tests.support.fake_device import FakeDevice, FakeStep

ROOT = Path(__file__).parents[1]
SERIES = 2000
SAMPLES = 60
SHIFTS = 5  # of each kept series


def kept() -> list[list[tuple[float, ...]]]:
    """The kinds of the whole phase of each kept replicate."""
    found = []
    for path in sorted((ROOT / "results").glob("**/journal.jsonl")):
        for entry in journal.read(path):
            if isinstance(entry, Measurement):
                whole = whole_phase(entry.case.mode)
                kinds = [one.times_s for one in entry.samples if one.phase == whole]
                if min(map(len, kinds), default=0) >= 5:
                    found.append(kinds)
    return found


def without_drift(kinds: Sequence[Sequence[float]], numbers: random.Random) -> list[list[float]]:
    """The same noise in the same order, from another beginning, along a level line."""
    share, turned = numbers.random(), []
    for times_s in kinds:
        logs = [math.log(one) for one in times_s]
        line = statistics.linear_regression(range(len(logs)), logs)
        level = [math.exp(one - line.slope * place) for place, one in enumerate(logs)]
        cut = int(share * len(level))
        turned.append(level[cut:] + level[:cut])
    return turned


def normal(deviation: float) -> Callable[[random.Random], list[float]]:
    return lambda numbers: [math.exp(numbers.gauss(0, deviation)) for _ in range(SAMPLES)]


def remembering(deviation: float, memory: float) -> Callable[[random.Random], list[float]]:
    """Return series in which each log is `memory` times the one before, plus noise."""

    def series(numbers: random.Random) -> list[float]:
        new = deviation * math.sqrt(1 - memory**2)
        logs = [numbers.gauss(0, deviation)]
        while len(logs) < SAMPLES:
            logs.append(memory * logs[-1] + numbers.gauss(0, new))
        return [math.exp(one) for one in logs]

    return series


def bursts(slower: float, begin: float, end: float) -> Callable[[random.Random], list[float]]:
    """Stretches of slower calls; begin, end: probability of each at a sample."""

    def series(numbers: random.Random) -> list[float]:
        inside, times = numbers.random() < begin / (begin + end), []
        for _ in range(SAMPLES):
            inside = numbers.random() >= end if inside else numbers.random() < begin
            times.append(math.exp(numbers.gauss(0, 0.03)) * (slower if inside else 1.0))
        return times

    return series


NOISE = {
    "normal, SD 5 %": normal(0.05),
    "normal, SD 20 %": normal(0.20),
    "SD 10 %, correlation 0.5 with the sample before": remembering(0.10, 0.5),
    "SD 10 %, correlation 0.8": remembering(0.10, 0.8),
    "SD 10 %, correlation 0.95": remembering(0.10, 0.95),
    "bursts of 10 samples, +30 %": bursts(1.3, 0.02, 0.1),
    "bursts of 33 samples, +30 %": bursts(1.3, 0.01, 0.03),
    "one sample in ten doubled": bursts(2.0, 0.1, 0.9),
}


def settles(more: float, time_s: float) -> tuple[float, bool, float]:
    """Return the error of the samples' median, whether it is flagged, and the warm-up seconds."""
    device = FakeDevice(launch_s=0.0, has_events=False, synchronous=True)
    start = device.now_s

    def fade() -> None:
        device.submit(0.0005 * more * math.exp(-(device.now_s - start) / time_s))

    step = FakeStep(device, {"forward": 0.0005}, on_call=fade)
    timing = measure(step, device, Budget(), device.clock, resolution_s=1e-7)
    pipelined = next(one for one in timing.samples if one.kind == "pipelined")
    error = statistics.median(pipelined.times_s) / 0.0005 - 1
    warm_s = timing.timed_s - Budget().samples_s
    return error, not timing.settled or timing.moved is not None, warm_s


def main() -> None:
    numbers = random.Random(0)
    real = kept()
    share = statistics.fmean(moved(one) is not None for one in real)
    print(f"{len(real)} kept replicates: {share:.1%} moved")
    turned = [without_drift(one, numbers) for one in real for _ in range(SHIFTS)]
    share = statistics.fmean(moved(one) is not None for one in turned)
    print(f"the same without drift, turned: {share:.1%}")
    for name, series in NOISE.items():
        share = statistics.fmean(moved([series(numbers)]) is not None for _ in range(SERIES))
        print(f"{name}: {share:.1%}")
    for more, time_s in ((0.5, 0.5), (0.5, 1.0), (1.0, 0.5), (1.0, 5.0), (1.0, 60.0)):
        error, said, warm_s = settles(more, time_s)
        words = "unsteady" if said else "not flagged"
        print(f"+{more:.0%}, {time_s} s: {warm_s:.1f} s of warm-up, error {error:+.1%}, {words}")


if __name__ == "__main__":
    main()
