"""How far a time moves from one run to the next, beyond what the replicates of one run can see.

The replicates of a run share its minutes: the state of the machine, of its host, of its memory.
So the interval over them says what further replicates of the same run would give, and not what
another run gives.  The part that is missing is learnt from earlier runs of the same machine and
build; where there are none, it is a figure that was measured once, and is called the default.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.core.records import Row
from bench.stats.intervals import LEVEL, STOPPED_LEVEL, t_quantile
from bench.stats.ratios import Centre, Part, centre_of_interval, combined

# Eight runs in turn of one code on a quiet machine: the SD of a case's medians, mean over six
# cases (2.0 to 7.0 %; `python -m experiments.drift --runs 8`).  Another machine had 3.3 %, a third
# 7.6 %, of which the replicates do not see 5.9 %.  The middle is taken, and known as well as eight
# runs tell.
DEFAULT_SD = 0.046
DEFAULT_DF = 7
ENOUGH = 5  # earlier runs that say more by themselves than with the default mixed in


@dataclass(frozen=True, slots=True)
class Between:
    """What runs of one code differ by.

    sd:           of the logs of a run's centre, without what the replicates see.
    earlier_runs: from how many it comes; 0 = the default, below ENOUGH mixed with it.
    """

    sd: float = DEFAULT_SD
    earlier_runs: int = 0

    @property
    def part(self) -> Part:
        """Its variance, to be added to that of one run."""
        own_df = max(0, self.earlier_runs - 1)
        known = self.earlier_runs >= ENOUGH
        return Part(self.sd**2, own_df if known else own_df + DEFAULT_DF)


def of(earlier: Sequence[Centre]) -> Between:
    """From the same case in earlier runs; of one run or none the default.

    The variance of their centres less what their replicates see of it.  Of few runs that is known
    badly, so the default counts beside it with its own degrees of freedom.
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


def interval(own: Centre, between: Between, *, stopped: bool) -> tuple[float, float] | None:
    """The 95 % interval of a time of this machine: what other runs of the same code centre on.

    stopped: replicates were added while their interval was wide; see STOPPED_LEVEL.
    None where the replicates have none, or where no float holds an end.
    """
    part = own.part
    if part is None:
        return None
    if stopped:
        df = int(part.df)
        wider = t_quantile(df, STOPPED_LEVEL) / t_quantile(df, LEVEL)
        part = Part(part.variance * wider**2, part.df)
    low, high = combined(own.log, [part, between.part], own.n).interval() or (0.0, math.inf)
    return (low, high) if low > 0 and high < math.inf else None


def two_runs(base: Between, value: Between) -> Part:
    """What the ratio of two runs has of it: both.

    They come from the same earlier runs or the same default as a rule, so that two of them are
    known no better than the worse one.
    """
    parts = base.part, value.part
    return Part(math.fsum(one.variance for one in parts), min(one.df for one in parts))


def unlearnt() -> Part:
    """The same by the default, of figures that are put together from several rows."""
    return two_runs(Between(), Between())


def of_row(row: Row, column: str) -> Between:
    """As a row of measurements.csv says it; the default where it does not (written earlier)."""
    sd = getattr(row, f"{stem(column)}_between_ratio", None)
    return Between() if sd is None or row.earlier_runs is None else Between(sd, row.earlier_runs)


def centre_of_row(row: Row, column: str) -> Centre:
    """The centre of one run's replicates, where the samples are not at hand.

    Rows of earlier versions have the interval of the replicates in place of its error.
    """
    name, n, time_s = stem(column), row.replicates or 0, getattr(row, column)
    error = getattr(row, f"{name}_error_ratio", None)
    if error is not None and n > 1:
        return Centre(math.log(time_s), error**2, n)
    if row.earlier_runs is not None:
        return Centre(math.log(time_s), None, n)
    low, high = (getattr(row, f"{name}_{end}_s", None) for end in ("low", "high"))
    return centre_of_interval(time_s, low, high, n)


def stem(column: str) -> str:
    """`latency_median_s` → `latency`, `pipelined_s` → `pipelined`."""
    return column.removesuffix("_median_s").removesuffix("_s")


def told(ones: Sequence[Between]) -> str:
    """`4.6 % between runs (default)`; of several the range, and whence."""
    sds = sorted({f"{100 * one.sd:.1f}" for one in ones}, key=float)
    counts = sorted({one.earlier_runs for one in ones})
    learnt = [count for count in counts if count]
    runs = f"{_range(learnt)} earlier run{'' if learnt == [1] else 's'}" if learnt else ""
    default = "default" if not learnt or learnt[0] < ENOUGH or 0 in counts else ""
    whence = " and the ".join(filter(None, (runs, default)))
    return f"{_range(sds)} % between runs ({whence})"


def told_of_rows(rows: Iterable[Row]) -> str:
    """The same of the latencies in a run's rows; empty where they do not include it."""
    ones = [
        Between(row.latency_between_ratio, row.earlier_runs)
        for row in rows
        if row.latency_between_ratio is not None
        and row.earlier_runs is not None
        and row.latency_low_s is not None
    ]
    return told(ones) if ones else ""


def _range(values: Sequence[object]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
