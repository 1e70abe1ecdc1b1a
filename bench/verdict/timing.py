"""Compare times with a baseline of the same machine: which got worse, and how sure that is.

If there are enough earlier runs of the machine, the time is compared with their prediction
interval, which holds a further run of the same code.  Otherwise the two runs are compared, and the
between-run SD is included for each.  The p-values are corrected over all cases; without the
correction, 96 % of suites with 60 cases of identical code would have a false alarm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import ndtri
from scipy.stats import false_discovery_control

from bench.compare.cases import CaseRows, by_case, same_machine, whole
from bench.compare.speedup import estimate, of_replicates
from bench.core.records import Row
from bench.core.text import number_of
from bench.results.results import Medians, Results
from bench.stats import between_runs, ratios
from bench.stats.ratios import ALPHA, POWER, Estimate
from bench.verdict.report import Finding, Verdict

ENOUGH_HISTORY = 5  # earlier runs for a useful prediction interval
# All cases of a run share the run's deviation, so a correction over the cases helps little: at 5 %,
# one identical suite in twenty would fail a build (`python -m experiments.checked`).
SURE_ALPHA = 0.01  # level of REGRESSED, IMPROVED and SAME; that of SUSPECT is ALPHA
# SD of the log of `control_s` over the cases of one run, which all have the same controls
# (results/example).  It is used if there are too few earlier runs to know their scatter.
CONTROL_SD = 0.04
EXPLAINED = 0.5  # the controls explain a slowdown if they show this share of it, on logs


@dataclass(frozen=True, slots=True)
class Timed:
    """A figure that is a duration, or the reciprocal of a duration.

    duration: the column whose replicates are compared; a longer duration is worse.
    """

    name: str
    duration: str


TIMED = (
    Timed("latency_median_s", "latency_median_s"),
    Timed("images_per_s", "pipelined_s"),
)


@dataclass(frozen=True, slots=True)
class TimeTest:
    """The estimates for one time of one case.

    direct:     value / base, with the between-run SD of both runs.
    replicates: value / base from the replicates alone, without the between-run SD.
    predicted:  value / centre of the earlier runs; None if there are too few.
    controls:   the same ratio for the controls; None if one run has no controls.
    """

    case_id: str
    figure: Timed
    base: Row
    value: Row
    direct: Estimate
    replicates: Estimate
    predicted: Estimate | None = None
    controls: Estimate | None = None

    @property
    def used(self) -> Estimate:
        """The estimate for the verdict."""
        return self.predicted or self.direct

    @property
    def alarming(self) -> Estimate:
        """The estimate for an alarm.

        Without earlier runs an alarm is at most a SUSPECT, which fails no build.  So the
        between-run SD is treated as known exactly (infinite degrees of freedom).
        """
        return self.predicted or replace(self.direct, df=math.inf)


def tests_of(
    both: Mapping[str, tuple[CaseRows, CaseRows]],
    run: Results,
    baseline: Results,
    history: Sequence[Results],
) -> list[TimeTest]:
    """Return a test for each time of each case that both runs have."""
    medians = baseline.medians, run.medians
    earlier = [by_case(one) for one in history]
    tests = []
    for case_id, (base_case, value_case) in both.items():
        base, value = whole(base_case), whole(value_case)
        if base is None or value is None:
            continue
        past = _past(case_id, base, earlier)
        tests += [
            test_of(case_id, figure, (base, value), medians, past)
            for figure in TIMED
            if None not in (getattr(base, figure.duration), getattr(value, figure.duration))
        ]
    return tests


def test_of(
    case_id: str,
    figure: Timed,
    both: tuple[Row, Row],
    medians: tuple[Medians, Medians],
    past: Sequence[Row],
) -> TimeTest:
    """Return the test of one time.

    both:    the row of the baseline, then that of the run.
    medians: the medians of the replicates of each run.
    past:    the rows of the case in the other earlier runs.
    """
    base, value = both
    names = (figure.duration, figure.duration)
    return TimeTest(
        case_id,
        figure,
        base,
        value,
        estimate(base, value, names, *medians, same_run=False)[0].reciprocal(),
        of_replicates(base, value, names, *medians).reciprocal(),
        predicted(past, base, value, figure.duration),
        controls_of(past, base, value),
    )


def _past(case_id: str, base: Row, earlier: Sequence[Mapping[str, CaseRows]]) -> list[Row]:
    """Return the rows of the case in earlier runs of the baseline's machine."""
    found = (run.get(case_id, {}).get(base.phase) for run in earlier)
    return [one for one in found if one is not None and one.machine_id == base.machine_id]


