"""Simulate how often `bench check` is wrong, with the functions that decide there.

    python -m experiments.checked                    2000 suites a line, two minutes
    python -m experiments.checked --suites 500
    python -m experiments.checked --earlier 1 3 6

A suite is eight cases, with five replicates in each run, and earlier runs of the machine or none.
The time of a case in a run is its own, times a level that all cases of the run share, times one
that this case has in this run, times the noise of each replicate (SD 3 %); single calls and calls
in a row share both levels.  Each run learns from those before it what runs of one code differ by,
as `bench run` does, and the newest one is the baseline.  The run that is judged is of the same
code, but for one case that may be slowed.  Printed: the share of suites with a case that is
REGRESSED, or a SUSPECT at least, and how often the slowed case is SAME, REGRESSED, or a SUSPECT at
least.
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.core.records import Row
from bench.results import history
from bench.stats import between_runs
from bench.stats.intervals import centre
from bench.verdict.timing import TIMED, findings_of, test_of

CASES = 8
REPLICATES = 5
WITHIN = 0.03
THRESHOLD = 0.05
SLOWED = "case 0"
COLUMNS = {"latency": "latency_median_s", "pipelined": "pipelined_s"}

Medians = dict[tuple[str | None, str, str, str], dict[int, float]]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine on which runs of one code differ by these SDs of logs.

    shared:   of the level of a run.
    own:      of each case in a run beside that.
    follows:  how much of the shared level the controls show.
    controls: what these scatter by themselves.
    """

    name: str
    shared: float = 0.0
    own: float = 0.0
    follows: float = 0.0
    controls: float = 0.015


MACHINES = (
    Machine("shared level, SD 1 %", shared=0.01),
    Machine("shared level, SD 3 %", shared=0.03),
    Machine("shared level, SD 4 %", shared=0.04),
    Machine("shared level, SD 6 %", shared=0.06),
    Machine("own level, SD 0.5 %", own=0.005),
    Machine("own level, SD 1.5 %", own=0.015),
    Machine("own level, SD 2 %", own=0.02),
    Machine("own level, SD 3.3 %", own=0.033),
    Machine("shared 3 % and own 3 %, controls follow", shared=0.03, own=0.03, follows=1.0),
)


def measured(
    machine: Machine, run_id: str, slowed: float, rng: random.Random
) -> tuple[dict[str, Row], Medians]:
    """A run: a row a case, and the medians of its replicates.  slowed: factor of one case."""
    level = rng.gauss(0, machine.shared)
    rows: dict[str, Row] = {}
    medians: Medians = {}
    for case_id in (f"case {number}" for number in range(CASES)):
        own = level + rng.gauss(0, machine.own)
        control_s = rng.lognormvariate(machine.follows * level, machine.controls)
        factor = 0.01 * (slowed if case_id == SLOWED else 1.0)
        found = {}
        for kind, column in COLUMNS.items():
            times_s = [factor * rng.lognormvariate(own, WITHIN) for _ in range(REPLICATES)]
            medians[run_id, case_id, "forward", kind] = dict(enumerate(times_s))
            found[column] = centre(times_s)
        rows[case_id] = Row(
            run_id=run_id,
            case_id=case_id,
            phase="forward",
            machine_id="one",
            replicates=REPLICATES,
            control_s=control_s,
            latency_median_s=found["latency_median_s"],
            pipelined_s=found["pipelined_s"],
            images_per_s=1 / found["pipelined_s"],
        )
    return rows, medians


def earlier_runs(
    machine: Machine, count: int, slowed: float, rng: random.Random
) -> list[tuple[dict[str, Row], Medians]]:
    """Return `count` runs of the same code, then the one that is judged.

    As `bench run` does, each learns from those before it what runs of one code differ by.
    """
    made: list[tuple[dict[str, Row], Medians]] = []
    for number in range(count + 1):
        now = number == count
        name = "now" if now else f"earlier {number}"
        rows, medians = measured(machine, name, slowed if now else 1.0, rng)
        learnt: dict[str, Row] = {
            case_id: replace(row, **_between([one[case_id] for one, _ in made[-history.MOST :]]))
            for case_id, row in rows.items()
        }
        made.append((learnt, medians))
    return made


