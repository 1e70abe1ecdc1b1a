"""Times against a baseline of the same machine: which got worse, and how sure that is.

Against earlier runs of the machine where there are enough, else between the replicates of the
two runs; p-values corrected over all cases (an uncorrected one alarms in 96 % of 60-case
suites of identical code).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.stats import false_discovery_control

from bench.read import stats
from bench.read.cases import Case, by_case, same_machine, whole
from bench.read.compare import Medians, estimate, replicate_medians
from bench.read.match import Line
from bench.read.stats import ALPHA, Estimate
from bench.read.table import RunData
from bench.read.verdict import Finding, Verdict

ENOUGH_HISTORY = 5  # earlier runs that make a prediction interval worth having


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
    """A time that can be judged: value / base, or value / earlier runs."""

    case_id: str
    figure: Timed
    base: Line
    value: Line
    direct: Estimate  # value / base, from the replicates of the two runs
    predicted: Estimate | None  # value / earlier runs' centre, where there are enough


def tests_of(
    both: Mapping[str, tuple[Case, Case]],
    run: RunData,
    baseline: RunData,
    history: Sequence[RunData],
) -> list[TimeTest]:
    medians = replicate_medians(baseline.samples), replicate_medians(run.samples)
    earlier = [by_case(one) for one in history]
    tests = []
    for case_id, (base_case, value_case) in both.items():
        base, value = whole(base_case), whole(value_case)
        if base is None or value is None:
            continue
        for figure in TIMED:
            if base[figure.duration] is None or value[figure.duration] is None:
                continue
            past = _past(case_id, base, figure, earlier)
            tests.append(
                TimeTest(
                    case_id,
                    figure,
                    base,
                    value,
                    _direct(base, value, figure, medians),
                    # The baseline is an earlier run of this machine like the others.
                    stats.prediction([*past, base[figure.duration]], value[figure.duration])
                    if len(past) >= ENOUGH_HISTORY
                    else None,
                )
            )
    return tests


def _direct(base: Line, value: Line, figure: Timed, medians: tuple[Medians, Medians]) -> Estimate:
    names = (figure.duration, figure.duration)
    return estimate(base, value, names, *medians, same_run=False)[0].flipped()


def _past(
    case_id: str, base: Line, figure: Timed, earlier: Sequence[Mapping[str, Case]]
) -> list[float]:
    """The case's durations in earlier runs of the baseline's machine."""
    found = []
    for run in earlier:
        line = run.get(case_id, {}).get(base["phase"])
        if line is None or line["machine_id"] != base["machine_id"]:
            continue
        if line[figure.duration] is not None:
            found.append(float(line[figure.duration]))
    return found


def judge(tests: Sequence[TimeTest], threshold: float) -> dict[str, list[Finding]]:
    """A finding per test; p-values of one machine corrected together (Benjamini–Hochberg)."""
    log_bound = math.log1p(threshold)
    testable = [
        one for one in tests if same_machine(one.base, one.value) and _used(one).error is not None
    ]
    worse = _adjusted({id(one): one for one in testable}, log_bound, +1)
    better = _adjusted({id(one): one for one in testable}, log_bound, -1)
    direct = {id(one): replace(one, predicted=None) for one in testable}
    suspected = _adjusted(direct, log_bound, +1)
    findings: dict[str, list[Finding]] = {}
    for one in tests:
        verdict: Verdict
        if not same_machine(one.base, one.value):
            verdict, note = "ADVISORY", "another machine"
        elif id(one) not in worse:
            verdict, note = "INCONCLUSIVE", "one replicate on a side: its noise is unknown"
        else:
            ps = _Ps(worse[id(one)], better[id(one)], suspected.get(id(one)))
            verdict, note = _timed(one, ps, log_bound, threshold)
        findings.setdefault(one.case_id, []).append(_finding(one, verdict, note))
    return findings


def _used(test: TimeTest) -> Estimate:
    return test.predicted or test.direct


def _adjusted(tests: Mapping[int, TimeTest], log_bound: float, sign: int) -> dict[int, float]:
    """p that the value is slower (+1) or faster (-1), corrected over all that have one."""
    ps = {}
    for key, test in tests.items():
        # Earlier runs: outside their prediction interval.  Two runs: beyond the threshold.
        bound = 0.0 if test.predicted else log_bound
        estimate_ = _used(test) if sign > 0 else _used(test).flipped()
        if (p := estimate_.p_above(bound)) is not None:
            ps[key] = p
    if not ps:
        return {}
    return dict(zip(ps, map(float, false_discovery_control(list(ps.values()))), strict=True))


@dataclass(frozen=True, slots=True)
class _Ps:
    """Corrected over all cases."""

    worse: float
    better: float
    suspected: float | None  # slower by the replicates of the two runs alone; of one unknown


def _timed(test: TimeTest, ps: _Ps, log_bound: float, threshold: float) -> tuple[Verdict, str]:
    """The verdict of one time on the baseline's own machine."""
    used = _used(test)
    if test.predicted:
        # Beyond τ of the baseline as well: one that was recorded anew, slower, is accepted.
        logs = test.predicted.log, test.direct.log
        where = f"against {test.predicted.n} earlier runs"
        if ps.worse < ALPHA and min(logs) > log_bound:
            moved = _machine_moved(test, log_bound)
            return ("SUSPECT", f"{where}; {moved}") if moved else ("REGRESSED", where)
        if ps.better < ALPHA and max(logs) < -log_bound:
            return "IMPROVED", where
        # A wide history shall not hide it: it is said, with a way out.
        if ps.suspected is not None and ps.suspected < ALPHA:
            slower = f"{test.direct.ratio:.2f} times the baseline"
            return (
                "INCONCLUSIVE",
                f"{slower}, within the scatter of {test.predicted.n} earlier runs",
            )
        reach = stats.quantile(1 - ALPHA, used.df) * (used.error or 0.0)
        # A slowdown by τ would have stood out, and none that large is seen.
        if reach <= log_bound and abs(used.log) <= log_bound:
            return "SAME", where
    else:
        where = f"{used.n} replicates"
        if ps.worse < ALPHA:
            return "SUSPECT", "; ".join(filter(None, (where, _machine_moved(test, log_bound))))
        if ps.better < ALPHA:
            return "IMPROVED", where
        # Two one-sided tests within ±τ.
        inside = used.p_below(log_bound), used.p_above(-log_bound)
        if all(p is not None and p < ALPHA for p in inside):
            return "SAME", where
    effect = used.smallest_effect(threshold)
    found = "" if effect is None else f"; smallest slowdown found 4 times in 5: {effect:.0%}"
    return "INCONCLUSIVE", where + found


def _machine_moved(test: TimeTest, log_bound: float) -> str:
    """That the controls explain the slowdown: the same work took longer as well; else nothing.

    It softens a verdict and never makes one: a case need not follow the controls one to one.
    """
    base, value = test.base["control_s"], test.value["control_s"]
    if not base or not value or value <= base:
        return ""
    if test.direct.log - math.log(value / base) > log_bound:
        return ""
    return f"the controls took {value / base:.2f} times as long, which explains it"


def _finding(test: TimeTest, verdict: Verdict, note: str) -> Finding:
    used = test.direct if verdict == "ADVISORY" else _used(test)
    interval = used.interval()
    doubts = sorted(
        {
            flag
            for line in (test.base, test.value)
            for flag in (line["flags"] or "").split(";")
            if flag in ("contended", "throttled", "unsteady", "bimodal")
        }
    )
    return Finding(
        figure=test.figure.name,
        phase=str(test.base["phase"]),
        base=test.base[test.figure.name],
        value=test.value[test.figure.name],
        worse=used.ratio,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        verdict=verdict,
        note=note + (f"; {', '.join(doubts)}" if doubts else ""),
    )
