"""Racing: which candidates may still be the best, from the rounds that were measured.  Pure.

A round measures candidates close together in fresh processes: what rounds differ by cancels in the
difference of two candidates' logarithms.  A candidate is dropped once its simultaneous interval
against the leader lies above zero.  The spread is pooled over candidates, because that of three
rounds alone is small by chance too often.

Source of the idea: Maron and Moore, Hoeffding races (1994); here with Student's t on paired logs
and a Bonferroni correction over the candidates that are left.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.stats.intervals import t_quantile

# Standard deviation of a candidate's log in one round, assumed before it can be estimated.  It is
# large on purpose: with few rounds a candidate is dropped only when it is far behind.
PRIOR_SD = 0.06
PRIOR_FACTOR = 4.0
LEAST_ROUNDS = 3  # from here on the spread is estimated
LEAST_SD = 0.01  # of a round: a spread below it is chance
LEVEL = 0.95

Costs = Mapping[int, float]  # round → what is minimised, above 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate against the leader.

    ratio: its cost as a multiple of the leader's, with a simultaneous interval.
    """

    key: str
    ratio: float
    low: float
    high: float
    rounds: int

    @property
    def behind(self) -> bool:
        """Return whether it is slower than the leader beyond doubt."""
        return self.low > 1.0


@dataclass(frozen=True, slots=True)
class Race:
    """The state of the race.  standings: all but the leader, the nearest first."""

    leader: str
    standings: tuple[Standing, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """Candidates that may be the best, the leader first."""
        return (self.leader, *(one.key for one in self.standings if not one.behind))

    @property
    def widest(self) -> float:
        """The half width of the widest interval of the candidates left, as a ratio; 0 for one."""
        near = [one for one in self.standings if not one.behind]
        return max((one.high / one.ratio - 1.0 for one in near), default=0.0)


def standing(costs: Mapping[str, Costs], baseline: str | None = None) -> Race:
    """Return the state after these rounds.

    baseline: the key that has a cost in every round, with which candidates of different rounds are
              compared; None or a missing one = the key with the most rounds.

    Raises ValueError without any candidate.
    """
    known = {key: rounds for key, rounds in costs.items() if rounds}
    if not known:
        raise ValueError("no candidate has a cost")
    if baseline not in known:
        baseline = max(known, key=lambda key: len(known[key]))
    leader = _leader(known, known[baseline])
    differences = {
        key: _differences(rounds, known[leader]) for key, rounds in known.items() if key != leader
    }
    differences = {key: found for key, found in differences.items() if found}
    spread, df = _pooled(list(differences.values()))
    found = [
        _standing(key, values, spread, df, len(differences)) for key, values in differences.items()
    ]
    return Race(leader, tuple(sorted(found, key=lambda one: one.ratio)))


def _leader(costs: Mapping[str, Costs], baseline: Costs) -> str:
    """Return the fastest candidate of the latest round, which holds no dropped ones."""
    latest = max(max(rounds) for rounds in costs.values())
    running = {key: rounds for key, rounds in costs.items() if latest in rounds}

    def score(key: str) -> float:
        return statistics.fmean(_differences(running[key], baseline) or [math.inf])

    return min(running, key=score)


def _differences(rounds: Costs, leader: Costs) -> list[float]:
    """Return log(cost / other cost) for each round that both candidates have."""
    return [math.log(rounds[one] / leader[one]) for one in rounds if one in leader]


def _pooled(differences: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the pooled standard deviation of a round, and its degrees of freedom.

    Candidates share the leader, so the degrees of freedom are counted as those of its rounds with
    the median number, not as their sum.
    """
    estimated = [one for one in differences if len(one) >= LEAST_ROUNDS]
    if not estimated:
        return PRIOR_SD, 0
    variance = statistics.fmean(statistics.variance(one) for one in estimated)
    rounds = statistics.median_low([len(one) for one in estimated])
    shared = 1 + math.log2(len(estimated))  # grows slowly: they are not independent
    return max(math.sqrt(variance), LEAST_SD), round((rounds - 1) * shared)


def _standing(
    key: str, values: Sequence[float], spread: float, df: int, candidates: int
) -> Standing:
    centre = statistics.fmean(values)
    if df == 0 or len(values) < LEAST_ROUNDS:
        half = PRIOR_FACTOR * PRIOR_SD * math.sqrt(2.0 / len(values))
    else:
        own = max(spread, statistics.stdev(values))
        level = 1.0 - (1.0 - LEVEL) / candidates
        half = t_quantile(df, level) * own / math.sqrt(len(values))
    return Standing(
        key, math.exp(centre), math.exp(centre - half), math.exp(centre + half), len(values)
    )
