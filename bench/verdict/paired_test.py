"""The verdicts of a paired comparison.  Pure functions of numbers.

A pair is two fresh processes, one of each variant, that took turns.  Its value is the median of
log(B / A) over the paired samples.  Pairs are the unit of noise, so every test is one over pairs
(`bench.verdict.evidence`).

There are two stages.  Every case gets first pairs.  Suspects get fresh pairs as well, and these
alone decide about them, because the first pairs have chosen the suspects.  The p-values are
corrected for the looks (`bench.verdict.looks`) and for the number of cases (Benjamini & Hochberg
1995).  If the second stage ended before a suspect had enough fresh pairs, its first pairs decide,
corrected over all cases.  Fewer than FIRST_PAIRS decide nothing, except that a case is clearly the
same after FIRST_LOOK.

A case is SAME only if its centre, the mean over its pairs and the mean of its samples are the
same.  The centre alone is not enough: code that is slow in one call of three, or in one process of
five, has the same median.  `python -m experiments.replay` shows how often a verdict is wrong.
"""

import dataclasses
import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from bench.stats.ratios import Estimate, quantile
from bench.verdict.evidence import cut_of, estimate, p_above
from bench.verdict.looks import (
    ALPHA,
    FIRST_ALPHA,
    FIRST_LOOK,
    FIRST_PAIRS,
    LEAST_FRESH,
    Stage,
    planned,
    taken,
)

SUSPECT_P = 0.2  # a suspect has a smaller p of "not slower at all" in its first pairs
# Low, so that pairs which agree by luck do not make a slower case SAME: at most one in a thousand
# of the cases that are slower by 7 % and more, at a threshold of 5 %.
SAME_ALPHA = 0.01
MEAN_ALPHA = 0.05  # level of the tests on the two means; a case that is the same passes them too
TRIMMED_SAMPLES = 0.1  # the share of a variant's samples that its mean leaves out at each end
LEAST_NULL_RUNS = 5  # earlier comparisons for an estimate of the machine's bias
NULL_RUNS = 20  # the newest earlier comparisons that are used for it
NULL_LEVEL = 0.99  # two-sided level of the interval whose nearer end is the bias

PairVerdict = Literal["REGRESSED", "IMPROVED", "SAME", "INCONCLUSIVE", "UNTRUSTED"]
# The effect of more pairs on an undecided phase.
Outlook = Literal[
    "more pairs",  # a larger plan can decide it: `pairs_needed` pairs
    "go on",  # it lacks pairs of its plan
    "given up",  # a look ended it, so no plan adds a pair
    "too noisy",  # no number of pairs that was simulated is enough
]
TOO_FEW = f"fewer than {FIRST_PAIRS} pairs decide nothing"