def predicted(past: Sequence[Row], base: Row, value: Row, column: str) -> Estimate | None:
    """Return value / earlier runs; None if there are too few.

    The baseline counts as one of the earlier runs.
    """
    known = [time for row in (*past, base) if (time := getattr(row, column)) is not None]
    if len(known) <= ENOUGH_HISTORY or getattr(base, column) is None:
        return None
    return ratios.prediction(known, getattr(value, column))


def controls_of(past: Sequence[Row], base: Row, value: Row) -> Estimate | None:
    """Return the time of the controls relative to the earlier runs, or to the baseline.

    None if one run has no controls.
    """
    if not base.control_s or not value.control_s:
        return None
    found = predicted(past, base, value, "control_s")
    if found is not None:
        return found
    return Estimate(
        math.log(value.control_s / base.control_s), CONTROL_SD * math.sqrt(2), math.inf, 2
    )


def findings_of(
    tests: Sequence[TimeTest], threshold: float, families: int = 1
) -> dict[str, list[Finding]]:
    """Return a finding for each test, by case.

    The p-values of one machine are corrected together (Benjamini–Hochberg).

    families: the number of such groups of tests that are decided apart; each is decided for all
              of them (Bonferroni).
    """
    log_bound = math.log1p(threshold)
    testable = [
        one for one in tests if same_machine(one.base, one.value) and one.used.error is not None
    ]
    worse = _adjusted({id(one): one.alarming.p_above(0.0) for one in testable}, families)
    better = _adjusted({id(one): one.used.p_below(0.0) for one in testable}, families)
    seen = _adjusted({id(one): one.replicates.p_above(log_bound) for one in testable}, families)
    family = len({one.case_id for one in testable}) * families
    findings: dict[str, list[Finding]] = {}
    for one in tests:
        verdict: Verdict
        if not same_machine(one.base, one.value):
            verdict, note = "ADVISORY", "another machine"
        elif id(one) not in worse:
            verdict, note = "INCONCLUSIVE", "one run has one replicate only: its noise is unknown"
        else:
            ps = _Ps(worse[id(one)], better[id(one)], seen.get(id(one)))
            verdict, note = _timed(one, ps, log_bound, family)
        findings.setdefault(one.case_id, []).append(_finding(one, verdict, note))
    return findings


def _adjusted(ps: Mapping[int, float | None], families: int) -> dict[int, float]:
    """Return the corrected p-values; unknown ones are left out."""
    known = {key: p for key, p in ps.items() if p is not None}
    if not known:
        return {}
    corrected = map(float, false_discovery_control(list(known.values())))
    return {key: min(1.0, families * p) for key, p in zip(known, corrected, strict=True)}


@dataclass(frozen=True, slots=True)
class _Ps:
    """p-values of one test, corrected over all cases."""

    worse: float
    better: float
    # Of "not slower by more than τ", from the replicates alone; None if a run has only one.
    seen: float | None