def _between(past: Sequence[Row]) -> dict[str, Any]:
    """The columns of measurements.csv that say what runs differ by."""
    row: dict[str, Any] = {}
    for kind, column in COLUMNS.items():
        apart = between_runs.of([between_runs.centre_from_row(line, column) for line in past])
        row |= {f"{kind}_between_ratio": apart.sd, "earlier_runs": apart.earlier_runs}
    return row


def verdicts(
    machine: Machine, earlier: int, slowed: float, rng: random.Random
) -> dict[str, set[str]]:
    """Return, by case, the verdicts of its times.

    earlier: runs before the judged one, at least one: the newest is the baseline.
    """
    *past, (base_rows, base_medians), (rows, medians) = earlier_runs(machine, earlier, slowed, rng)
    tests = [
        test_of(
            case_id,
            figure,
            (base_rows[case_id], value),
            (base_medians, medians),
            [one[case_id] for one, _ in past],
        )
        for case_id, value in rows.items()
        for figure in TIMED
    ]
    found = findings_of(tests, THRESHOLD)
    return {case_id: {str(one.verdict) for one in found[case_id]} for case_id in rows}


def rates(
    machine: Machine, earlier: int, slowed: float, suites: int, rng: random.Random
) -> Counter[str]:
    """Count the suites with an alarm, and the verdicts of the slowed case."""
    counts: Counter[str] = Counter()
    for _ in range(suites):
        found = verdicts(machine, earlier, slowed, rng)
        every = set().union(*found.values())
        counts["REGRESSED"] += "REGRESSED" in every
        counts["SUSPECT"] += bool({"REGRESSED", "SUSPECT"} & every)
        own = found[SLOWED]
        counts["own SAME"] += own == {"SAME"}  # all its times
        counts["own some SAME"] += "SAME" in own
        counts["own REGRESSED"] += "REGRESSED" in own
        counts["own SUSPECT"] += bool({"REGRESSED", "SUSPECT"} & own)
    return counts


def show(machine: Machine, earlier: int, slowdowns: Sequence[float], suites: int) -> None:
    """A line for the same code, and one a slowdown."""
    print(f"\n{machine.name}, {earlier} earlier run{'' if earlier == 1 else 's'}")
    rng = random.Random(f"{machine.name} {earlier}")
    same = rates(machine, earlier, 1.0, suites, rng)
    print(
        f"  same code: REGRESSED in {same['REGRESSED'] / suites:.2%} of suites, a SUSPECT at least "
        f"in {same['SUSPECT'] / suites:.2%}; a case is SAME in {same['own SAME'] / suites:.1%}"
    )
    for by in slowdowns:
        found = rates(machine, earlier, 1 + by, suites, rng)
        print(
            f"  one case {by:+.0%}: SAME {found['own SAME'] / suites:.2%} (either time "
            f"{found['own some SAME'] / suites:.2%}), REGRESSED "
            f"{found['own REGRESSED'] / suites:.1%}, a SUSPECT at least "
            f"{found['own SUSPECT'] / suites:.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", type=int, default=2000)
    parser.add_argument("--earlier", type=int, nargs="+", default=[6, 1])
    asked = parser.parse_args()
    if min(asked.earlier) < 1:
        parser.error(
            f"--earlier {min(asked.earlier)}: expected 1 or more; the newest earlier run is the "
            "baseline, and without one `bench check` judges no time"
        )
    for earlier in asked.earlier:
        for machine in MACHINES:
            show(machine, earlier, (0.06, 0.10, 0.20), asked.suites)


if __name__ == "__main__":
    main()
