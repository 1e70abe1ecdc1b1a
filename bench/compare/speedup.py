"""Compute the speedup of each value of an axis, and of each row between two runs.

A speedup is time(base) / time(value), of the times as measured; above 1, the value is faster.  For
the axis `batch` it is the ratio of images per second, because a larger batch is more work.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.match import Match, pairs, values
from bench.core.axes import AXES
from bench.core.records import Row, whole_phase
from bench.results.corrected import uncorrected
from bench.results.results import Medians, Results
from bench.stats import between_runs, ratios
from bench.stats.intervals import LEAST_REPLICATES, LEVEL

KINDS = {"pipelined_s": "pipelined", "latency_median_s": "latency", "device_s": "device"}
Method = Literal["paired", "welch", "none"]
SpeedupWord = Literal["faster", "slower", "no difference found", "no interval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speedup:
    """Two rows that differ in one axis, or in the run.

    axis:      the axis that differs; `run` between two runs.
    quantity:  the column that was compared; both columns if the rows have none in common.
    ratio:     base / value, per image for the axis `batch`; above 1, the value is better.
    low, high: the 95 % interval; None if there are too few replicates.  If the fastest of several
               rows was chosen, it is corrected for all pairs of them (Bonferroni).
    p:         the p-value of "no difference", corrected likewise; None without an interval.
    method:    paired (log-ratios of the same replicates), welch (independent replicates), or none.
    base_of, value_of: the number of matching rows of which the fastest was chosen.
    """

    axis: str
    subject: str
    mode: str
    phase: str
    settings: str  # of the base, without the axis
    base: str
    value: str
    base_case_id: str
    value_case_id: str
    base_of: int
    value_of: int
    quantity: str
    base_s: float
    value_s: float
    ratio: float
    low: float | None
    high: float | None
    method: Method
    replicates: int  # number of pairs, or of replicates in the row that has fewer
    p: float | None = None
    transfers: Literal["pageable", "pinned"] | None = None  # kind of host memory; None: without
    between: str = ""  # the between-run SD that the interval includes, as a text

    @property
    def verdict(self) -> SpeedupWord:
        """The verdict of this speedup alone, without a correction for others."""
        if self.low is None or self.high is None:
            return "no interval"
        if self.low <= 1 <= self.high:
            return "no difference found"
        return "faster" if self.ratio > 1 else "slower"

    @property
    def of_whole(self) -> bool:
        """Return whether its phase stands for the whole case."""
        return self.phase == whole_phase(self.mode)


ALONE = "if alone"
SHOWN = 0.01  # a reader who divides two times of three digits may be off by so much
SHARED = (
    "a speedup is that of the replicates that both sides have, so it can differ from the ratio of "
    "the times, which are of all replicates"
)


def verdicts(speedups: Sequence[Speedup]) -> list[str]:
    """Return the verdicts of a table, corrected for the number of its lines (Holm, 5 %).

    A verdict ends with `if alone` if the line differs only without the correction.
    """
    corrected = ratios.holm([one.p for one in speedups])
    return [
        f"{one.verdict} {ALONE}"
        if one.verdict in ("faster", "slower") and p is not None and p >= 1 - LEVEL
        else one.verdict
        for one, p in zip(speedups, corrected, strict=True)
    ]


def is_of_shared(ratio: float, base_s: float | None, value_s: float | None) -> bool:
    """Return whether a ratio is not that of the two times as they are shown.

    A paired ratio uses the replicates that both sides have, a time uses all of its own.
    """
    return bool(base_s and value_s) and abs(ratio * (value_s or 0) / (base_s or 1) - 1) > SHOWN


def legend_of(words: Sequence[str]) -> str:
    """Return an explanation of a table's intervals and verdicts; empty for a single line."""
    if len(words) < 2:
        return ""
    alone = any(one.endswith(ALONE) for one in words)
    meaning = f"; `{ALONE}`: a difference only if this were the only line" if alone else ""
    return f"intervals: 95 % each; verdicts: for all {len(words)} together{meaning}"


