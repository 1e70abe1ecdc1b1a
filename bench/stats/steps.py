"""Find steps in a series of runs: the times before and after a change differ.  Pure.

A step is the split with the largest t.  Because it was chosen for its t, it needs the null
distribution of that maximum, which is simulated (James, James & Siegmund 1987 have an
approximation).  Further gates keep a series silent that noise explains: a floor, the share of pairs
that agree, and intervals that do not overlap.  `python -m experiments.history_rates` has the error
rates.
"""

import functools
import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from bench.stats.intervals import t_quantile

LEAST = 5  # runs on either side of a step
FLOOR = 0.05  # a smaller change is no finding
AGREEING = 0.85  # share of the pairs (a run before, a run after) that must agree
FALSE_SHARE = 0.0003  # of the findings, by Benjamini and Hochberg
SUGGESTED = 0.005  # p of a split that may be a step
ABRUPT = 0.5  # share of a step that has to be seen in the LEAST runs on either side
SPIKE = 4.0  # robust SDs from the runs around it, beyond which a single run does not count
CORRELATED = 0.25  # lag-1 correlation from which on t is reduced
DRIFTING = 0.5  # from which on no step is told from the drift
# A level that differs by less than this share of a step has returned.
RETURNED = 0.5

SEED = 20
DRAWS = 4_000_000  # numbers in a simulation
MOST_SERIES, LEAST_SERIES = 40_000, 4_000
GRID = (10, 11, 12, 14, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 200, 320, 500, 1000)

Logs = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Level:
    """The runs between two steps, as logs.  low, high: the 95 % interval of their centre."""

    start: int
    end: int
    centre: float
    low: float
    high: float

    @property
    def runs(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Step:
    """A change from one level to the next.

    p:      of the largest t of all splits where there is no step.
    agrees: share of the pairs (a run before, a run after) that moved as the centres did.
    near:   the change as a log between the LEAST runs before and after it.
    low, high: 95 % interval of the change, as a log.
    """

    before: Level
    after: Level
    p: float
    agrees: float
    near: float
    low: float
    high: float

    @property
    def at(self) -> int:
        """The index of the first run after it."""
        return self.after.start

    @property
    def log(self) -> float:
        return self.after.centre - self.before.centre

    @property
    def ratio(self) -> float:
        """The time after / the time before."""
        return math.exp(self.log)

    def passes(self, floor: float) -> bool:
        """Return whether it is large and abrupt, nearly all pairs agree, and the levels are apart.

        A drift is large, but not abrupt.
        """
        apart = self.before.high < self.after.low or self.after.high < self.before.low
        large = abs(self.log) >= math.log1p(floor)
        abrupt = self.near / self.log >= ABRUPT if self.log else False
        return large and apart and abrupt and self.agrees >= AGREEING


@dataclass(frozen=True, slots=True)
class Fitted:
    """A series in levels.

    p:      of its most significant step; 1 if it has none.
    drifts: why no step can be told from a drift; empty if none is seen.
    """

    levels: tuple[Level, ...]
    steps: tuple[Step, ...]
    p: float
    drifts: str = ""


def fit(logs: Sequence[float], splits: Collection[int] | None = None) -> Fitted:
    """Split a series at its steps.

    splits: indices at which a new level may begin; None: every index.

    There have to be at least 2 * LEAST values.
    """
    values = without_spikes(np.asarray(logs, dtype=np.float64))
    allowed = np.zeros(len(values) + 1, dtype=bool)
    allowed[list(range(len(values)) if splits is None else splits)] = True
    found = _split(values, allowed, 0, len(values))
    cuts = [0, *sorted(found), len(values)]
    levels = tuple(_level(values, start, end) for start, end in itertools.pairwise(cuts))
    kept = _kept_of_t(values, levels)
    steps = tuple(_step(values, *pair, kept) for pair in itertools.pairwise(levels))
    p = min((one.p for one in steps), default=1.0)
    return Fitted(levels, steps, p, _drift(values, levels))


def without_spikes(values: Logs) -> Logs:
    """Replace a run that lies far from the runs around it by their median (Hampel 1974).

    A median of five runs keeps a step where it is, and loses one or two spikes.
    """
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values, 2, mode="reflect"), 5)
    middle = np.median(around, axis=1)
    away = values - middle
    # The SD of normal noise is 1.4826 times the median; about a third of the distances is 0.
    scale = 1.4826 * float(np.median(np.abs(away[away != 0.0]))) if away.any() else 0.0
    kept: Logs = np.where(np.abs(away) > SPIKE * scale, middle, values)
    return kept


def _split(values: Logs, allowed: NDArray[np.bool_], start: int, end: int) -> list[int]:
    """Split a part of the series as long as its largest t is significant (Vostrikova 1981).

    This only suggests the places: each step is tested afterwards between its own two levels.
    """
    part, there = values[start:end], allowed[start:end]
    best = _best(part, there)
    if best is None:
        return []
    index, t = best
    cuts = [index] if p_of_largest(t, len(part)) <= SUGGESTED else _window(part, there)
    if not cuts:
        return []
    at = [start + one for one in cuts]
    edges = [start, *at, end]
    return at + [
        one for pair in itertools.pairwise(edges) for one in _split(values, allowed, *pair)
    ]


