"""Simulate how often times are corrected by the controls, wrongly and rightly.

    python -m experiments.corrected                1000 draws a line, some minutes
    python -m experiments.corrected --draws 200    a look

Made-up machines with known noise: each run has a level that its cases share, each case one of its
own besides, and replicates scatter around that.  The controls follow the level in full, in part,
not at all, or the other way.  The rule of `bench.stats.control_rule` learns from earlier runs; then
one more run is printed as `bench run` would.  Shown: how often the rule said yes; how far the
printed times scatter, and how often their intervals hold the truth (half width), as measured and
by the rule, and how often those of moved times alone do.  Where the controls do not help, a yes is
wrong.
"""

import argparse
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.records import Row
from bench.results import corrected
from bench.results.corrected import Replicate
from bench.stats import between_runs, control_rule, ratios
from bench.stats.control_rule import Learnt, Point, Series

REPLICATES = 5
EARLIER = (5, 7, 10, 20)
CASES = (1, 6)
LEAST_MOVED = 50  # times, to say how many of their intervals hold the truth


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, by its SDs of logs.

    shared:   of the level that all cases of a run share.
    own:      of what each case of a run has besides.
    controls: of the controls' level from run to run.
    follows:  correlation of that with `shared`.
    beside:   of the controls beside each case, besides.
    common:   share of `own` that the controls beside the case show as well.
    helps:    whether dividing by the controls lowers the true SD.
    """

    name: str
    shared: float = 0.05
    own: float = 0.02
    controls: float = 0.05
    follows: float = 0.0
    beside: float = 0.02
    common: float = 0.0
    replicates: float = 0.05
    helps: bool = False


MACHINES = (
    Machine("controls explain all", shared=0.07, follows=1.0, beside=0.01, helps=True),
    Machine("nearly all, by the case too", 0.06, 0.04, 0.06, 0.97, 0.02, 0.9, helps=True),
    Machine("half of the variance", follows=0.71, helps=True),
    Machine("nothing", follows=0.0),
    Machine("nothing, cases alike", own=0.005, beside=0.005),
    Machine("nothing, controls quiet", controls=0.02, beside=0.01),
    Machine("nothing, controls wild", controls=0.10),
    Machine("nothing, quiet machine", shared=0.01, own=0.01, controls=0.01),
    Machine("too little to help", shared=0.033, controls=0.05, follows=0.3, beside=0.03),
    Machine("the other way", follows=-0.6),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One case in one run: its replicates."""

    replicates: tuple[Replicate, ...]

    @property
    def time(self) -> float:
        return statistics.fmean(one.time for one in self.replicates)

    @property
    def control(self) -> float:
        return statistics.fmean(one.control for one in self.replicates)


def run_of(machine: Machine, cases: int, rng: random.Random) -> list[Run]:
    """The truth is a time of 1, with the controls at 1."""
    common = rng.gauss(0, 1)
    level = machine.shared * common
    rest = math.sqrt(1 - machine.follows**2)
    control_level = machine.controls * (machine.follows * common + rest * rng.gauss(0, 1))
    found = []
    for _ in range(cases):
        own = rng.gauss(0, machine.own)
        beside = rng.gauss(0, machine.beside) + machine.common * own
        found.append(
            Run(
                tuple(
                    Replicate(
                        level + own + rng.gauss(0, machine.replicates),
                        control_level + beside + rng.gauss(0, machine.beside),
                    )
                    for _ in range(REPLICATES)
                )
            )
        )
    return found


def learnt_from(runs: Sequence[Sequence[Run]]) -> Learnt:
    """Learn from runs; the name of a case is its number."""
    return control_rule.learn(
        {
            (str(case), "forward"): Series(
                "cpu",
                True,
                {
                    number: Point({"latency": run[case].time}, run[case].control)
                    for number, run in enumerate(runs)
                },
            )
            for case in range(len(runs[0]))
        }
    )


@dataclass(frozen=True, slots=True)
class Printed:
    """A time and the ends of its interval, as logs."""

    time: float
    low: float
    high: float


def as_measured(run: Run, earlier: Sequence[Run]) -> Printed:
    past = [ratios.centre([math.exp(r.time) for r in one.replicates]) for one in earlier]
    own = ratios.centre([math.exp(one.time) for one in run.replicates])
    low, high = between_runs.interval(own, between_runs.of(past), stopped=False) or (0.0, math.inf)
    return Printed(own.log, math.log(low), math.log(high))


def by_rule(run: Run, rule: control_rule.CaseRule) -> Printed:
    row = Row(latency_median_s=math.exp(run.time), control_s=math.exp(run.control))
    row = corrected.moved(row, {"latency": run.replicates}, rule, stopped=False)
    ends = (row.latency_median_s, row.latency_low_s, row.latency_high_s)
    return Printed(*(math.log(end or math.nan) for end in ends))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of many draws: the share of yes, and the times printed without and with the rule.

    moved: those that the rule moved.
    """

    yes: float
    raw: Sequence[Printed]
    ruled: Sequence[Printed]
    moved: Sequence[Printed]

    def line(self) -> str:
        moved = f"{held(self.moved):6.1%}" if len(self.moved) >= LEAST_MOVED else ""
        both = f"{_told(self.raw)}   {_told(self.ruled)}"
        return f"yes {self.yes:6.1%}   {both}   {moved}".rstrip()


def simulate(machine: Machine, cases: int, earlier: int, draws: int, rng: random.Random) -> Outcome:
    yes = 0
    raw, ruled, moved = list[Printed](), list[Printed](), list[Printed]()
    for _ in range(draws):
        past = [run_of(machine, cases, rng) for _ in range(earlier)]
        learnt = learnt_from(past)
        yes += learnt.evidence["cpu"].helps
        now = run_of(machine, cases, rng)[0]
        raw.append(as_measured(now, [run[0] for run in past]))
        rule = learnt.rule(("0", "forward"))
        ruled.append(raw[-1] if rule is None else by_rule(now, rule))
        moved += [] if rule is None else [ruled[-1]]
    return Outcome(yes / draws, raw, ruled, moved)


def held(found: Sequence[Printed]) -> float:
    return statistics.fmean(one.low <= 0 <= one.high for one in found)


def _told(found: Sequence[Printed]) -> str:
    sd = statistics.stdev(one.time for one in found)
    half = statistics.median((one.high - one.low) / 2 for one in found)
    return f"SD {sd:5.1%}, holds {held(found):6.1%} (± {half:5.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    asked = parser.parse_args()
    rng = random.Random(1)
    print(f"{'':48} {'said yes':10}   {'as measured':36}   {'by the rule':36}   moved")
    for machine in MACHINES:
        for cases in CASES:
            for earlier in EARLIER:
                told = simulate(machine, cases, earlier, asked.draws, rng).line()
                kind = "" if machine.helps else "*"
                print(f"{machine.name + kind:28} {cases} case(s) {earlier:2} earlier  {told}")
    print("* the controls do not help there, so that a yes is wrong")


if __name__ == "__main__":
    main()
