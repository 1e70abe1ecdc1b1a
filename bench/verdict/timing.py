"""Times against a baseline of the same machine: which got worse, and how sure that is.

Against earlier runs of the machine where there are enough: their scatter is that of runs, and one
further run of the same code lies within their prediction interval.  Else between the two runs,
with what runs of one code differ by (`between`) counted for each.  p-values are corrected over all
cases (an uncorrected one alarms in 96 % of 60-case suites of identical code).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import ndtri
from scipy.stats import false_discovery_control

from bench.compare.cases import Case, by_case, same_machine, whole
from bench.compare.speedup import estimate, of_replicates
from bench.core.records import Row
from bench.core.text import number_of
from bench.results.results import Medians, Results
from bench.stats import between_runs, ratios
from bench.stats.ratios import ALPHA, POWER, Estimate
from bench.verdict.report import Finding, Verdict

ENOUGH_HISTORY = 5  # earlier runs that make a prediction interval worth having
# All cases of a run share its level, so that a correction over the cases helps little: at 5 % one
# identical suite in twenty would fail a build (`python -m experiments.checked`).
SURE_ALPHA = 0.01  # of REGRESSED, IMPROVED and SAME; a SUSPECT has ALPHA
# SD of the log of `control_s` over the cases of one run, which all have the same controls
# (results/example); holds where earlier runs do not say how far theirs scatter.
CONTROL_SD = 0.04
EXPLAINED = 0.5  # share of a slowdown, on logs, that the controls have to show as well


@dataclass(frozen=True, slots=True)
class Timed:
    """A figure that is a duration, or the reciprocal of one.

    duration: the column whose replicates are compared, so that worse is always longer.
    """

    name: str
    duration: str


TIMED = (
    Timed("latency_median_s", "latency_median_s"),
    Timed("images_per_s", "pipelined_s"),
)


@dataclass(frozen=True, slots=True)
class TimeTest:
    """A time that can be judged: value / base, or value / earlier runs.

    direct:     value / base, with what two runs differ by.
    replicates: the same as the replicates of the two runs alone see it.
    predicted:  value / earlier runs' centre, where there are enough.
    controls:   the controls of the run, likewise; None where one side has none.
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
        """What the verdict rests on."""
        return self.predicted or self.direct

    @property
    def alarming(self) -> Estimate:
        """What an alarm rests on.

        Without earlier runs it is a SUSPECT at most, which costs a look and fails no build: what
        two runs differ by is then taken as known.
        """
        return self.predicted or replace(self.direct, df=math.inf)


