"""Correct times to the usual level of the controls, and undo the correction.

The column `control_factor` is the number that the times of a row were multiplied by.  Ratios,
shares, rates against the run's own peaks and comparisons of two runs use the times as they were
measured (`uncorrected`).
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.records import Row
from bench.results.results import Results
from bench.stats import between_runs, ratios
from bench.stats.control_rule import CaseRule

FACTOR = "control_factor"
TIMES = (
    *(f"latency_{what}_s" for what in ("median", "min", "mean", "p90", "p95", "p99")),
    "pipelined_s",
    "device_s",
)
RATES = ("images_per_s", "flop_per_s", "bytes_per_s")
MEDIANS = {"latency": "latency_median_s", "pipelined": "pipelined_s"}


@dataclass(frozen=True, slots=True)
class Replicate:
    """The median of a replicate and its controls, as logs of seconds."""

    time: float
    control: float


def moved(
    row: Row,
    replicates: Mapping[str, Sequence[Replicate]],
    rule: CaseRule,
    *,
    stopped: bool,
) -> Row:
    """Return the row at the usual level of its controls.

    replicates: by kind, for all kinds that the row has.
    """
    assert row.control_s is not None  # the caller ensures it
    control = math.log(row.control_s)
    factor = math.exp(rule.log_factor(control))
    figures: dict[str, Any] = {name: _times(getattr(row, name), factor) for name in TIMES}
    figures |= {name: _times(getattr(row, name), 1 / factor) for name in RATES}
    figures[FACTOR] = factor
    for kind, column in MEDIANS.items():
        if kind in replicates:
            own = _centre(replicates[kind], figures[column], rule.slope)
            left = _left(own, rule.sds[kind])
            ends = between_runs.interval(
                own,
                between_runs.Between(left, rule.runs),
                stopped=stopped,
                more=rule.uncertainty(control),
            )
            figures |= _ends(kind, ends, figures[column])
            figures[between_runs.corrected_column(kind)] = rule.sds[kind]
    return dataclasses.replace(row, **figures)


def _centre(found: Sequence[Replicate], time_s: float, slope: float) -> ratios.Centre:
    """Return the corrected time as a centre; its error is that of the corrected replicates."""
    times_s = [math.exp(one.time - slope * one.control) for one in found]
    return dataclasses.replace(ratios.centre(times_s), log=math.log(time_s))


def _left(own: ratios.Centre, sd: float) -> float:
    """Return the between-run SD beyond the part that the replicates of this run can see."""
    return math.sqrt(max(0.0, sd**2 - (own.variance or 0.0)))


def _ends(kind: str, ends: tuple[float, float] | None, time_s: float) -> dict[str, float | None]:
    # Rounding of the logarithm could put the time outside of an interval without width.
    return {
        f"{kind}_low_s": None if ends is None else min(ends[0], time_s),
        f"{kind}_high_s": None if ends is None else max(ends[1], time_s),
    }


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def told(rows: Iterable[Row]) -> str:
    """Return a note that times were corrected, by how much and why; empty if none was."""
    moved_rows = [
        row
        for row in rows
        if (row.latency_corrected_ratio, row.pipelined_corrected_ratio) != (None, None)
    ]
    if not moved_rows:
        return ""
    factors = sorted({f"{row.control_factor:.2f}" for row in moved_rows})
    by = factors[0] if len(factors) == 1 else f"{factors[0]} to {factors[-1]}"
    counts = sorted({int(row.earlier_runs or 0) for row in moved_rows})
    runs = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"times are corrected to the usual level of the reference work (×{by}), because this makes "
        f"{runs} earlier runs of this machine agree better; samples and ratios are as measured"
    )


def _known(value: float | None) -> float | None:
    """Return None if a value over- or underflows, since a file may have any factor."""
    return value if value is not None and 0 < value < math.inf else None


def uncorrected(run: Results) -> Results:
    """Return the run with all times as they were measured; the same object if none changes."""
    if all(row.control_factor in (None, 1.0) for row in run.rows):
        return run
    stopped = run.description.config.adds_replicates
    rows = (
        row if row.control_factor in (None, 1.0) else _measured(row, stopped=stopped)
        for row in run.rows
    )
    return dataclasses.replace(run, rows=tuple(rows))


def _measured(row: Row, *, stopped: bool) -> Row:
    factor = row.control_factor
    assert factor is not None  # the caller ensures it
    figures: dict[str, Any] = {
        name: _known(_times(getattr(row, name), 1 / factor)) for name in TIMES
    }
    figures |= {name: _known(_times(getattr(row, name), factor)) for name in RATES}
    figures[FACTOR] = 1.0
    for kind, column in MEDIANS.items():
        figures[between_runs.corrected_column(kind)] = None
        time_s = figures[column]
        if time_s is None:
            figures |= _ends(kind, None, math.nan)
        elif getattr(row, f"{kind}_low_s") is not None:
            measured = dataclasses.replace(row, **figures)
            own = between_runs.centre_from_row(measured, column)
            ends = between_runs.interval(own, between_runs.from_row(row, column), stopped=stopped)
            figures |= _ends(kind, ends, time_s)
    return dataclasses.replace(row, **figures)
