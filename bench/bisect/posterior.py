"""The probability of each commit to be the one that changed a case, given the measured pairs.

The commits are numbered 1 to n on the first-parent line, the oldest first; 0 is GOOD and n is BAD.
A pair of GOOD and commit `c` has the value log(time of c / time of GOOD).  If commit `b` made the
change, this value scatters around 0 for c < b, and around the effect for c >= b.  Neither the size
of the effect nor the scatter of a pair is known, so all plausible sizes are weighed together.  The
scatter has the heavy tails of Student's t: a pair that other work disturbed decides little.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

DEGREES = 4.0  # of freedom of a pair's scatter
# Scale of a pair: lognormal prior.  The pairs of the ConvNet's cases scatter by 1.4 to 1.9 %
# (bench.ab.interleave); a busy machine has several times as much.
SCALE, SCALE_LOG_SD = 0.015, 0.8
SCALES = np.geomspace(0.001, 0.3, 30)
EFFECTS = np.geomspace(0.002, 3.0, 150)  # absolute values of the log ratio

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Suspects:
    """Neighbouring commits that no pair can tell apart, because none between them can run.

    first, last: their numbers.  share: their probability together.
    """

    first: int
    last: int
    share: float


@dataclass
class Posterior:
    """Probabilities over the commits 1 to n.

    prior: a weight for each commit, the oldest first.
    slower: whether BAD is slower than GOOD.
    """

    prior: Sequence[float]
    slower: bool = True
    _values: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    _factors: dict[int, float] = field(default_factory=lambda: defaultdict(lambda: 1.0))
    _known: list[float] | None = None  # the last result of `shares`

    def __post_init__(self) -> None:
        if not self.prior or min(self.prior) <= 0:
            raise ValueError("every commit needs a prior weight above 0")

    @property
    def commits(self) -> int:
        return len(self.prior)

    def add(self, commit: int, value: float) -> None:
        """Add the value of a pair of GOOD and this commit, log(commit / GOOD)."""
        if not 0 < commit <= self.commits:
            raise ValueError(f"commit {commit} is not one of 1 to {self.commits}")
        self._values[commit].append(value)
        self._known = None

    def weigh(self, commit: int, factor: float) -> None:
        """Multiply the weight of one commit, for evidence that is not a pair with GOOD."""
        self._factors[commit] *= factor
        self._known = None

    def pairs(self, commit: int) -> int:
        return len(self._values.get(commit, ()))

    def shares(self) -> list[float]:
        """Return the probability of each commit, the oldest first.  They add up to 1."""
        if self._known is None:
            logs = self._logs()
            weights = np.exp(logs - logs.max()).sum(axis=(1, 2))
            self._known = [float(one) for one in weights / weights.sum()]
        return list(self._known)

    def effect(self) -> tuple[float, float]:
        """Return the median of the effect and of a pair's scale, as absolute log ratios."""
        logs = self._logs()
        weights = np.exp(logs - logs.max()).sum(axis=0)
        return _median(EFFECTS, weights.sum(axis=1)), _median(SCALES, weights.sum(axis=0))

    def change(self) -> float:
        """Return the median of the effect as log(BAD / GOOD): above 0 is slower."""
        size, _ = self.effect()
        return size if self.slower else -size

    def _logs(self) -> Array:
        """Return the logarithm of the weight by commit, effect and scale."""
        shape = (self.commits + 1, len(EFFECTS), len(SCALES))
        changed, unchanged = np.zeros(shape), np.zeros(shape)
        sign = 1.0 if self.slower else -1.0
        for commit, values in self._values.items():
            for value in values:
                changed[commit] += _t_log((value - sign * EFFECTS)[:, None] / SCALES)
                unchanged[commit] += _t_log(value / SCALES)
        # Commit b is the change: pairs of earlier commits are unchanged, the others changed.
        before = np.cumsum(unchanged, axis=0)[:-1]
        after = np.cumsum(changed[::-1], axis=0)[::-1][1:]
        own = np.log(
            [weight * self._factors[number] for number, weight in enumerate(self.prior, start=1)]
        )
        found: Array = before + after + _scale_prior() + own[:, None, None]
        return found


def effect_interval(values: Sequence[float], level: float) -> tuple[float, float]:
    """Return the interval of the centre of these pairs, which disturbed pairs hardly move.

    values: log ratios of one commit, at least two.  level: its probability, such as 0.99.
    """
    half = max(np.ptp(values), 0.01)
    centres = np.linspace(min(values) - half, max(values) + half, 1201)
    logs = _scale_prior() + np.zeros((len(centres), len(SCALES)))
    for value in values:
        logs += _t_log((value - centres)[:, None] / SCALES)
    weights = np.exp(logs - logs.max()).sum(axis=1)
    total = np.cumsum(weights) / weights.sum()
    low, high = np.searchsorted(total, [(1 - level) / 2, (1 + level) / 2])
    return float(centres[low]), float(centres[high])


def _scale_prior() -> Array:
    found: Array = -0.5 * (np.log(SCALES / SCALE) / SCALE_LOG_SD) ** 2
    return found


def _t_log(z: Array) -> Array:
    """Return the logarithm of Student's density at z, per scale; constants are left out."""
    found: Array = -(DEGREES + 1) / 2 * np.log1p(z**2 / DEGREES) - np.log(SCALES)
    return found


def _median(values: Array, weights: Array) -> float:
    return float(values[np.searchsorted(np.cumsum(weights), weights.sum() / 2)])


def groups(shares: Sequence[float], broken: Iterable[int]) -> list[Suspects]:
    """Return the commits in groups that pairs can tell apart, the oldest first.

    shares: by commit, from 1.  broken: commits that cannot be measured.  A broken commit and the
    next one are in one group, since only a pair of the broken one could tell them apart.
    """
    cannot = set(broken)
    found, first = [], 1
    for number in range(1, len(shares) + 1):
        if number in cannot and number < len(shares):
            continue
        found.append(Suspects(first, number, math.fsum(shares[first - 1 : number])))
        first = number + 1
    return found


def best(shares: Sequence[float], broken: Iterable[int]) -> Suspects:
    """Return the most probable group."""
    return max(groups(shares, broken), key=lambda one: one.share)


def next_commit(
    shares: Sequence[float], broken: Iterable[int], costs: Mapping[int, float] | None = None
) -> int | None:
    """Return the commit whose pair splits the probability most nearly in half; None: no such.

    costs: a factor by commit for its expected use, such as 0.9 for one that is not set up yet.
    """
    cannot, total = set(broken), 0.0
    usable: dict[int, float] = {}
    for number, share in enumerate(shares[:-1], start=1):  # BAD itself splits nothing
        total += share
        if number not in cannot:
            usable[number] = min(total, 1 - total) * (costs or {}).get(number, 1.0)
    return max(usable, key=lambda one: usable[one], default=None)