def tests_of(
    both: Mapping[str, tuple[Case, Case]],
    run: Results,
    baseline: Results,
    history: Sequence[Results],
) -> list[TimeTest]:
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
    """One time that both rows have, the baseline's first.

    medians: of the replicates of each run.  past: the rows of the case in other earlier runs.
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


def _past(case_id: str, base: Row, earlier: Sequence[Mapping[str, Case]]) -> list[Row]:
    """The case's rows in earlier runs of the baseline's machine."""
    found = (run.get(case_id, {}).get(base.phase) for run in earlier)
    return [one for one in found if one is not None and one.machine_id == base.machine_id]


def predicted(past: Sequence[Row], base: Row, value: Row, column: str) -> Estimate | None:
    """value / earlier runs; None where they are too few.

    The baseline is an earlier run of this machine like the others.
    """
    known = [time for row in (*past, base) if (time := getattr(row, column)) is not None]
    if len(known) <= ENOUGH_HISTORY or getattr(base, column) is None:
        return None
    return ratios.prediction(known, getattr(value, column))


def controls_of(past: Sequence[Row], base: Row, value: Row) -> Estimate | None:
    """How much longer the controls took than in earlier runs, or in the baseline's.

    None where one side has no controls.
    """
    if not base.control_s or not value.control_s:
        return None
    found = predicted(past, base, value, "control_s")
    if found is not None:
        return found
    return Estimate(
        math.log(value.control_s / base.control_s), CONTROL_SD * math.sqrt(2), math.inf, 2
    )


def findings_of(tests: Sequence[TimeTest], threshold: float) -> dict[str, list[Finding]]:
    """A finding per test; p-values of one machine corrected together (Benjamini–Hochberg)."""
    log_bound = math.log1p(threshold)
    testable = [
        one for one in tests if same_machine(one.base, one.value) and one.used.error is not None
    ]
    worse = _adjusted({id(one): one.alarming.p_above(0.0) for one in testable})
    better = _adjusted({id(one): one.used.p_below(0.0) for one in testable})
    seen = _adjusted({id(one): one.replicates.p_above(log_bound) for one in testable})
    family = len({one.case_id for one in testable})
    findings: dict[str, list[Finding]] = {}
    for one in tests:
        verdict: Verdict
        if not same_machine(one.base, one.value):
            verdict, note = "ADVISORY", "another machine"
        elif id(one) not in worse:
            verdict, note = "INCONCLUSIVE", "one replicate on a side: its noise is unknown"
        else:
            ps = _Ps(worse[id(one)], better[id(one)], seen.get(id(one)))
            verdict, note = _timed(one, ps, log_bound, family)
        findings.setdefault(one.case_id, []).append(_finding(one, verdict, note))
    return findings


def _adjusted(ps: Mapping[int, float | None]) -> dict[int, float]:
    """Corrected over all that are known."""
    known = {key: p for key, p in ps.items() if p is not None}
    if not known:
        return {}
    return dict(zip(known, map(float, false_discovery_control(list(known.values()))), strict=True))


@dataclass(frozen=True, slots=True)
class _Ps:
    """Corrected over all cases."""

    worse: float
    better: float
    seen: float | None  # slower by τ, by the replicates of the two runs alone; of one unknown


def _timed(test: TimeTest, ps: _Ps, log_bound: float, family: int) -> tuple[Verdict, str]:
    """The verdict of one time on the baseline's own machine."""
    # Beyond τ of the baseline as well: one that was recorded anew, slower, is accepted.
    logs = (test.used.log, test.direct.log)
    where = _where(test)
    if min(logs) > log_bound and ps.worse < ALPHA:
        moved = _machine_moved(test)
        sure = test.predicted is not None and ps.worse < SURE_ALPHA and not moved
        return "REGRESSED" if sure else "SUSPECT", "; ".join(filter(None, (where, moved)))
    if max(logs) < -log_bound and ps.better < SURE_ALPHA:
        return "IMPROVED", where
    # What the run differs by shall not hide it: it is said, with a way out.
    if ps.seen is not None and ps.seen < ALPHA:
        said = _scatter(test) if ps.worse >= ALPHA else _slower_than_earlier(test)
        return "INCONCLUSIVE", f"{test.replicates.ratio:.2f} times the baseline, {said}"
    # Two one-sided tests within ±τ: code that is slower by τ is called the same in 1 % at most.
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
    """Beyond their scatter, and still not slower by the threshold."""
    if test.predicted is None:
        return f"beyond what two runs differ by ({_between(test)}), within the threshold"
    times = f"{test.used.ratio:.2f} times {test.predicted.n} earlier runs"
    return f"and {times}, which is within the threshold"


def _scatter(test: TimeTest) -> str:
    if test.predicted is not None:
        return f"within the scatter of {test.predicted.n} earlier runs"
    return f"which two runs of one code may differ by ({_between(test)})"


def _between(test: TimeTest) -> str:
    ones = [between_runs.from_row(line, test.figure.duration) for line in (test.base, test.value)]
    return between_runs.describe(ones)


def _smallest_effect(test: TimeTest, log_bound: float, family: int) -> float:
    """The slowdown of this case alone that would be found four times in five, as a ratio - 1.

    Found is beyond τ and, corrected over the cases, beyond chance: REGRESSED where there are
    earlier runs, else SUSPECT.
    """
    error, df = test.alarming.error or 0.0, test.alarming.df
    alpha = (SURE_ALPHA if test.predicted is not None else ALPHA) / family
    reach = max(log_bound, ratios.quantile(1 - alpha, df) * error)
    return math.expm1(reach + float(ndtri(POWER)) * error)


def _machine_moved(test: TimeTest) -> str:
    """That the controls explain the slowdown; else nothing.

    The same work took longer as well, by half of it or more and beyond what controls scatter by.
    It softens a verdict and never makes one: a case need not follow the controls one to one.
    """
    moved = test.controls
    if moved is None or moved.log < EXPLAINED * test.used.log:
        return ""
    p = moved.p_above(0.0)
    if p is None or p >= ALPHA:
        return ""
    return f"the controls took {moved.ratio:.2f} times as long, which explains half of it or more"


def _finding(test: TimeTest, verdict: Verdict, note: str) -> Finding:
    used = test.direct if verdict == "ADVISORY" else test.used
    interval = used.interval()
    doubts = sorted(
        {
            flag
            for row in (test.base, test.value)
            for flag in row.flag_names
            if flag in ("contended", "throttled", "unsteady", "growing", "bimodal")
        }
    )
    return Finding(
        figure=test.figure.name,
        phase=str(test.base.phase),
        base=getattr(test.base, test.figure.name),
        value=getattr(test.value, test.figure.name),
        worse=used.ratio,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        verdict=verdict,
        note=note + (f"; {', '.join(doubts)}" if doubts else ""),
    )
