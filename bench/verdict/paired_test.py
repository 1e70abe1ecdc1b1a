"""The verdicts of a paired comparison.  Pure functions of numbers.

A pair is two fresh processes, one of each side, that took turns; its value is the median of the
paired log-differences of their samples, log(B / A).  Pairs are the unit of noise: every test is one
over pairs (`bench.verdict.evidence`).

In two stages: every case gets its first pairs; those that may have become slower get fresh ones,
and of these cases the fresh pairs alone decide, since the first ones have chosen them.  Their
p-values are corrected for the looks at them (`bench.verdict.looks`) and for the number of cases
(Benjamini & Hochberg 1995).  Where the second stage ended before a case had enough of those, its
first pairs decide, among the first pairs of all cases.  Fewer than FIRST_PAIRS decide nothing, but
for what is clearly the same after FIRST_LOOK.

A case is the same where its centre is, and the mean over its pairs, and the mean of its samples:
code that is slow in one call of three, or in one process of five, has the same median.
`python -m experiments.replay` shows how often a verdict is wrong.
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

SUSPECT_P = 0.2  # of the first pairs, against "not slower at all"
# Pairs that agree by luck shall not call a slowed case the same: of cases slowed by 7 % and more,
# at a threshold of 5 %, at most one in a thousand.
SAME_ALPHA = 0.01
MEAN_ALPHA = 0.05  # of the tests on the two means, which what is the same throughout passes as well
TRIMMED_SAMPLES = 0.1  # of a side's samples at either end, left out of their mean
LEAST_NULL_RUNS = 5
NULL_RUNS = 20  # of this machine, whose null cases bound what may be called a difference
NULL_LEVEL = 0.99  # two-sided: the machine's bias is what these runs have beyond chance

Verdict = Literal["REGRESSED", "IMPROVED", "SAME", "INCONCLUSIVE", "UNTRUSTED"]
# What more pairs could do for a phase that stayed undecided.
Outlook = Literal[
    "more pairs",  # beyond its plan, `pairs_needed` of them
    "go on",  # its plan did not come to its end
    "given up",  # a look ended it: no plan adds a pair
    "too noisy",  # for any number of pairs that was tried
]
TOO_FEW = f"fewer than {FIRST_PAIRS} pairs decide nothing"


Key = Hashable  # what a comparison knows a phase of a case by; its `str` is for messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One phase of one case: the values of its pairs, log(B / A).

    first, fresh:             of the middle of the samples (`pair_value`).
    first_means, fresh_means: of their means (`mean_value`), in the same order; None = the same.
    """

    key: Key
    first: tuple[float, ...]
    fresh: tuple[float, ...] = ()
    first_means: tuple[float, ...] | None = None
    fresh_means: tuple[float, ...] | None = None
    higher_is_better: bool = False
    threshold: float | None = None  # as a ratio - 1; None = the run's

    @property
    def decisive(self) -> tuple[float, ...]:
        """The values that decide, larger is worse."""
        return self._worse(self.fresh if self.again else self.first)

    @property
    def decisive_means(self) -> tuple[float, ...]:
        values = self.fresh if self.again else self.first
        means = self.fresh_means if self.again else self.first_means
        return self._worse(values if means is None else means)

    @property
    def again(self) -> bool:
        """Whether it has fresh pairs enough that these decide."""
        return len(self.fresh) >= LEAST_FRESH

    def of_first(self, pairs: int | None = None) -> "Case":
        """The same, with so many of its first pairs alone."""
        means = None if self.first_means is None else self.first_means[:pairs]
        return dataclasses.replace(
            self, first=self.first[:pairs], first_means=means, fresh=(), fresh_means=None
        )

    def worse_fresh(self) -> tuple[float, ...]:
        """Its fresh pairs, larger is worse."""
        return self._worse(self.fresh)

    def _worse(self, values: Sequence[float]) -> tuple[float, ...]:
        sign = -1.0 if self.higher_is_better else 1.0
        return tuple(sign * value for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the pairs of one case say.  Ratios are B / A in the figure's own unit."""

    key: Key
    verdict: Verdict
    ratio: float | None
    low: float | None  # of the 95 % interval
    high: float | None
    p: float | None  # one-sided, of "not worse by more than the threshold"
    p_adjusted: float | None  # over the looks, and the family that was judged together
    pairs: int
    smallest_effect: float | None = None  # `bench.verdict.power`
    pairs_needed: int | None = None
    outlook: Outlook | None = None
    note: str = ""


def pair_value(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Median of log(b / a) over the turns that both sides have; None where there is none.

    a, b: samples in the order of the turns.  A sample that is no positive number spoils its pair.
    """
    turns = _turns(a, b)
    return statistics.median(math.log(y / x) for x, y in turns) if turns else None


def mean_value(a: Sequence[float], b: Sequence[float]) -> float | None:
    """log(b / a) of the two sides' mean samples, of which a tenth at either end is left out.

    It sees what comes in one call of a few, and what the median does not.
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


def suspects(cases: Sequence[Case], threshold: float) -> tuple[Key, ...]:
    """The cases that get fresh pairs: beyond half of the threshold, and not by chance alone.

    Judged by their first pairs.  One pair says nothing of chance: it is a suspect, too, where it
    lies beyond.
    """
    found = []
    for case in cases:
        values = case.of_first().decisive
        # One pair far out hides five that agree; only a choice is made here, so one may go.
        seen = estimate(values, max(1, cut_of(len(values))) if len(values) >= FIRST_PAIRS else 0)
        if seen is None or seen.log <= math.log1p(_own(case, threshold)) / 2:
            continue
        p = seen.p_above(0.0)
        if p is None or p < SUSPECT_P:
            found.append(case.key)
    return tuple(found)


def settled(
    phases: Sequence[Case], stage: Stage, number: int, threshold: float, family: int
) -> bool:
    """Whether a case was clear at a look before pair `number` of a stage: then it gets no more.

    phases: of one case, with the pairs of both stages; in the second those that it is about.
    family: phases of all cases that are measured again.

    In the first stage: called the same beyond doubt.  In the second: worse beyond doubt, or so
    little slower that no further pairs are worth it, which can only make fewer REGRESSED.
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


def _clearly_same(case: Case, threshold: float) -> bool:
    if len(case.first) < FIRST_LOOK:
        return False
    seen = case.of_first(FIRST_LOOK)
    return _doubt(seen, math.log1p(_own(case, threshold))) is None and not suspects(
        [seen], threshold
    )


def _clear(case: Case, pairs: int, bound: float, family: int) -> bool:
    """At the look after so many fresh pairs, or at one before.  bound: a log."""
    if len(case.fresh) < pairs:
        return False
    values, worst = case.worse_fresh(), 1.0
    for look in planned(pairs):
        worse, below = _looked(values[: look.pairs], bound)
        worst = min(worst, worse * ALPHA / look.share)
        if worst <= ALPHA / max(family, 1) or below < look.hopeless:
            return True
    return False


@lru_cache(maxsize=4096)  # each is asked for before every comparison of its case
def _looked(values: tuple[float, ...], bound: float) -> tuple[float, float]:
    """p of "not worse" and of "not within" the bound.  Of two pairs and more."""
    found, worse = estimate(values), p_above(values, bound)
    below = None if found is None else found.p_below(bound)
    assert worse is not None
    assert below is not None
    return worse, below


def decide(
    cases: Sequence[Case],
    null: Sequence[Case],
    threshold: float,
    null_history: Sequence[float] = (),
) -> tuple[Decision, ...]:
    """A verdict for each case.

    null:         A against A, measured along; if one is called different, nothing is believed.
    threshold:    what counts as slower, a ratio - 1.
    null_history: values of the null cases of this machine's last runs: a threshold under twice
                  what they have in common would call the machine's own bias a difference.
    """
    least = bias(null_history)
    flagged = [
        one.key
        # As many as a comparison has in which every case is clearly the same.
        for one in _judged(null, threshold, least, pairs=FIRST_LOOK)
        if one.verdict in ("REGRESSED", "IMPROVED")
    ]
    decisions = _judged(cases, threshold, least)
    if not flagged:
        return decisions
    named = ", ".join(map(str, flagged))
    why = f"A against itself was called different ({named}): nothing here is believed"
    return untrusted(decisions, why)


def _judged(
    cases: Sequence[Case], threshold: float, least: float, pairs: int = FIRST_PAIRS
) -> tuple[Decision, ...]:
    """The family that may be worse: those with enough fresh pairs, and no other case.

    But for suspects that have too few: these are judged on their first pairs, and their family is
    all cases with theirs.

    pairs: first ones, fewer of which decide nothing.
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


def _fresh_p(case: Case, bound: float, family: int) -> float:
    """Of a suspect: the smallest of its looks, each divided by its share of alpha."""
    values = case.worse_fresh()
    clear = _clear(case, len(values), bound, family)
    looks = taken(len(values), settled=clear)
    return min(1.0, *(_looked(values[: one.pairs], bound)[0] * ALPHA / one.share for one in looks))


def _adjusted(raw: Mapping[Key, float]) -> dict[Key, float]:
    """After Benjamini–Hochberg."""
    if not raw:
        return {}
    from scipy.stats import false_discovery_control  # a second that reading a table need not pay

    ps = [min(1.0, p) for p in raw.values()]
    return dict(zip(raw, map(float, false_discovery_control(ps)), strict=True))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Logs.  A machine's own bias makes it harder to be different, not easier to be the same."""

    different: float
    same: float


def _decision(
    case: Case, bounds: _Bounds, worse: float | None, better: float, *, enough: bool
) -> Decision:
    """worse, better: p, adjusted.  enough: pairs to decide on."""
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
    case: Case,
    found: Estimate,
    bounds: _Bounds,
    worse: float | None,
    better: float,
    *,
    enough: bool,
) -> tuple[Verdict, str]:
    if found.error is None:
        return "INCONCLUSIVE", "one pair says nothing of chance"
    if not enough:
        return "INCONCLUSIVE", TOO_FEW
    # An early look may have been worse by luck: what all pairs say has to lie beyond as well.
    if worse is not None and worse <= ALPHA and found.log > bounds.different:
        return "REGRESSED", ""
    if better <= ALPHA and found.log < -bounds.different:
        return "IMPROVED", ""
    doubt = _doubt(case, bounds.same)
    return ("SAME", "") if doubt is None else ("INCONCLUSIVE", doubt)


def _doubt(case: Case, bound: float) -> str | None:
    """Why it cannot be called the same within the bound, "" if its centre cannot; None: it can.

    Two one-sided tests each (Schuirmann 1987).
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
    """turned: larger is better, and the ratio is shown as it is."""
    if found is None:
        return f"the centre is the same, {name} is unknown"
    shown = f"{100 * math.expm1(-found.log if turned else found.log):+.1f} %"
    if found.log > bound:
        return f"the centre is the same, {name} {shown}: {where}"
    return f"the centre is the same, {name} ({shown}) is not known well enough"


def untrusted(decisions: Sequence[Decision], why: str) -> tuple[Decision, ...]:
    """The same figures, none of which is believed."""
    return tuple(dataclasses.replace(one, verdict="UNTRUSTED", note=why) for one in decisions)


def _own(case: Case, threshold: float) -> float:
    return threshold if case.threshold is None else case.threshold


def bias(null_history: Sequence[float]) -> float:
    """Twice what A against A came to beyond chance, as a ratio - 1; 0 of too few runs.

    One comparison's null case is off by chance, and one comparison may have been disturbed: what
    counts is what the runs have in common, the nearer end of the interval of their trimmed mean,
    and no more than their median.
    """
    last = list(null_history)[-NULL_RUNS:]
    if len(last) < LEAST_NULL_RUNS:
        return 0.0
    middle = estimate(last, cut=max(1, len(last) // 5))
    assert middle is not None
    assert middle.error is not None
    beyond = abs(middle.log) - quantile((1 + NULL_LEVEL) / 2, middle.df) * middle.error
    return math.expm1(2 * max(0.0, min(beyond, abs(statistics.median(last)))))