Key = Hashable  # identifies a phase of a case; messages show its `str`


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedPhase:
    """One phase of one case: the values of its pairs, log(B / A).

    first, fresh:             the medians over the samples (`pair_value`).
    first_means, fresh_means: the means (`mean_value`) in the same order; None: as the medians.
    """

    key: Key
    first: tuple[float, ...]
    fresh: tuple[float, ...] = ()
    first_means: tuple[float, ...] | None = None
    fresh_means: tuple[float, ...] | None = None
    higher_is_better: bool = False
    threshold: float | None = None  # as a ratio - 1; None: that of the run

    @property
    def decisive(self) -> tuple[float, ...]:
        """The values that decide; a larger one is worse."""
        return self._worse(self.fresh if self.again else self.first)

    @property
    def decisive_means(self) -> tuple[float, ...]:
        """The means of the pairs that decide; a larger one is worse."""
        values = self.fresh if self.again else self.first
        means = self.fresh_means if self.again else self.first_means
        return self._worse(values if means is None else means)

    @property
    def again(self) -> bool:
        """Return whether it has enough fresh pairs, so that these decide."""
        return len(self.fresh) >= LEAST_FRESH

    def of_first(self, pairs: int | None = None) -> "PairedPhase":
        """Return the case with only its first pairs, at most `pairs` of them."""
        means = None if self.first_means is None else self.first_means[:pairs]
        return dataclasses.replace(
            self, first=self.first[:pairs], first_means=means, fresh=(), fresh_means=None
        )

    def worse_fresh(self) -> tuple[float, ...]:
        """Return its fresh pairs; a larger value is worse."""
        return self._worse(self.fresh)

    def _worse(self, values: Sequence[float]) -> tuple[float, ...]:
        sign = -1.0 if self.higher_is_better else 1.0
        return tuple(sign * value for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision about one phase of one case.  Ratios are B / A of the figure itself."""

    key: Key
    verdict: PairVerdict
    ratio: float | None
    low: float | None  # of the 95 % interval
    high: float | None
    p: float | None  # one-sided, of "not worse by more than the threshold"
    p_adjusted: float | None  # corrected for the looks and for the family of tests
    pairs: int
    smallest_effect: float | None = None  # `bench.verdict.power`
    pairs_needed: int | None = None
    outlook: Outlook | None = None
    note: str = ""


def pair_value(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return the median of log(b / a) over the turns that both have; None if there are none.

    a, b: samples in the order of the turns.  The result is None if one is not a positive number.
    """
    turns = _turns(a, b)
    return statistics.median(math.log(y / x) for x, y in turns) if turns else None


def mean_value(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return log(b / a) of the two trimmed means of the samples; None as in `pair_value`.

    It shows slow calls that are too few to change the median.
    """
    turns = _turns(a, b)
    if not turns:
        return None
    left, right = (_trimmed_mean(side) for side in zip(*turns, strict=True))
    return math.log(right / left)


def _turns(a: Sequence[float], b: Sequence[float]) -> list[tuple[float, float]]:
    turns = list(zip(a, b, strict=False))
    usable = all(math.isfinite(x) and x > 0 for turn in turns for x in turn)
    return turns if usable else []


def _trimmed_mean(samples: Sequence[float]) -> float:
    cut = int(TRIMMED_SAMPLES * len(samples))
    return statistics.fmean(sorted(samples)[cut : len(samples) - cut])


def suspects(cases: Sequence[PairedPhase], threshold: float) -> tuple[Key, ...]:
    """Return the cases that get fresh pairs, by their first pairs.

    A suspect is slower by more than half of the threshold, and probably not by chance.  Of a
    single pair the chance is unknown, so the first condition is enough.
    """
    found = []
    for case in cases:
        values = case.of_first().decisive
        # One outlier would hide five pairs that agree.  It may be cut, since this only selects.
        seen = estimate(values, max(1, cut_of(len(values))) if len(values) >= FIRST_PAIRS else 0)
        if seen is None or seen.log <= math.log1p(_own(case, threshold)) / 2:
            continue
        p = seen.p_above(0.0)
        if p is None or p < SUSPECT_P:
            found.append(case.key)
    return tuple(found)


def settled(
    phases: Sequence[PairedPhase], stage: Stage, number: int, threshold: float, family: int
) -> bool:
    """Return whether a look before pair `number` of a stage decided a case; it gets no more pairs.

    phases: the phases of one case with the pairs of both stages; in the second stage, the
            suspected phases.
    family: number of phases of all cases that are measured again.

    The first stage ends early if the case is clearly the same.  The second stage ends early if it
    is clearly worse, or if more pairs are unlikely to show it worse.  The latter can only make
    fewer cases REGRESSED.
    """
    if stage == "first":
        return number >= FIRST_LOOK and all(_clearly_same(one, threshold) for one in phases)
    bounds = [math.log1p(_own(one, threshold)) for one in phases]
    return any(
        all(
            _clear(one, look.pairs, bound, family)
            for one, bound in zip(phases, bounds, strict=True)
        )
        for look in planned(number)
    )


def _clearly_same(case: PairedPhase, threshold: float) -> bool:
    if len(case.first) < FIRST_LOOK:
        return False
    seen = case.of_first(FIRST_LOOK)
    return _doubt(seen, math.log1p(_own(case, threshold))) is None and not suspects(
        [seen], threshold
    )


def _clear(case: PairedPhase, pairs: int, bound: float, family: int) -> bool:
    """Return whether a look after at most `pairs` fresh pairs decided the case.  bound: a log."""
    if len(case.fresh) < pairs:
        return False
    values, worst = case.worse_fresh(), 1.0
    for look in planned(pairs):
        worse, below = _looked(values[: look.pairs], bound)
        worst = min(worst, worse * ALPHA / look.share)
        if worst <= ALPHA / max(family, 1) or below < look.hopeless:
            return True
    return False


@lru_cache(maxsize=4096)  # each is needed again before every pair of its case
def _looked(values: tuple[float, ...], bound: float) -> tuple[float, float]:
    """Return p of "not above the bound" and of "not below the bound", for at least two pairs."""
    found, worse = estimate(values), p_above(values, bound)
    below = None if found is None else found.p_below(bound)
    assert worse is not None
    assert below is not None
    return worse, below


def decide(
    cases: Sequence[PairedPhase],
    null: Sequence[PairedPhase],
    threshold: float,
    null_history: Sequence[float] = (),
) -> tuple[Decision, ...]:
    """Return a verdict for each case.

    null:         the null cases; if one of them differs, all verdicts are UNTRUSTED.
    threshold:    the smallest slowdown that matters, a ratio - 1.
    null_history: values of the null cases of earlier comparisons on this machine.  The threshold
                  is at least twice the bias that they have in common (`bias`).
    """
    least = bias(null_history)
    flagged = [
        one.key
        # A comparison in which every case is clearly the same has so many null pairs.
        for one in _judged(null, threshold, least, pairs=FIRST_LOOK)
        if one.verdict in ("REGRESSED", "IMPROVED")
    ]
    decisions = _judged(cases, threshold, least)
    if not flagged:
        return decisions
    named = ", ".join(map(str, flagged))
    why = f"the null case, A against itself, differed ({named}), so no time is trusted"
    return untrusted(decisions, why)


def _judged(
    cases: Sequence[PairedPhase], threshold: float, least: float, pairs: int = FIRST_PAIRS
) -> tuple[Decision, ...]:
    """Return a decision for each case.

    The cases with enough fresh pairs are one family for the correction.  A suspect with too few
    is tested on its first pairs, and its family is all cases with their first pairs.

    least: the machine's bias, a ratio - 1.
    pairs: the number of first pairs that is needed for a decision.
    """
    asked = {one.key: math.log1p(_own(one, threshold)) for one in cases}
    bounds = {key: max(bound, math.log1p(least)) for key, bound in asked.items()}
    chosen = suspects(cases, max(threshold, least))
    again = [one for one in cases if one.again]
    family = len({*chosen, *(one.key for one in again)})
    worse = _adjusted({one.key: _fresh_p(one, bounds[one.key], family) for one in again})
    waiting = {*chosen} - {one.key for one in again}
    if waiting:
        firsts = {
            one.key: _p(one.of_first().decisive, bounds[one.key], pairs) * ALPHA / FIRST_ALPHA
            for one in cases
        }
        worse |= {key: p for key, p in _adjusted(firsts).items() if key in waiting}
    better = _adjusted(
        {one.key: _p([-value for value in one.decisive], bounds[one.key], pairs) for one in cases}
    )
    return tuple(
        _decision(
            one,
            _Bounds(bounds[one.key], asked[one.key]),
            worse.get(one.key),
            better[one.key],
            enough=len(one.decisive) >= pairs or _clearly_same(one, threshold),
        )
        for one in cases
    )


def _p(values: Sequence[float], bound: float, least: int) -> float:
    p = p_above(values, bound) if len(values) >= least else None
    return 1.0 if p is None else p


def _fresh_p(case: PairedPhase, bound: float, family: int) -> float:
    """Return the smallest p-value of a suspect's looks, each divided by its share of ALPHA."""
    values = case.worse_fresh()
    clear = _clear(case, len(values), bound, family)
    looks = taken(len(values), settled=clear)
    return min(1.0, *(_looked(values[: one.pairs], bound)[0] * ALPHA / one.share for one in looks))


def _adjusted(raw: Mapping[Key, float]) -> dict[Key, float]:
    """Return the p-values, corrected by Benjamini–Hochberg."""
    if not raw:
        return {}
    from scipy.stats import false_discovery_control  # its import takes a second

    ps = [min(1.0, p) for p in raw.values()]
    return dict(zip(raw, map(float, false_discovery_control(ps)), strict=True))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Thresholds as logs.

    The bias of the machine raises the one for a difference, and not the one for SAME.
    """

    different: float
    same: float


def _decision(
    case: PairedPhase, bounds: _Bounds, worse: float | None, better: float, *, enough: bool
) -> Decision:
    """Return the decision about one case.

    worse, better: corrected p-values; `worse` is None for a case that is not a suspect.
    enough:        there are enough pairs to decide.
    """
    found = estimate(case.decisive)
    if found is None:
        return Decision(
            key=case.key, verdict="INCONCLUSIVE", ratio=None, low=None, high=None, p=None,
            p_adjusted=None, pairs=0, note="no pair has samples of both sides",
        )  # fmt: skip
    verdict, note = _verdict(case, found, bounds, worse, better, enough=enough)
    shown = found.reciprocal() if case.higher_is_better else found
    low, high = shown.interval() or (None, None)
    return Decision(
        key=case.key,
        verdict=verdict,
        ratio=shown.ratio,
        low=low,
        high=high,
        p=p_above(case.decisive, bounds.different),
        p_adjusted=worse,
        pairs=found.n,
        note=note,
    )


def _verdict(
    case: PairedPhase,
    found: Estimate,
    bounds: _Bounds,
    worse: float | None,
    better: float,
    *,
    enough: bool,
) -> tuple[PairVerdict, str]:
    if found.error is None:
        return "INCONCLUSIVE", "the noise is unknown from a single pair"
    if not enough:
        return "INCONCLUSIVE", TOO_FEW
    # An early look may be worse by luck, so the estimate over all pairs must exceed the bound too.
    if worse is not None and worse <= ALPHA and found.log > bounds.different:
        return "REGRESSED", ""
    if better <= ALPHA and found.log < -bounds.different:
        return "IMPROVED", ""
    doubt = _doubt(case, bounds.same)
    return ("SAME", "") if doubt is None else ("INCONCLUSIVE", doubt)


def _doubt(case: PairedPhase, bound: float) -> str | None:
    """Return None if the case is the same within the bound, else the reason why it is not.

    The reason is empty if already the centre is not the same.  Each of the three tests is a TOST
    (Schuirmann 1987).
    """
    values, means = case.decisive, case.decisive_means
    if not _within(estimate(values), bound, SAME_ALPHA):
        return ""
    over_pairs, of_samples = estimate(values, cut=0), estimate(means)
    for found, name, where in (
        (of_samples, "the mean of its samples", "some calls may be slow"),
        (over_pairs, "the mean over all pairs", "some processes may be slow"),
    ):
        if not _within(found, bound, MEAN_ALPHA):
            return _centre_alone(found, bound, name, where, turned=case.higher_is_better)
    return None


def _within(found: Estimate | None, bound: float, alpha: float) -> bool:
    if found is None:
        return False
    below, above = found.p_below(bound), found.p_above(-bound)
    return below is not None and above is not None and max(below, above) < alpha


def _centre_alone(
    found: Estimate | None, bound: float, name: str, where: str, *, turned: bool
) -> str:
    """Return the note of a case whose centre is the same and one of whose means is not.

    turned: a larger figure is better, so the log changes its sign before it is shown.
    """
    if found is None:
        return f"the centre is the same, but {name} is unknown"
    shown = f"{100 * math.expm1(-found.log if turned else found.log):+.1f} %"
    if found.log > bound:
        return f"the centre is the same, but {name} changed by {shown}: {where}"
    return f"the centre is the same, but {name} ({shown}) is too uncertain"


def untrusted(decisions: Sequence[Decision], why: str) -> tuple[Decision, ...]:
    """Return the decisions with the verdict UNTRUSTED.  why: the note for all of them."""
    return tuple(dataclasses.replace(one, verdict="UNTRUSTED", note=why) for one in decisions)


def _own(case: PairedPhase, threshold: float) -> float:
    return threshold if case.threshold is None else case.threshold


def bias(null_history: Sequence[float]) -> float:
    """Return twice the bias of the null cases, as a ratio - 1; 0 for too few comparisons.

    A single null case differs from 1 by chance, and a single comparison may be disturbed.  So the
    bias is the part that all have in common: the end of the interval of their trimmed mean that
    is nearer to 0, and at most their median.
    """
    last = list(null_history)[-NULL_RUNS:]
    if len(last) < LEAST_NULL_RUNS:
        return 0.0
    middle = estimate(last, cut=max(1, len(last) // 5))
    assert middle is not None
    assert middle.error is not None
    beyond = abs(middle.log) - quantile((1 + NULL_LEVEL) / 2, middle.df) * middle.error
    return math.expm1(2 * max(0.0, min(beyond, abs(statistics.median(last)))))
