"""Learn from earlier runs whether the controls show the speed of this machine.  Pure.

The controls are known work that is measured beside every case.  On some machines, times that are
divided by them differ less from run to run; on others they differ more.  So earlier runs of the
machine decide.  Only where they show clearly that it helps, a time is moved to what it would be at
the usual level of its controls.  `python -m experiments.corrected` simulates how often that is
wrong.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scipy.special import stdtr

from bench.stats.between_runs import ENOUGH
from bench.stats.ratios import Part

CLEAR = 0.85  # the SD that may be left, as a share of the SD as measured
SURE = 0.05  # p of the test that nothing is gone
# A control that is noisy itself flattens the slope that is fitted; less than half of its movement
# is no reason to correct, and no case follows it by more than one to one.
LEAST_SLOPE, MOST_SLOPE = 0.5, 1.0
OF_USUAL = math.pi / 3  # variance of the usual level / that of a mean, of normal noise

MOST_MOVED = (
    2.0  # a factor beyond it, or below its reciprocal, is no drift: something else happened
)

Key = tuple[str, str]  # case_id, phase


@dataclass(frozen=True, slots=True)
class Point:
    """One case and phase in one run, as logs of seconds, as measured.

    times:   by kind (latency, pipelined).
    control: of the controls beside that case.
    """

    times: Mapping[str, float]
    control: float


@dataclass(frozen=True, slots=True)
class Series:
    """One case and phase in earlier runs.

    whole:  it is the phase of the whole case, which counts as evidence.
    points: by number of the run; runs without controls or without the case are left out.
    """

    device: str
    whole: bool
    points: Mapping[int, Point]

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of times that every run has."""
        first, *others = (one.times for one in self.points.values())
        return [kind for kind in first if all(kind in one for one in others)]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of the earlier runs about one device.

    runs:        that have a time and controls of a case which has enough of them.
    slope:       how far times follow the controls, on logs, of all cases together.
    slope_error: its standard error, by the jackknife over runs.
    ratio:       SD after / SD before, of all cases together; 1 where nothing is known.
    worst:       the largest ratio with one of the runs left out.
    p:           that dividing takes nothing away (Pitman and Morgan, 1939, on the runs' means).
    """

    runs: int = 0
    slope: float = MOST_SLOPE
    slope_error: float = 0.0
    ratio: float = 1.0
    worst: float = 1.0
    p: float = 1.0

    @property
    def helps(self) -> bool:
        return self.ratio <= CLEAR and self.worst <= CLEAR and self.p <= SURE


@dataclass(frozen=True, slots=True)
class CaseRule:
    """A correction of the times of one case and phase.

    level:    usual log of its controls.
    level_sd: of the controls from run to run.
    sds:      by kind: SD of the moved times from run to run, with what replicates see of it.
    runs:     earlier runs that these come from.
    """

    slope: float
    slope_error: float
    level: float
    level_sd: float
    sds: Mapping[str, float]
    runs: int

    def log_factor(self, control: float) -> float:
        """Return the log of the factor of a time.  control: log of the controls of this run."""
        return -self.slope * (control - self.level)

    def reaches(self, control: float) -> bool:
        """Return whether these controls are near enough to those of earlier runs to be used."""
        return abs(self.log_factor(control)) <= math.log(MOST_MOVED)

    def uncertainty(self, control: float) -> list[Part]:
        """Return the uncertainty of the move itself: the usual level, and the slope."""
        df = self.runs - 1
        level = (self.slope * self.level_sd) ** 2 * OF_USUAL / self.runs
        slope = (self.slope_error * (control - self.level)) ** 2
        return [Part(level, df), Part(slope, df)]


@dataclass(frozen=True, slots=True)
class Learnt:
    """All that earlier runs say about the controls; by default nothing."""

    series: Mapping[Key, Series] = field(default_factory=dict)
    evidence: Mapping[str, Evidence] = field(default_factory=dict)  # by device

    def rule(self, key: Key) -> CaseRule | None:
        """Return the rule of a case and phase, or None if its time stays as measured."""
        series = self.series.get(key)
        if series is None or len(series.points) < ENOUGH:
            return None
        evidence = self.evidence.get(series.device, Evidence())
        if not evidence.helps:
            return None
        return _case_rule(series, evidence)


def learn(series: Mapping[Key, Series]) -> Learnt:
    """Learn the rules from the earlier runs of one machine."""
    devices = {one.device for one in series.values()}
    return Learnt(series, {device: _evidence(device, series.values()) for device in devices})


def _case_rule(series: Series, evidence: Evidence) -> CaseRule | None:
    """Return the rule of a case, or None if the division clearly made its runs differ more."""
    points = list(series.points.values())
    controls = [one.control for one in points]
    sds = {}
    for kind in series.kinds:
        times = [one.times[kind] for one in points]
        gone = [evidence.slope * control for control in controls]
        if p_of_no_difference(times, gone) >= 1 - SURE:
            return None
        sds[kind] = statistics.stdev(time - one for time, one in zip(times, gone, strict=True))
    spread = statistics.stdev(controls)
    return CaseRule(evidence.slope, evidence.slope_error, usual(controls), spread, sds, len(points))


def usual(logs: Sequence[float]) -> float:
    """Return the median of the means of all pairs (Hodges and Lehmann, 1963).

    One odd run in five does not draw it away, and it is known nearly as well as the mean.
    """
    pairs = itertools.combinations_with_replacement(logs, 2)
    return statistics.median((one + other) / 2 for one, other in pairs)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Time and control of a kind of one case, by run."""

    times: Mapping[int, float]
    controls: Mapping[int, float]

    def centred(self, without: int | None) -> Iterator[tuple[int, float, float]]:
        """Yield (run, control, time), the latter two less their means."""
        runs = [run for run in self.times if run != without]
        control = statistics.fmean(self.controls[run] for run in runs)
        time = statistics.fmean(self.times[run] for run in runs)
        for run in runs:
            yield run, self.controls[run] - control, self.times[run] - time


def _evidence(device: str, series: Iterable[Series]) -> Evidence:
    pairs = [
        _Pair(
            {run: one.times[kind] for run, one in each.points.items()},
            {run: one.control for run, one in each.points.items()},
        )
        for each in series
        if each.device == device and each.whole and len(each.points) >= ENOUGH
        for kind in each.kinds
    ]
    runs = sorted({run for pair in pairs for run in pair.times})
    fits = [_fit(pairs, without) for without in (None, *runs)]
    known = [fit for fit in fits if fit is not None]
    if len(runs) < ENOUGH or len(known) < len(fits):
        return Evidence()
    (slope, ratio), *others = known
    slopes = [one[0] for one in others]
    return Evidence(
        runs=len(runs),
        slope=slope,
        slope_error=(len(runs) - 1) / math.sqrt(len(runs)) * statistics.stdev(slopes),
        ratio=ratio,
        worst=max(one[1] for one in others),
        p=_p_of_runs(pairs, slope),
    )


def _fit(pairs: Sequence[_Pair], without: int | None) -> tuple[float, float] | None:
    """Return the slope, and SD after / SD before; None if times or controls do not move."""
    points = [point for pair in pairs for point in pair.centred(without)]
    controls = math.fsum(x * x for _, x, _ in points)
    before = math.fsum(y * y for _, _, y in points)
    if not controls or not before:
        return None
    slope = math.fsum(x * y for _, x, y in points) / controls
    slope = min(MOST_SLOPE, max(LEAST_SLOPE, slope))
    after = math.fsum((y - slope * x) ** 2 for _, x, y in points)
    return slope, math.sqrt(after / before)


def _p_of_runs(pairs: Sequence[_Pair], slope: float) -> float:
    """Return the p-value over the means of the runs: the cases of a run share one level."""
    by_run: dict[int, list[tuple[float, float]]] = {}
    for pair in pairs:
        for run, control, time in pair.centred(None):
            by_run.setdefault(run, []).append((slope * control, time))
    gone = [statistics.fmean(one[0] for one in points) for points in by_run.values()]
    times = [statistics.fmean(one[1] for one in points) for points in by_run.values()]
    return p_of_no_difference(times, gone)


def p_of_no_difference(times: Sequence[float], gone: Sequence[float]) -> float:
    """Return the one-sided p of no smaller variance without `gone`; near 1 it is larger.

    Variances of paired figures are equal where their sum and their difference are uncorrelated
    (Pitman and Morgan, 1939).
    """
    sums = [2 * time - one for one, time in zip(gone, times, strict=True)]
    if not statistics.pstdev(gone) or not statistics.pstdev(sums):
        return 0.5
    r = min(1.0, max(-1.0, statistics.correlation(sums, gone)))
    df = len(gone) - 2
    if abs(r) == 1:
        return 0.0 if r > 0 else 1.0
    return float(stdtr(df, -r * math.sqrt(df / (1 - r * r))))