def within(run: Results, by: str) -> list[Speedup]:
    """Return the speedup of each value of the axis `by` over the first, phase by phase.

    `run` may have rows of several runs (see `Results.beside`); replicates are paired only within
    one of them.

    Raises MatchError if the axis is unknown or has fewer than two values.
    """
    run = uncorrected(run)
    base, *others = values(run.rows, by)
    ok = [row for row in run.rows if row.status == "ok"]
    found: list[Speedup] = []
    for other in others:
        matches = pairs(
            [row for row in ok if getattr(row, by) == base],
            [row for row in ok if getattr(row, by) == other],
            apart=by,
            time_s=_time_s,
        )
        found.extend(_speedups(matches, by, run.medians, run.medians))
    return found


def between(a: Results, b: Results) -> list[Speedup]:
    """Return the speedup of run b over run a for each case and phase; above 1, b is faster.

    If the runs share no device (one ran on a CPU, the other on a GPU), rows match that are equal
    except for the device.
    """
    a, b = uncorrected(a), uncorrected(b)
    ok_a = [row for row in a.rows if row.status == "ok"]
    ok_b = [row for row in b.rows if row.status == "ok"]
    if {row.device for row in ok_a}.isdisjoint(row.device for row in ok_b):
        matches = pairs(ok_a, ok_b, apart="device", time_s=_time_s)
        return list(_speedups(matches, "device", a.medians, b.medians, same_run=False))
    by_row = {(row.case_id, row.phase): row for row in ok_b}
    same = (
        Match(row, by_row[row.case_id, row.phase])
        for row in ok_a
        if (row.case_id, row.phase) in by_row
    )
    return list(_speedups(same, "run", a.medians, b.medians, same_run=False))


def only_in(a: Results, b: Results) -> list[str]:
    """Return the cases of a that b lacks, so that a caller can name them."""
    in_b = {row.case_id for row in b.rows}
    return [one for one in dict.fromkeys(str(row.case_id) for row in a.rows) if one not in in_b]


def quantities(base: Row, value: Row) -> tuple[str, str] | None:
    """Return the columns to compare, for base and value; None if one has no time.

    Whole phases are compared by their throughput.  A phase inside a step has a host time on a CPU
    and an event time on an accelerator, so the two columns can differ.
    """
    whole = base.phase == whole_phase(str(base.mode))
    order = ["pipelined_s", "latency_median_s", "device_s"]
    if not whole:
        order = ["latency_median_s", "device_s", "pipelined_s"]
    for name in order:
        if getattr(base, name) is not None and getattr(value, name) is not None:
            return name, name
    first = next((name for name in order if getattr(base, name) is not None), None)
    second = next((name for name in order if getattr(value, name) is not None), None)
    return (first, second) if first and second else None


def estimate(
    base: Row, value: Row, names: tuple[str, str], a: Medians, b: Medians, *, same_run: bool
) -> tuple[ratios.Estimate, Method]:
    """Return base / value of two rows, and the method of its interval.

    Without samples it is computed from the columns.  Replicates that both rows have ran in the same
    minutes, so what changes from run to run cancels.  Without such a replicate the rows may be as
    far apart as two runs, also inside one run, which measures its blocks one after the other.  Then
    the between-run SD of each is included.
    """
    found = _paired(base, value, names, a, b) if _of_one_run(base, value, same_run) else None
    method: Method = "paired"
    if found is None:
        apart = between_runs.two_runs(*map(between_runs.from_row, (base, value), names))
        found, method = of_replicates(base, value, names, a, b, apart), "welch"
    return found, method if found.error is not None else "none"


def _paired(
    base: Row, value: Row, names: tuple[str, str], a: Medians, b: Medians
) -> ratios.Estimate | None:
    """Estimate from the replicates that both rows have; None without any."""
    return ratios.paired(_replicates(base, names[0], a), _replicates(value, names[1], b))