def _window(values: Logs, allowed: NDArray[np.bool_]) -> list[int]:
    """Return the ends of the runs in the middle that differ from all others; empty if none do.

    A level that was left and came back shows in no single split (Olshen et al. 2004).  The bound
    of Bonferroni holds over all windows.
    """
    count = len(values)
    indices = np.arange(LEAST, count - LEAST + 1)
    indices = indices[allowed[indices]]
    if count < 3 * LEAST or len(indices) < 2:
        return []
    centred = values - values.mean()
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    length = indices[None, :] - indices[:, None]
    inside = sums[indices][None, :] - sums[indices][:, None]
    fits = (length >= LEAST) & (length <= count - 2 * LEAST)
    if not fits.any():
        return []
    size = np.where(fits, length, 1)
    between = np.where(fits, inside**2 * (1 / size + 1 / (count - size)), 0.0)
    first, second = np.unravel_index(int(np.argmax(between)), between.shape)
    total = float((centred**2).sum())
    t = _t(total, total - float(between[first, second]), count)
    single = 2 * float(special.stdtr(count - 2, -t))
    if single * int(fits.sum()) > SUGGESTED:
        return []
    return [int(indices[first]), int(indices[second])]


def _best(values: Logs, allowed: NDArray[np.bool_]) -> tuple[int, float] | None:
    """Return the split with the largest |t|, and that t; None if there is nothing to split."""
    count = len(values)
    indices = np.arange(LEAST, count - LEAST + 1)
    indices = indices[allowed[indices]] if count >= 2 * LEAST else indices[:0]
    if not len(indices):
        return None
    squares = _squares_left(values[None, :], indices)[0]
    at = int(np.argmin(squares))
    total = float(((values - values.mean()) ** 2).sum())
    if total <= 1e-18 * count:  # all values are equal
        return None
    return int(indices[at]), _t(total, float(squares[at]), count)


def _t(total: float, left: float, count: int) -> float:
    """Return |t| of a split.  total, left: sums of squares around one mean and around two."""
    left = max(left, 1e-12 * total)  # levels without noise
    return math.sqrt(max(0.0, (total - left) / left * (count - 2))) if total else 0.0


def _kept_of_t(values: Logs, levels: Sequence[Level]) -> float:
    """Return the factor for every t where neighbouring runs are alike.

    The variance of a mean of AR(1) noise is larger by (1 + r) / (1 - r).
    """
    r = _corrected_lag1(values, levels)
    return math.sqrt((1 - r) / (1 + r)) if r > CORRELATED else 1.0


def _squares_left(values: Logs, indices: NDArray[np.int64]) -> Logs:
    """Return the sum of squares around both means, for each series and split."""
    count = values.shape[1]
    centred = values - values.mean(axis=1, keepdims=True)
    sums = np.cumsum(centred, axis=1)[:, indices - 1]
    between = sums**2 * (1 / indices + 1 / (count - indices))
    left: Logs = (centred**2).sum(axis=1, keepdims=True) - between
    return left


def p_of_largest(t: float, count: int) -> float:
    """Return the p of the largest |t| over all splits of `count` values without a step.

    From the simulation, and beyond its reach from the bound of Bonferroni over the splits.
    """
    single = 2 * float(special.stdtr(count - 2, -abs(t)))
    bound = min(1.0, (count - 2 * LEAST + 1) * single)
    smallest = _null(next((one for one in GRID if one >= count), GRID[-1]))
    simulated = (1 + int(np.searchsorted(smallest, single, side="right"))) / (1 + len(smallest))
    return min(bound, simulated)


