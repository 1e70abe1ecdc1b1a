"""Suites for a replay: pairs of identical processes, real or made up; one case may be slowed."""

import gzip
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.verdict.looks import FIRST_PAIRS, FRESH_PAIRS
from bench.verdict.paired_test import mean_value, pair_value
from bench.verdict.rule_arrays import Floats
from experiments.rule import Values

Shape = tuple[int, int, int]  # suites, cases, pairs


@dataclass(frozen=True, slots=True)
class Real:
    """The pairs of a file: (cases, pairs)."""

    centres: Floats
    means: Floats


def load(path: Path) -> Real:
    """A line is a pair: by case the samples of its two sides."""
    centres: dict[str, list[float]] = {}
    means: dict[str, list[float]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            for key, (a, b) in json.loads(line)["s"].items():
                centre, mean = pair_value(a, b), mean_value(a, b)
                if centre is None or mean is None:
                    raise ValueError(f"{path}: {key}: a sample that cannot be")
                centres.setdefault(key, []).append(centre)
                means.setdefault(key, []).append(mean)
    if len({len(one) for one in centres.values()}) > 1:
        raise ValueError(f"{path}: cases with more pairs than others")
    return Real(np.array(list(centres.values())), np.array(list(means.values())))


def drawn(
    real: Real,
    suites: int,
    rng: np.random.Generator,
    *,
    joint: bool = False,
    fixed: bool = False,
    replace: bool = True,
) -> tuple[Values, Values]:
    """Draw suites of all the cases of a file: first and fresh pairs.

    joint:   the cases of a suite have the same pairs, and so the same minutes.
    fixed:   sides as they were measured; else which process is called A is drawn: the code is
             identical, and the chance mean of thirty noisy pairs would count as a difference.
    replace: a suite may have a pair more than once; else the fresh pairs are what the first left,
             and those again and again, for there are not enough.
    """
    cases, pairs = real.centres.shape
    rows = 1 if joint else cases
    if replace:
        chosen = rng.integers(pairs, size=(suites, rows, FIRST_PAIRS + FRESH_PAIRS))
    else:
        order = rng.permuted(np.tile(np.arange(pairs), (suites, rows, 1)), axis=-1)
        left = order[..., FIRST_PAIRS:]
        rounds = math.ceil(FRESH_PAIRS / left.shape[-1])
        again = np.concatenate([left] * rounds, -1)[..., :FRESH_PAIRS]
        chosen = np.concatenate([order[..., :FIRST_PAIRS], again], -1)
    chosen = np.broadcast_to(chosen, (suites, cases, chosen.shape[-1]))
    sides = 1 if fixed else rng.choice([-1.0, 1.0], size=(*chosen.shape[:1], rows, chosen.shape[2]))

    def of(values: Floats) -> Floats:
        wide = np.broadcast_to(values, (suites, cases, pairs))
        # A pair that is drawn twice would tie; no two real pairs do.
        tiny = rng.normal(0, 1e-9, chosen.shape)
        return np.asarray(np.take_along_axis(wide, chosen, -1) * sides + tiny)

    return split(Values(of(real.centres), of(real.means)))


def split(both: Values) -> tuple[Values, Values]:
    return both.upto(FIRST_PAIRS), Values(
        both.centres[..., FIRST_PAIRS:], both.means[..., FIRST_PAIRS:]
    )


def slowed(
    both: tuple[Values, Values], effect: float, rng: np.random.Generator
) -> tuple[tuple[Values, Values], NDArray[np.int64]]:
    """Slow one drawn case of each suite by 1 + effect.  Return also the case, by suite."""
    suites, cases, _ = both[0].centres.shape
    which = np.asarray(rng.integers(cases, size=suites), np.int64)
    by = (np.arange(cases)[None, :] == which[:, None])[..., None] * math.log1p(effect)
    first, fresh = (Values(one.centres + by, one.means + by) for one in both)
    return (first, fresh), which


def made(
    kind: str, suites: int, cases: int, sd: float, rng: np.random.Generator
) -> tuple[Values, Values]:
    """Make suites of made-up noise; the mean of a pair's samples is its middle."""
    values = noise(kind, (suites, cases, FIRST_PAIRS + FRESH_PAIRS), sd, rng)
    return split(Values(values, values))


def noise(kind: str, shape: Shape, sd: float, rng: np.random.Generator) -> Floats:
    """Values of pairs of identical processes, as far to one side as to the other.

    sd: of a value; of t₂, which has none, the scale is half of it.
    """
    return np.asarray(NOISES[kind](shape, sd, rng))


def _modes(share: float) -> Callable[[Shape, float, np.random.Generator], Floats]:
    """A process in so many is slow, all of it; the others scatter by a tenth."""

    def values(shape: Shape, sd: float, rng: np.random.Generator) -> Floats:
        apart = sd / math.sqrt(2 * share * (1 - share))
        modes = [(rng.random(shape) < share) * apart for _ in range(2)]
        return np.asarray(modes[0] - modes[1] + rng.normal(0, sd / 10, shape))

    return values


def _spikes(shape: Shape, sd: float, rng: np.random.Generator) -> Floats:
    """Draw noise in which three processes in ten are held up for an exponential time."""
    share = 0.3
    scale = sd / math.sqrt(2 * (2 * share - share**2))
    each = [(rng.random(shape) < share) * rng.exponential(scale, shape) for _ in range(2)]
    return np.asarray(each[0] - each[1] + rng.normal(0, sd / 5, shape))


def _minutes(shape: Shape, sd: float, rng: np.random.Generator) -> Floats:
    """A quarter of the pairs fell into noisy minutes, the same of all cases."""
    loud = rng.random((shape[0], 1, shape[2])) < 0.25
    return np.asarray(rng.normal(0, sd, shape) * np.where(loud, 1.9, 0.25))


def _lognormal(shape: Shape, sd: float, rng: np.random.Generator) -> Floats:
    both = [rng.lognormal(0, 1, shape) for _ in range(2)]
    return np.asarray((both[0] - both[1]) * sd / math.sqrt(2 * (math.e - 1) * math.e))


NOISES: dict[str, Callable[[Shape, float, np.random.Generator], Floats]] = {
    "normal": lambda shape, sd, rng: rng.normal(0, sd, shape),
    "lognormal": _lognormal,
    "t2": lambda shape, sd, rng: rng.standard_t(2, shape) * sd / 2,
    "bimodal": _modes(0.5),
    "rare-mode": _modes(0.125),
    "spikes": _spikes,
    "minutes": _minutes,
}
