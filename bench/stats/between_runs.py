"""The between-run SD: the spread between runs of the same code.

The replicates of one run share the state of the machine during that run.  An interval over them
predicts more replicates of the same run, but not another run.  The missing part is estimated from
earlier runs of the same machine and build.  Without such runs it is a default, which was measured
once (docs/trust.md, "What an interval holds").
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.core.records import Row
from bench.stats.intervals import LEVEL, STOPPED_LEVEL, t_quantile
from bench.stats.ratios import Centre, Part, centre_of_interval, combined

# The middle of three machines, from eight runs on one of them: docs/trust.md, "What an interval
# holds", `python -m experiments.drift --runs 8`.
DEFAULT_SD = 0.046
DEFAULT_DF = 7
ENOUGH_ASKED = 5  # who asks for fewer replicates gets no more than that: config.ENOUGH
ENOUGH = 5  # earlier runs that say more by themselves than with the default mixed in


@dataclass(frozen=True, slots=True)
class Between:
    """The between-run SD of one figure.

    sd:           SD of the logs of the runs' centres, without the part that replicates can see.
    earlier_runs: number of runs it comes from; 0 = the default, below ENOUGH = mixed with it.
    """

    sd: float = DEFAULT_SD
    earlier_runs: int = 0

    @property
    def part(self) -> Part:
        """Return its variance, which is added to that of one run."""
        own_df = max(0, self.earlier_runs - 1)
        known = self.earlier_runs >= ENOUGH
        return Part(self.sd**2, own_df if known else own_df + DEFAULT_DF)


def of(earlier: Sequence[Centre]) -> Between:
    """Estimate from the same case in earlier runs; with fewer than two, return the default.

    The variance of the centres minus the part that the replicates can see.  With few runs this is
    imprecise, so the default is mixed in, weighted by its degrees of freedom.
    """
    count = len(earlier)
    if count < 2:
        return Between()
    seen = [one.variance for one in earlier if one.variance is not None]
    inside = math.fsum(seen) / len(seen) if seen else 0.0
    own = max(0.0, statistics.variance(one.log for one in earlier) - inside)
    if count < ENOUGH:
        own = (DEFAULT_DF * DEFAULT_SD**2 + (count - 1) * own) / (DEFAULT_DF + count - 1)
    return Between(math.sqrt(own), count)


def interval(
    own: Centre, between: Between, *, stopped: bool, more: Sequence[Part] = ()
) -> tuple[float, float] | None:
    """Return the 95 % interval of the centre of all runs of this code on this machine.

    stopped: replicates were added while their interval was wide; see STOPPED_LEVEL.
    more:    what else the time is not sure of.
    None where the replicates have none, or where no float holds an end.
    """
    part = own.part
    if part is None:
        return None
    if stopped:
        df = int(part.df)
        wider = t_quantile(df, STOPPED_LEVEL) / t_quantile(df, LEVEL)
        part = Part(part.variance * wider**2, part.df)
    parts = [part, between.part, *more]
    low, high = combined(own.log, parts, own.n).interval() or (0.0, math.inf)
    return (low, high) if low > 0 and high < math.inf else None


def two_runs(base: Between, value: Between) -> Part:
    """Return the between-run part of a ratio of two runs: the sum of both variances.

    Both usually come from the same earlier runs or the same default.  So the sum has the degrees
    of freedom of the less precise one.
    """
    parts = base.part, value.part
    return Part(math.fsum(one.variance for one in parts), min(one.df for one in parts))


def default_part() -> Part:
    """Return the default part of a ratio, for figures that come from several rows."""
    return two_runs(Between(), Between())


def from_row(row: Row, column: str) -> Between:
    """Read the spread from a row of measurements.csv; rows of earlier versions have the default.

    It is that of times as measured, even if the row's times are at the controls' usual level.
    """
    sd = getattr(row, f"{stem(column)}_between_ratio", None)
    return Between() if sd is None or row.earlier_runs is None else Between(sd, row.earlier_runs)


def centre_from_row(row: Row, column: str) -> Centre:
    """Return the centre of one run's replicates as measured, from its row without the samples.

    Rows of earlier versions have the interval of the replicates instead of its error.
    """
    name, n, time_s = stem(column), row.replicates or 0, getattr(row, column)
    error = getattr(row, f"{name}_error_ratio", None)
    log = math.log(time_s) - math.log(row.control_factor or 1.0)
    if error is not None and n > 1:
        return Centre(log, error**2, n, row.nodes)
    if row.earlier_runs is not None:
        return Centre(log, None, n)
    low, high = (getattr(row, f"{name}_{end}_s", None) for end in ("low", "high"))
    return centre_of_interval(time_s, low, high, n)


def corrected_column(kind: str) -> str:
    """Return the column with the between-run SD that is left at the usual level of the controls."""
    return f"{kind}_corrected_ratio"


def stem(column: str) -> str:
    """`latency_median_s` → `latency`, `pipelined_s` → `pipelined`."""
    return column.removesuffix("_median_s").removesuffix("_s")


def describe(ones: Sequence[Between]) -> str:
    """`4.6 % between runs (default)`; for several, the range and the sources."""
    sds = sorted({f"{100 * one.sd:.1f}" for one in ones}, key=float)
    counts = sorted({one.earlier_runs for one in ones})
    learnt = [count for count in counts if count]
    runs = f"{_range(learnt)} earlier run{'' if learnt == [1] else 's'}" if learnt else ""
    default = "default" if not learnt or learnt[0] < ENOUGH or 0 in counts else ""
    whence = " and the ".join(filter(None, (runs, default)))
    return f"{_range(sds)} % between runs ({whence})"


def describe_rows(rows: Iterable[Row], kind: str = "latency") -> str:
    """Return the text for the times of a run; empty if they do not include it.

    kind: `latency` or `pipelined`.
    """
    ones = []
    for row in rows:
        between = getattr(row, f"{kind}_between_ratio")
        left = getattr(row, corrected_column(kind))
        if None not in (between, row.earlier_runs, getattr(row, f"{kind}_low_s")):
            ones.append(Between(between if left is None else left, int(row.earlier_runs or 0)))
    return describe(ones) if ones else ""


def _range(values: Sequence[object]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