@functools.cache
def _null(count: int) -> Logs:
    """Return the smallest single p of each simulated series without a step, sorted."""
    series = max(LEAST_SERIES, min(MOST_SERIES, DRAWS // count))
    rng = np.random.default_rng([SEED, count])
    indices = np.arange(LEAST, count - LEAST + 1)
    smallest = []
    for _ in range(4):  # a quarter at a time needs a quarter of the memory
        values = rng.standard_normal((series // 4, count))
        total = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        left = _squares_left(values, indices).min(axis=1)
        t = np.sqrt((total - left) / left * (count - 2))
        smallest.append(2 * special.stdtr(count - 2, -t))
    found: Logs = np.sort(np.concatenate(smallest))
    return found


def _level(values: Logs, start: int, end: int) -> Level:
    own = values[start:end]
    centre = float(own.mean())
    half = t_quantile(len(own) - 1) * float(own.std(ddof=1)) / math.sqrt(len(own))
    return Level(start, end, centre, centre - half, centre + half)


def _step(values: Logs, before: Level, after: Level, kept: float) -> Step:
    one, two = values[before.start : before.end], values[after.start : after.end]
    both = values[before.start : after.end]
    left = float(((one - one.mean()) ** 2).sum() + ((two - two.mean()) ** 2).sum())
    t = kept * _t(float(((both - both.mean()) ** 2).sum()), left, len(both))
    sign = 1.0 if after.centre > before.centre else -1.0
    ordered = np.sort(sign * one)
    agreeing = int(np.searchsorted(ordered, sign * two, side="left").sum())
    low, high = _welch(one, two)
    near = float(two[:LEAST].mean() - one[-LEAST:].mean())
    p = p_of_largest(t, len(both))
    return Step(before, after, p, agreeing / (len(one) * len(two)), near, low, high)


def _welch(one: Logs, two: Logs) -> tuple[float, float]:
    """Return the 95 % interval of the difference of the centres (Welch 1947)."""
    parts = [float(each.var(ddof=1)) / len(each) for each in (one, two)]
    centre, variance = float(two.mean() - one.mean()), sum(parts)
    if not variance:
        return centre, centre
    df = variance**2 / sum(
        part**2 / (len(each) - 1) for part, each in zip(parts, (one, two), strict=True)
    )
    half = float(special.stdtrit(df, 0.975)) * math.sqrt(variance)
    return centre - half, centre + half


def _residuals(values: Logs, levels: Sequence[Level]) -> Logs:
    left = values.copy()
    for level in levels:
        left[level.start : level.end] -= level.centre
    return left


def _corrected_lag1(values: Logs, levels: Sequence[Level]) -> float:
    """Return the lag-1 correlation, with the bias that the fitted levels cause (Kendall 1954)."""
    residuals = _residuals(values, levels)
    total = float((residuals**2).sum())
    if total <= 0:
        return 0.0
    r = float((residuals[1:] * residuals[:-1]).sum()) / total
    return min(0.95, r + len(levels) * (1 + 3 * r) / len(values))


def _drift(values: Logs, levels: Sequence[Level]) -> str:
    """Return why levels are no good description of a series; empty if they are."""
    if len(levels) == 1:
        return ""
    residuals = _residuals(values, levels)
    r = _corrected_lag1(values, levels)
    if r > DRIFTING:
        return f"neighbouring runs are alike (correlation {r:.2f})"
    of_levels = _bic(residuals, 2 * len(levels) - 1)  # their centres and their places
    if _wandering_bic(values) < of_levels:
        return "it wanders without a clear step"
    index = np.arange(len(values), dtype=np.float64)
    slope, intercept = np.polyfit(index, values, 1)
    on_line = values - (intercept + slope * index)
    if _bic(on_line, 2) < of_levels:
        change = math.expm1(abs(float(slope)) * (len(values) - 1))
        more = "more" if slope > 0 else "less"
        return f"it moves steadily ({100 * change:.0f} % {more} from the first run to the last)"
    return ""


def _bic(residuals: Logs, parameters: int) -> float:
    """Return the criterion of Schwarz (1978): the smaller one describes a series better."""
    count = len(residuals)
    mean_square = max(float((residuals**2).mean()), 1e-18)
    return count * math.log(mean_square) + parameters * math.log(count)


WANDERING = np.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0])


def _wandering_bic(values: Logs) -> float:
    """Return the criterion for a random walk that is seen through noise.

    It is the local level model, with each ratio of the two variances in WANDERING (Harvey 1989,
    section 2.2): the first value begins the level.
    """
    level, variance = np.full(len(WANDERING), values[0]), np.ones(len(WANDERING))
    squares, logs = np.zeros(len(WANDERING)), np.zeros(len(WANDERING))
    for value in values[1:]:
        variance = variance + WANDERING
        of_value = variance + 1
        surprise = value - level
        squares += surprise**2 / of_value
        logs += np.log(of_value)
        level = level + variance / of_value * surprise
        variance = variance / of_value
    count = len(values) - 1
    fits = count * np.log(np.maximum(squares / count, 1e-18)) + logs
    return float(fits.min()) + 2 * math.log(count)


def lasting(fitted: Fitted) -> list[Step]:
    """Return the steps without those that a later level undid.

    A rise that came back is gone, with its fall.  A fall that came back leaves the rise: the code
    is slower again than it was.
    """
    gone: set[int] = set()
    for number, step in enumerate(fitted.steps):
        for later in range(number + 1, len(fitted.steps)):
            left = fitted.steps[later].after.centre - step.before.centre
            if abs(left) < RETURNED * abs(step.log) and number not in gone:
                gone.add(number)
                if step.log > 0:
                    gone |= set(range(number, later + 1))
                break
    return [step for number, step in enumerate(fitted.steps) if number not in gone]


def significant(ps: Sequence[float]) -> float:
    """Return the largest p that is significant among all judged series (Benjamini & Hochberg 1995).

    0 if none is.
    """
    if not ps:
        return 0.0
    adjusted = stats.false_discovery_control(ps)
    return max((p for p, own in zip(ps, adjusted, strict=True) if own <= FALSE_SHARE), default=0.0)