def of_replicates(
    base: Row,
    value: Row,
    names: tuple[str, str],
    a: Medians,
    b: Medians,
    apart: ratios.Part | None = None,
) -> ratios.Estimate:
    """Return base / value from the replicates of two rows, without pairing them.

    apart: the variance between the two beyond that; None: nothing.
    """
    one, other = _replicates(base, names[0], a), _replicates(value, names[1], b)
    return ratios.welch(_centre(base, names[0], one), _centre(value, names[1], other), apart)


def _speedups(
    matches: Iterable[Match], axis: str, a: Medians, b: Medians, *, same_run: bool = True
) -> Iterator[Speedup]:
    for match in matches:
        base, value = match.base, match.value
        names = quantities(base, value)
        if names is None:
            continue
        found, method = estimate(base, value, names, a, b, same_run=same_run)
        of_one = _of_one_run(base, value, same_run)
        paired = of_one and _paired(base, value, names, a, b) is not None
        if axis == "batch":  # images per second: the same durations, times the ratio of batches
            per_image = (value.batch or 1) / (base.batch or 1)
            found = dataclasses.replace(found, log=found.log + math.log(per_image))
        low, high, p = judged(found, match.base_of * match.value_of)
        yield Speedup(
            axis=axis,
            subject=str(base.subject),
            mode=str(base.mode),
            phase=str(base.phase),
            settings=_settings(base, axis),
            base=_side(base, axis),
            value=_side(value, axis),
            base_case_id=str(base.case_id),
            value_case_id=str(value.case_id),
            base_of=match.base_of,
            value_of=match.value_of,
            quantity=names[0] if names[0] == names[1] else " against ".join(names),
            base_s=getattr(base, names[0]),
            value_s=getattr(value, names[1]),
            ratio=found.ratio,
            low=low,
            high=high,
            method=method,
            replicates=found.n,
            p=p,
            between="" if paired else _between(base, value, names),
        )


def _of_one_run(base: Row, value: Row, same_run: bool) -> bool:
    return same_run and base.run_id == value.run_id


def _between(base: Row, value: Row, names: tuple[str, str]) -> str:
    return between_runs.describe(list(map(between_runs.from_row, (base, value), names)))


def judged(
    found: ratios.Estimate, chosen_from: int
) -> tuple[float | None, float | None, float | None]:
    """Return the ends of the 95 % interval, and p of "no difference"; None for few replicates.

    chosen_from: the number of ratios of which this one was chosen; corrected for (Bonferroni).
    """
    if found.n < LEAST_REPLICATES:
        return None, None, None
    low, high = found.interval(1 - (1 - LEVEL) / chosen_from) or (None, None)
    p = found.p_of_no_difference
    return low, high, None if p is None else min(1.0, chosen_from * p)


def _time_s(row: Row) -> float | None:
    """Return the time per image, by which the fastest row is chosen, since batches may differ."""
    names = quantities(row, row)
    return None if names is None else float(getattr(row, names[0])) / (row.batch or 1)


def _replicates(row: Row, name: str, medians: Medians) -> Mapping[int, float]:
    return medians.get((row.run_id, str(row.case_id), str(row.phase), KINDS[name]), {})


def _centre(row: Row, name: str, replicates: Mapping[int, float]) -> ratios.Centre:
    if replicates:
        return ratios.centre(list(replicates.values()))
    return between_runs.centre_from_row(row, name)


def _side(row: Row, axis: str) -> str:
    return str(row.run_id if axis == "run" else getattr(row, axis))


def _settings(row: Row, apart: str) -> str:
    """Return the base's mode and batch, and those of its other axes that are not the default."""
    return " ".join(
        axis.in_id.format(value)
        for axis in AXES
        if axis.name != apart
        and (value := getattr(row, axis.name)) is not None
        and (axis.name in ("mode", "batch") or axis.default not in (None, value))
        and (axis.name, value) != ("device", "cpu")
    )
