"""Simulate how often `bench history` reports a change wrongly, and how often it misses one.

`python -m experiments.history_rates [--series N]` simulates series of 50 runs; seeded.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats import steps

RUNS, SD = 50, 0.033
Series = NDArray[np.float64]
Make = Callable[[np.random.Generator], Series]


def flat(rng: np.random.Generator) -> Series:
    return rng.normal(0, SD, RUNS)


def heavy(rng: np.random.Generator) -> Series:
    """Student's t with three degrees of freedom, with the same SD."""
    return rng.standard_t(3, RUNS) * SD / math.sqrt(3)


def spiky(rng: np.random.Generator) -> Series:
    """Return a series in which three runs in a hundred are 25 % slower."""
    return flat(rng) + np.where(rng.random(RUNS) < 0.03, math.log(1.25), 0.0)


def correlated(rng: np.random.Generator) -> Series:
    """A machine that drifts: autocorrelation 0.5, with the same SD."""
    values = np.empty(RUNS)
    values[0] = rng.normal(0, SD)
    for at in range(1, RUNS):
        values[at] = 0.5 * values[at - 1] + rng.normal(0, SD * math.sqrt(0.75))
    return values


def wandering(rng: np.random.Generator) -> Series:
    """A random walk that moves by 1 % from run to run, below the noise of single runs."""
    return np.cumsum(rng.normal(0, 0.01, RUNS)) + rng.normal(0, SD / 2, RUNS)


def creeping(rng: np.random.Generator) -> Series:
    """A steady rise of 10 % over the 50 runs."""
    return flat(rng) + math.log(1.1) * np.arange(RUNS) / (RUNS - 1)


def came_back(rng: np.random.Generator) -> Series:
    """Return a series in which ten runs in the middle are 10 % slower."""
    values = flat(rng)
    values[20:30] += math.log(1.1)
    return values


def stepped(rng: np.random.Generator) -> Series:
    """The last eight runs are 10 % slower."""
    values = flat(rng)
    values[-8:] += math.log(1.1)
    return values


def stepped_spiky(rng: np.random.Generator) -> Series:
    values = spiky(rng)
    values[-8:] += math.log(1.1)
    return values


def stepped_middle(rng: np.random.Generator) -> Series:
    values = flat(rng)
    values[25:] += math.log(1.1)
    return values


UNCHANGED: Mapping[str, Make] = {
    "flat, SD 3.3 %": flat,
    "heavy tails": heavy,
    "3 % of spikes of +25 %": spiky,
    "autocorrelation 0.5": correlated,
    "random walk, 1 % a run": wandering,
    "+10 % over 50 runs, steadily": creeping,
    "+10 % for ten runs, gone again": came_back,
}
CHANGED: Mapping[str, tuple[Make, int]] = {
    "+10 % in the last eight runs": (stepped, RUNS - 8),
    "the same with 3 % of spikes": (stepped_spiky, RUNS - 8),
    "+10 % in the last 25 runs": (stepped_middle, 25),
}
NEAR = 2  # runs between the true place and the found one


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of the series.  found: with a slower finding at the right place."""

    any: float
    drifts: float
    found: float


def rates(make: Make, series: int, seed: int, at: int | None = None) -> Rates:
    """Judge each series as a store of one series."""
    rng = np.random.default_rng([seed, series])
    called = drifts = found = 0
    for _ in range(series):
        fitted = steps.fit(list(make(rng)))
        drifts += bool(fitted.drifts)
        limit = steps.significant([fitted.p])
        lasting = [] if fitted.drifts else steps.lasting(fitted)
        findings = [one for one in lasting if one.p <= limit and one.passes(steps.FLOOR)]
        called += bool(findings)
        found += at is not None and any(
            one.log > 0 and abs(one.at - at) <= NEAR for one in findings
        )
    return Rates(called / series, drifts / series, found / series)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print(f"{asked.series} series each; {RUNS} runs; seed {asked.seed}")
    for name, make in UNCHANGED.items():
        one = rates(make, asked.series, asked.seed)
        print(f"{name:34} false findings {one.any:8.3%}   not judged {one.drifts:8.3%}")
    for name, (make, at) in CHANGED.items():
        one = rates(make, asked.series, asked.seed, at)
        print(f"{name:34} found {one.found:8.2%}   not judged {one.drifts:8.3%}")


if __name__ == "__main__":
    main()
