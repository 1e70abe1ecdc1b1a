"""Simulate how often the 95 % intervals of `bench run` hold the true value.

    python -m experiments.coverage                 4000 draws a line, a minute

Three questions.  A run adds replicates, from 5 up to 10, until the interval over them is narrower
than ± 10 %: does an interval hold what further replicates would give, with t at 95 % and at
STOPPED_LEVEL?  Does that of a ratio, whose replicates were added for the sake of either side?
And does the interval of a time hold what runs of the same code centre on, by the number of earlier
runs that what they differ by is learnt from?
"""

import argparse
import math
import random
import statistics
from collections.abc import Sequence

from bench.stats import between_runs
from bench.stats.intervals import LEVEL, STOPPED_LEVEL, relative_half_width, t_quantile
from bench.stats.ratios import Centre, centre, paired

LEAST, MOST, PRECISION = 5, 10, 0.10
NOISES = (0.04, 0.06, 0.08, 0.10, 0.12, 0.15, 0.20, 0.30)


def stopped(level: float, noise: float, rng: random.Random) -> list[float]:
    """The medians of a case's replicates, as many as its run would take.

    level, noise: mean and SD of their logs.
    """
    found = [rng.lognormvariate(level, noise) for _ in range(LEAST)]
    while len(found) < MOST and (relative_half_width(found) or 0.0) > PRECISION:
        found.append(rng.lognormvariate(level, noise))
    return found


def held_at(medians: Sequence[float], level: float) -> bool:
    """Return whether the interval over the replicates holds 1, from which they were drawn."""
    own = centre(medians)
    half = t_quantile(own.n - 1, level) * math.sqrt(own.variance or 0.0)
    return abs(own.log) <= half


def stopping(draws: int, rng: random.Random) -> None:
    print(f"Intervals over replicates ({LEAST} to {MOST}), by the SD of these")
    for noise in NOISES:
        runs = [stopped(0.0, noise, rng) for _ in range(draws)]
        plain, wide = (
            statistics.fmean(held_at(run, level) for run in runs)
            for level in (LEVEL, STOPPED_LEVEL)
        )
        least = [held_at(run, STOPPED_LEVEL) for run in runs if len(run) == LEAST]
        print(
            f"  SD {noise:3.0%}: t at {LEVEL:.0%} {plain:.1%}, at {STOPPED_LEVEL:.0%} {wide:.1%} "
            f"(of the {len(least) / draws:.0%} that stopped at {LEAST}: "
            f"{statistics.fmean(least) if least else math.nan:.1%}); "
            f"{statistics.fmean(map(len, runs)):.1f} replicates"
        )


def ratios(draws: int, rng: random.Random) -> None:
    print("Intervals of ratios inside a run, paired by replicate, by the SD of each side")
    for noise in NOISES:
        held = []
        for _ in range(draws):
            sides = [stopped(0.0, noise, rng) for _ in range(2)]
            found = paired(*(dict(enumerate(side)) for side in sides))
            ends = found.interval() if found else None
            held.append(ends is not None and ends[0] <= 1 <= ends[1])
        print(f"  SD {noise:3.0%}: {statistics.fmean(held):.1%}")


def times(draws: int, rng: random.Random) -> None:
    counts = (0, 2, 3, 4, 5, 6, 8, 12, 20)
    print("Intervals of times, by SD from run to run, that of replicates, and earlier runs")
    print("                      " + "".join(f"{count:>15}" for count in counts))
    for apart in (0.0, 0.01, 0.02, 0.033, 0.046, 0.07):
        for noise in (0.03, 0.08):
            cells = []
            for count in counts:
                ends = [_time(apart, noise, count, rng) for _ in range(draws)]
                held = statistics.fmean(low <= 0 <= high for low, high in ends)
                half = statistics.median((high - low) / 2 for low, high in ends)
                cells.append(f"{held:7.1%} ±{half:5.1%}")
            print(f"  SD {apart:4.1%} and {noise:3.0%}:    " + "  ".join(cells))


def _time(apart: float, noise: float, earlier: int, rng: random.Random) -> tuple[float, float]:
    """The ends of the interval of one run, as logs, after so many earlier ones."""

    def one_run() -> Centre:
        level = rng.gauss(0, apart)
        return centre(stopped(level, noise, rng))

    known = between_runs.of([one_run() for _ in range(earlier)])
    low, high = between_runs.interval(one_run(), known, stopped=True) or (0.0, math.inf)
    return math.log(low), math.log(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    asked = parser.parse_args()
    stopping(5 * asked.draws, random.Random(1))
    ratios(asked.draws, random.Random(2))
    times(asked.draws, random.Random(3))


if __name__ == "__main__":
    main()
