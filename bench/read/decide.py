"""The verdicts of a paired comparison.  Pure functions of numbers.

A pair is two fresh processes, one of each side, that took turns; its value is the median of the
paired log-differences of their samples, log(B / A).  Pairs are the unit of noise: everything is
Student's t over pairs, of which eight and more have their mean trimmed (Yuen 1974): a neighbour on
the host that slows one process of a pair for a while leaves pairs far out on either side.

In two stages: every case gets FIRST_PAIRS; those that may have become slower get FRESH_PAIRS more,
and of these cases the fresh pairs alone decide, corrected for their number (Benjamini & Hochberg
1995), since the first ones have chosen them.  Where the second stage ended before a case had enough
of those, its first pairs decide, among the first pairs of all cases: as without a second stage.
`python -m tests.perf.replay` shows how often that is wrong.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.read.stats import ALPHA, POWER, Estimate, quantile

Stage = Literal["first", "fresh"]
STAGES: tuple[Stage, ...] = ("first", "fresh")
FIRST_PAIRS = 6
FRESH_PAIRS = 16
# Pairs of a stage after which a clear case gets no more.
LOOKS: Mapping[Stage, tuple[int, ...]] = {"first": (4,), "fresh": (8, 12)}
LEAST_FRESH = LOOKS["fresh"][0]  # that decide without the first ones; fewer find less than these do
CLEARLY_SAME = 0.01  # of each of the two one-sided tests
# Looking early costs the last look nothing where the early one is so strict (Haybittle 1971,
# Peto 1976); over all cases that are measured again, hence shared among them (Bonferroni).
CLEARLY_WORSE = 0.001
SUSPECT_P = 0.2  # of the first pairs, against "not slower at all"
# Six pairs that agree by luck shall not call a slowed case the same.
SAME_ALPHA = 0.02
# Of the pairs at either end, left out of the mean.  Of fewer pairs every one is needed.
TRIMMED = 0.2
LEAST_TRIMMED = 8
AGREEING = 0.75  # of the pairs, that a difference is one of them all and not of a few
LEAST_NULL_RUNS = 5
NULL_RUNS = 20  # of this machine, whose null cases bound what may be called a difference

Verdict = Literal["REGRESSED", "IMPROVED", "SAME", "INCONCLUSIVE", "UNTRUSTED"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One phase of one case: the values of its pairs, log(B / A)."""

    key: str
    first: tuple[float, ...]
    fresh: tuple[float, ...] = ()
    higher_is_better: bool = False
    threshold: float | None = None  # as a ratio - 1; None = the run's

    @property
    def decisive(self) -> tuple[float, ...]:
        """The values that decide, larger is worse."""
        sign = -1.0 if self.higher_is_better else 1.0
        values = self.fresh if len(self.fresh) >= LEAST_FRESH else self.first
        return tuple(sign * value for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the pairs of one case say.  Ratios are B / A in the figure's own unit."""

    key: str
    verdict: Verdict
    ratio: float | None
    low: float | None  # of the 95 % interval
    high: float | None
    p: float | None  # one-sided, of "not worse by more than the threshold"
    p_adjusted: float | None  # over the family that was judged together
    smallest_effect: float | None  # that this run would have found four times in five, ratio - 1
    pairs: int
    pairs_needed: int | None  # to find twice the threshold four times in five
    note: str = ""


def pair_value(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Median of log(b / a) over the turns that both sides have; None where there is none.

    a, b: samples in the order of the turns.  A sample that is no positive number spoils its pair.
    """
    turns = list(zip(a, b, strict=False))
    if not turns or not all(math.isfinite(x) and x > 0 for turn in turns for x in turn):
        return None
    return statistics.median(math.log(y / x) for x, y in turns)


def suspects(cases: Sequence[Case], threshold: float) -> tuple[str, ...]:
    """The cases that get fresh pairs: beyond half of the threshold, and not by chance alone.

    One pair says nothing of chance: it is a suspect, too, where it lies beyond.
    """
    found = []
    for case in cases:
        values = case.decisive
        # One pair far out hides five that agree; only a choice is made here, so one may go.
        estimate = _estimate(values, cut=1 if len(values) >= FIRST_PAIRS else 0)
        if estimate is None or estimate.log <= math.log1p(_own(case, threshold)) / 2:
            continue
        p = estimate.p_above(0.0)
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
    surely not that no further pair could turn it, which can only make fewer REGRESSED.
    """
    return any(
        all(_clear(one, stage, look, threshold, family) for one in phases)
        for look in LOOKS[stage]
        if look <= number
    )


def _clear(case: Case, stage: Stage, look: int, threshold: float, family: int) -> bool:
    pairs = case.first if stage == "first" else case.fresh
    seen = dataclasses.replace(case, first=pairs[:look], fresh=())
    estimate = _estimate(seen.decisive)
    if estimate is None or estimate.n < look:
        return False
    bound = math.log1p(_own(case, threshold))
    worse, below = estimate.p_above(bound), estimate.p_below(bound)
    above = estimate.p_above(-bound)
    if worse is None or below is None or above is None:  # one pair alone
        return False
    if stage == "first":
        same = below < CLEARLY_SAME and above < CLEARLY_SAME
        return same and not suspects([seen], threshold)
    return worse < CLEARLY_WORSE / family or below < ALPHA


def decide(
    cases: Sequence[Case],
    null: Sequence[Case],
    threshold: float,
    null_history: Sequence[float] = (),
) -> tuple[Decision, ...]:
    """A verdict for each case.

    null:         A against A, measured along; if one is called different, nothing is believed.
    threshold:    what counts as slower, a ratio - 1.
    null_history: mean values of the null cases of this machine's last runs: a threshold under twice
                  their mean would call the machine's own bias a difference.
    """
    least = bias(null_history)
    flagged = [
        one.key
        for one in _judged(null, threshold, least)
        if one.verdict in ("REGRESSED", "IMPROVED")
    ]
    decisions = _judged(cases, threshold, least)
    if not flagged:
        return decisions
    why = f"A against itself was called different ({', '.join(flagged)}): nothing here is believed"
    return untrusted(decisions, why)


def _judged(cases: Sequence[Case], threshold: float, least: float) -> tuple[Decision, ...]:
    """The family that may be worse: those with enough fresh pairs, and no other case.

    But for suspects that have too few: these are judged on their first pairs, and their family is
    all cases with theirs.
    """
    asked = {one.key: math.log1p(_own(one, threshold)) for one in cases}
    bounds = {key: max(bound, math.log1p(least)) for key, bound in asked.items()}
    estimates = {one.key: _estimate(one.decisive) for one in cases}
    again = [one for one in cases if len(one.fresh) >= LEAST_FRESH]
    firsts = [dataclasses.replace(one, fresh=()) for one in cases]
    worse = _adjusted(again, estimates, bounds, sign=1)
    waiting = set(suspects(firsts, max(threshold, least))) if again else {one.key for one in cases}
    if left := waiting - {one.key for one in again}:
        of_first = {one.key: _estimate(one.decisive) for one in firsts}
        among_all = _adjusted(firsts, of_first, bounds, sign=1)
        worse |= {key: p for key, p in among_all.items() if key in left}
    better = _adjusted(cases, estimates, bounds, sign=-1)
    return tuple(
        _decision(
            one,
            estimates[one.key],
            _Bounds(bounds[one.key], asked[one.key]),
            worse.get(one.key),
            better.get(one.key),
        )
        for one in cases
    )


def _adjusted(
    family: Sequence[Case],
    estimates: Mapping[str, Estimate | None],
    bounds: Mapping[str, float],
    *,
    sign: int,
) -> dict[str, float]:
    """p of "not worse than the bound" (sign 1) or "not better" (-1), after Benjamini–Hochberg."""
    raw: dict[str, float] = {}
    for one in family:
        estimate = estimates[one.key]
        if estimate is None:
            continue
        p = estimate.p_above(bounds[one.key]) if sign > 0 else estimate.p_below(-bounds[one.key])
        if p is not None:
            raw[one.key] = p
    if not raw:
        return {}
    from scipy.stats import false_discovery_control  # a second that reading a table need not pay

    return dict(zip(raw, map(float, false_discovery_control(list(raw.values()))), strict=True))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Logs.  A machine's own bias makes it harder to be different, not easier to be the same."""

    different: float
    same: float


def _decision(
    case: Case,
    estimate: Estimate | None,
    bounds: _Bounds,
    worse: float | None,
    better: float | None,
) -> Decision:
    bound = bounds.different
    if estimate is None:
        return Decision(
            key=case.key, verdict="INCONCLUSIVE", ratio=None, low=None, high=None, p=None,
            p_adjusted=None, smallest_effect=None, pairs=0, pairs_needed=None,
            note="no pair has samples of both sides",
        )  # fmt: skip
    verdict, note = _verdict(case.decisive, estimate, bounds.same, worse, better)
    shown = estimate.flipped() if case.higher_is_better else estimate
    low, high = shown.interval() or (None, None)
    return Decision(
        key=case.key,
        verdict=verdict,
        ratio=shown.ratio,
        low=low,
        high=high,
        p=estimate.p_above(bound),
        p_adjusted=worse,
        smallest_effect=estimate.smallest_effect(math.expm1(bound)),
        pairs=estimate.n,
        pairs_needed=None if verdict != "INCONCLUSIVE" else _pairs_needed(estimate, bound),
        note=note,
    )


def _verdict(
    values: Sequence[float],
    estimate: Estimate,
    bound: float,
    worse: float | None,
    better: float | None,
) -> tuple[Verdict, str]:
    """The mean has to be beyond the bound, and most pairs have to point its way.

    bound: within which it is the same.
    """
    slower = sum(value > 0 for value in values) >= AGREEING * len(values)
    faster = sum(value < 0 for value in values) >= AGREEING * len(values)
    below, above = estimate.p_below(bound), estimate.p_above(-bound)
    if below is None or above is None:
        return "INCONCLUSIVE", "one pair says nothing of chance"
    if worse is not None and worse < ALPHA and slower:
        return "REGRESSED", ""
    if better is not None and better < ALPHA and faster:
        return "IMPROVED", ""
    if below < SAME_ALPHA and above < SAME_ALPHA:  # two one-sided tests (Schuirmann 1987)
        return "SAME", ""
    return "INCONCLUSIVE", ""


def _pairs_needed(estimate: Estimate, bound: float) -> int | None:
    """Pairs after which twice the threshold is found four times in five, with this scatter."""
    if not estimate.error or estimate.n < 2:
        return None
    scatter = estimate.error * math.sqrt(estimate.n)
    room = math.log1p(2 * math.expm1(bound)) - bound
    pairs = 2
    while pairs < 10_000:
        df = pairs - 2 * _cut(pairs) - 1
        reach = quantile(1 - ALPHA, df) + quantile(POWER, df)
        if reach * scatter / math.sqrt(pairs) <= room:
            return pairs
        pairs += max(1, pairs // 10)
    return None


def untrusted(decisions: Sequence[Decision], why: str) -> tuple[Decision, ...]:
    """The same figures, none of which is believed."""
    return tuple(dataclasses.replace(one, verdict="UNTRUSTED", note=why) for one in decisions)


def _cut(pairs: int) -> int:
    """How many of them the mean leaves out at either end."""
    return int(TRIMMED * pairs) if pairs >= LEAST_TRIMMED else 0


def _estimate(values: Sequence[float], cut: int | None = None) -> Estimate | None:
    """Trimmed mean over pairs, its error from the winsorized ones; None where there is no pair.

    cut: how many are left out at either end; None = what so many pairs can spare.
    """
    n = len(values)
    if not n:
        return None
    cut = _cut(n) if cut is None else cut
    kept = sorted(values)[cut : n - cut]
    error = None
    if len(kept) > 1:
        winsorized = [*[kept[0]] * cut, *kept, *[kept[-1]] * cut]
        squares = statistics.variance(winsorized) * (n - 1)
        error = math.sqrt(squares / (len(kept) * (len(kept) - 1)))
    return Estimate(math.fsum(kept) / len(kept), error, len(kept) - 1, n)


def _own(case: Case, threshold: float) -> float:
    return threshold if case.threshold is None else case.threshold


def bias(null_history: Sequence[float]) -> float:
    """Twice the mean of what A against A came to, as a ratio - 1; 0 of fewer than LEAST_NULL_RUNS.

    One comparison's null case is off by chance; only what many have in common is the machine's.
    """
    last = list(null_history)[-NULL_RUNS:]
    return math.expm1(2 * abs(statistics.fmean(last))) if len(last) >= LEAST_NULL_RUNS else 0.0