def _timed(test: TimeTest, ps: _Ps, log_bound: float, family: int) -> tuple[Verdict, str]:
    """Return the verdict and the note of one time on the baseline's machine."""
    # The slowdown must exceed τ against the baseline as well.  A user accepts a slowdown by
    # storing a new, slower baseline.
    logs = (test.used.log, test.direct.log)
    where = _where(test)
    if min(logs) > log_bound and ps.worse < ALPHA:
        moved = _machine_moved(test)
        sure = test.predicted is not None and ps.worse < SURE_ALPHA and not moved
        return "REGRESSED" if sure else "SUSPECT", "; ".join(filter(None, (where, moved)))
    if max(logs) < -log_bound and ps.better < SURE_ALPHA:
        return "IMPROVED", where
    # The between-run SD must not hide a difference that the replicates show: the note reports it.
    if ps.seen is not None and ps.seen < ALPHA:
        reason = _scatter(test) if ps.worse >= ALPHA else _slower_than_earlier(test)
        return "INCONCLUSIVE", f"{test.replicates.ratio:.2f} times the baseline, {reason}"
    # Two one-sided tests within ±τ: code that is slower by τ is SAME in at most 1 % of runs.
    inside = test.used.p_below(log_bound), test.used.p_above(-log_bound)
    if all(p is not None and p < SURE_ALPHA for p in inside):
        return "SAME", where
    effect = _smallest_effect(test, log_bound, family)
    return "INCONCLUSIVE", f"{where}; smallest slowdown found 4 times in 5: {effect:.0%}"


def _where(test: TimeTest) -> str:
    if test.predicted is not None:
        return f"against {test.predicted.n} earlier runs"
    return f"{number_of(test.direct.n, 'replicate')}, {_between(test)}"


def _slower_than_earlier(test: TimeTest) -> str:
    """Return the note of a slowdown that is certain, but smaller than the threshold."""
    if test.predicted is None:
        return f"more than two runs differ by ({_between(test)}), but within the threshold"
    times = f"{test.used.ratio:.2f} times {test.predicted.n} earlier runs"
    return f"and {times}, which is within the threshold"


def _scatter(test: TimeTest) -> str:
    if test.predicted is not None:
        return f"within the scatter of {test.predicted.n} earlier runs"
    return f"but two runs of the same code may differ as much ({_between(test)})"


def _between(test: TimeTest) -> str:
    sds = [between_runs.from_row(line, test.figure.duration) for line in (test.base, test.value)]
    return between_runs.describe(sds)


def _smallest_effect(test: TimeTest, log_bound: float, family: int) -> float:
    """Return the slowdown of this case alone that would be found four times in five, a ratio - 1.

    A slowdown is found if it is REGRESSED, or SUSPECT if there are too few earlier runs.
    """
    error, df = test.alarming.error or 0.0, test.alarming.df
    alpha = (SURE_ALPHA if test.predicted is not None else ALPHA) / family
    reach = max(log_bound, ratios.quantile(1 - alpha, df) * error)
    return math.expm1(reach + float(ndtri(POWER)) * error)


def _machine_moved(test: TimeTest) -> str:
    """Return a note if the controls explain the slowdown, else an empty text.

    They do if they took longer as well, by half of the slowdown or more, and significantly so.
    This can only weaken a verdict, because a case need not follow the controls exactly.
    """
    moved = test.controls
    if moved is None or moved.log < EXPLAINED * test.used.log:
        return ""
    p = moved.p_above(0.0)
    if p is None or p >= ALPHA:
        return ""
    return (
        f"the reference work took {moved.ratio:.2f} times as long, which explains at least half of "
        "the slowdown"
    )


def _finding(test: TimeTest, verdict: Verdict, note: str) -> Finding:
    used = test.direct if verdict == "ADVISORY" else test.used
    low, high = used.interval() or (None, None)
    doubts = sorted(
        {
            flag
            for row in (test.base, test.value)
            for flag in row.flag_names
            if flag in ("contended", "throttled", "unsteady", "growing", "bimodal")
        }
    )
    return Finding(
        case_id=test.case_id,
        phase=str(test.base.phase),
        figure=test.figure.name,
        base=getattr(test.base, test.figure.name),
        value=getattr(test.value, test.figure.name),
        ratio=used.ratio,
        ratio_low=low,
        ratio_high=high,
        verdict=verdict,
        note=note + (f"; {', '.join(doubts)}" if doubts else ""),
    )
