"""How far a time moves from one run to the next, beyond what the replicates of one run can see.

The replicates of a run share its minutes: the state of the machine, of its host, of its memory.
So the interval over them says what further replicates of the same run would give, and not what
another run gives.  The part that is missing is learnt from earlier runs of the same machine and
build; where there are none, it is a figure that was measured once, and is called the default.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from bench.core.records import Row
from bench.stats.intervals import LEVEL, STOPPED_LEVEL, t_quantile
from bench.stats.ratios import Centre, Part, centre_of_interval, combined

# Eight runs in turn of one code on a quiet machine: the SD of a case's medians, mean over six
# cases (2.0 to 7.0 %; `python -m experiments.drift --runs 8`).  Another machine had 3.3 %, a third
# 7.6 %, of which the replicates do not see 5.9 %.  The middle is taken, and known as well as eight
# runs tell.
DEFAULT_SD = 0.046
DEFAULT_DF = 7
ENOUGH_ASKED = 5  # who asks for fewer replicates gets no more than that: config.ENOUGH
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


def interval(
    own: Centre, between: Between, *, stopped: bool, more: Sequence[Part] = ()
) -> tuple[float, float] | None:
    """The 95 % interval of a time of this machine: what other runs of the same code centre on.

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
    """What the ratio of two runs has of it: both.

    They come from the same earlier runs or the same default as a rule, so that two of them are
    known no better than the worse one.
    """
    parts = base.part, value.part
    return Part(math.fsum(one.variance for one in parts), min(one.df for one in parts))


def unlearnt() -> Part:
    """The same by the default, of figures that are put together from several rows."""
    return two_runs(Between(), Between())


def of_line(line: Mapping[str, Any], column: str) -> Between:
    """As a row of measurements.csv says it; the default where it does not (written earlier).

    Of times as they were measured, also where the row's are at the usual level of the controls.
    """
    sd, runs = line.get(f"{stem(column)}_between_ratio"), line.get("earlier_runs")
    if not _known(sd) or not _known(runs):
        return Between()
    return Between(float(sd), int(runs))


def centre_of_line(line: Mapping[str, Any], column: str) -> Centre:
    """The centre of one run's replicates as measured, where the samples are not at hand.

    Rows of earlier versions have the interval of the replicates in place of its error.
    """
    name, count = stem(column), line["replicates"]
    n = int(count) if _known(count) else 0
    error = line.get(f"{name}_error_ratio")
    factor = line.get("control_factor")
    log = math.log(line[column]) - (math.log(factor) if _known(factor) else 0.0)
    if _known(error) and n > 1:
        return Centre(log, float(error) ** 2, n)
    if _known(line.get("earlier_runs")):
        return Centre(log, None, n)
    return centre_of_interval(
        line[column], line.get(f"{name}_low_s"), line.get(f"{name}_high_s"), n
    )


def stopping(config: Mapping[str, Any]) -> bool:
    """Whether the run added replicates where they were not yet precise (`RunOptions`).

    config: of run.json.
    """
    asked, most = int(config.get("replicates", 5)), config.get("max_replicates")
    return asked >= ENOUGH_ASKED if most is None else int(most) > asked


def corrected_column(kind: str) -> str:
    """Of the SD from run to run that is left at the usual level of the controls."""
    return f"{kind}_corrected_ratio"


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
        Between(
            row.latency_between_ratio
            if row.latency_corrected_ratio is None
            else row.latency_corrected_ratio,
            int(row.earlier_runs),
        )
        for row in rows
        if row.latency_between_ratio is not None
        and row.earlier_runs is not None
        and row.latency_low_s is not None
    ]
    return told(ones) if ones else ""


def _range(values: Sequence[object]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _known(value: Any) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
