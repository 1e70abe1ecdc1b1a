"""Simulate searches on the rounds of exhaustive sweeps, and report on both.

A made round draws the common deviation of a measured round, and for each setting one of its own
residuals.  So a drawn time has the spread that the setting had from process to process and from
one sweep to the next, outliers included.  Durations of the work come from the sweeps as well.
"""

import math
import random
import statistics
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.commands.tune import BUDGET_S, CONFIRM_SHARE
from bench.core.decode import case as case_of
from bench.core.records import Case, Measurement, Samples
from bench.engine.policy import Deadline
from bench.tune.confirm import SEARCH_PAIRS, Confirmation
from bench.tune.search import Search
from bench.tune.space import Space
from bench.tune.static import Static
from experiments.tune_proof import (
    NETWORKS,
    Checked,
    Round,
    Store,
    Trial,
    candidates,
)

REPLICATES = 5  # of an exhaustive sweep, as `bench run` takes them
NEAR = 0.03  # a choice so near the best one counts as right
TURNS_S = 0.8  # of the samples of a pair


@dataclass(frozen=True, slots=True)
class Sweep:
    """An exhaustive sweep.

    logs:  centre of the log of each setting's time.  residuals: around it, in each round.
    drift: common deviation of each round.
    walls_s, cold_s: seconds that a measurement takes, later and with an empty compiler's cache.
    check_s: of the float64 check, by whether the setting is compiled.
    """

    space: Space
    cases: tuple[Case, ...]
    logs: Mapping[str, float]
    residuals: Mapping[str, Sequence[float]]
    drift: Sequence[float]
    walls_s: Mapping[str, float]
    cold_s: Mapping[str, float]
    start_s: float
    check_s: Mapping[bool, float]

    @property
    def best(self) -> float:
        """The log of the fastest setting's time."""
        return min(self.logs.values())

    @property
    def exhaustive_s(self) -> float:
        """Return the seconds of all settings in REPLICATES rounds, and of the check of each."""
        rounds = REPLICATES * (self.start_s + sum(self.walls_s.values()))
        cold = sum(self.cold_s[key] - self.walls_s[key] for key in self.walls_s)
        checks = sum(self.check_s[case.compile != "off"] for case in self.cases)
        return rounds + cold + checks + self.start_s


def sweep_of(
    space: Space, cases: Sequence[Case], rounds: Sequence[Round], checks: Sequence[Checked]
) -> Sweep:
    """Centre, drift and residuals of the settings that every round has."""
    known = [one for one in cases if all(one.case_id in found.times_s for found in rounds)]
    keys = [one.case_id for one in known]
    table = {key: [math.log(found.times_s[key]) for found in rounds] for key in keys}
    logs = {key: statistics.fmean(values) for key, values in table.items()}
    drift = [
        statistics.median(table[key][place] - logs[key] for key in keys)
        for place in range(len(rounds))
    ]
    # Residuals of few rounds are too small by this factor: the centre is theirs.
    wider = math.sqrt(len(rounds) / (len(rounds) - 1))
    residuals = {
        key: [
            wider * (value - logs[key] - common)
            for value, common in zip(values, drift, strict=True)
        ]
        for key, values in table.items()
    }
    warm = [one for one in rounds if not one.cold]
    cold = [one for one in rounds if one.cold]
    walls_s = {key: statistics.median(one.walls_s[key] for one in warm) for key in keys}
    compiled_s = {
        True: statistics.median(
            one.wall_s for one in checks if case_of(_fields(one)).compile != "off"
        ),
        False: statistics.median(
            one.wall_s for one in checks if case_of(_fields(one)).compile == "off"
        ),
    }
    return Sweep(
        space,
        tuple(known),
        logs,
        residuals,
        drift,
        walls_s,
        {key: max([walls_s[key], *(one.walls_s[key] for one in cold)]) for key in keys},
        statistics.median(one.start_s for one in rounds),
        compiled_s,
    )


def _fields(one: Checked) -> dict[str, object]:
    return {name: value for name, value in one.case.items() if name != "case_id"}


@dataclass
class SimulatedLab:
    """Draws what the lab of processes would measure, and advances a clock."""

    sweep: Sweep
    draw: random.Random
    now_s: float = 0.0
    compiled: set[str] = field(default_factory=set)

    def _log(self, key: str) -> float:
        return self.sweep.logs[key] + self.draw.choice(self.sweep.residuals[key])

    def _wall_s(self, key: str) -> float:
        first = key not in self.compiled
        self.compiled.add(key)
        return (self.sweep.cold_s if first else self.sweep.walls_s)[key]

    def round(
        self, number: int, cases: Sequence[Case], until: Deadline
    ) -> Generator[Measurement, None, None]:
        self.now_s += self.sweep.start_s
        common = self.draw.choice(self.sweep.drift)
        for case in cases:
            if until.spent and case != cases[0]:
                continue
            self.now_s += self._wall_s(case.case_id)
            time_s = math.exp(self._log(case.case_id) + common)
            samples = (
                Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=(time_s,)),
            )
            yield Measurement(case=case, replicate=number, samples=samples)

    def statics(self, cases: Sequence[Case]) -> Generator[Static, None, None]:
        self.now_s += self.sweep.start_s
        for case in cases:
            self.now_s += self.sweep.check_s[case.compile != "off"]
            yield Static({"relative_error": 1e-6})

    def pair(self, _: int, compared: Sequence[tuple[Case, Case]]) -> list[float | None]:
        self.now_s += self.sweep.start_s
        found: list[float | None] = []
        for a, b in compared:
            self.now_s += TURNS_S + self._wall_s(a.case_id) + self._wall_s(b.case_id)
            found.append(self._log(b.case_id) - self._log(a.case_id))
        return found


@dataclass(frozen=True, slots=True)
class Searched:
    """One search against the sweep.

    worse:  time of its choice by that of the best setting, minus 1.
    spent:  its time by that of the exhaustive sweep.
    holds:  whether the printed interval holds the speedup of the sweep; None without an interval.
    """

    worse: float
    spent: float
    holds: bool | None


def simulated(sweep: Sweep, seed: int) -> Searched:
    """One search on made rounds, with the budget of the command."""
    lab = SimulatedLab(sweep, random.Random(seed))
    search = Search(
        space_at=lambda _: sweep.space,
        batch=sweep.space.plain.batch,
        objective="latency",
        lab=lab,
        budget_s=BUDGET_S * (1 - CONFIRM_SHARE),
        tell=lambda _: None,
        clock=lambda: lab.now_s,
    )
    search.run()
    plain = sweep.space.plain
    pairs = Confirmation(search.comparisons(), most=SEARCH_PAIRS)
    pairs.run(lab.pair, lambda: lab.now_s > BUDGET_S)
    winner, _, pairs = search.answer(pairs)
    printed = pairs.of("plain")
    holds = None
    if printed is not None and printed.low is not None and printed.high is not None:
        true = math.exp(sweep.logs[plain.case_id] - sweep.logs[winner.case_id])
        holds = printed.low <= true <= printed.high
    worse = math.expm1(sweep.logs[winner.case_id] - sweep.best)
    return Searched(worse, lab.now_s / sweep.exhaustive_s, holds)


def of_trial(sweep: Sweep, trial: Trial) -> Searched:
    """A real search; its interval is compared with the pairs that were measured afterwards."""
    winner = case_of(dict(trial.found["winner"]))
    printed = trial.found["against_plain"]
    holds = None
    if printed and printed["low"] is not None and trial.after:
        after = math.exp(-statistics.fmean(trial.after))
        holds = printed["low"] <= after <= printed["high"]
    worse = math.expm1(sweep.logs[winner.case_id] - sweep.best)
    return Searched(worse, trial.spent_s / sweep.exhaustive_s, holds)


def report(store: Store, trials: int) -> str:
    """A table of Markdown: simulated searches and real ones, for each network."""
    heads = ["network", "settings", "searches", "choice within 3 %"]
    heads += ["time by the sweep's (median, worst)", "interval holds"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    real = store.all(Trial)
    for name, network in NETWORKS.items():
        rounds = [one for one in store.all(Round) if one.network == name]
        if len(rounds) < 2:
            continue
        space, cases = candidates(network)
        sweep = sweep_of(space, cases, rounds, store.all(Checked))
        made = [simulated(sweep, seed) for seed in range(trials)]
        own = [of_trial(sweep, one) for one in real if one.network == name]
        for kind, found in (("simulated", made), ("real", own)):
            if found:
                lines.append(_line(f"{name}, {kind}", len(sweep.cases), found))
    for one in real:
        if one.network == "planted":
            winner = case_of(dict(one.found["winner"]))
            lines.append(f"\nplanted: {winner.case_id}; refused: {_refused(one)}")
    return "\n".join(lines)


def _refused(trial: Trial) -> str:
    return "; ".join(sorted({str(one["reason"]) for one in trial.found["refused"]}))


def _line(name: str, settings: int, found: Sequence[Searched]) -> str:
    right = sum(one.worse <= NEAR for one in found)
    held = [one.holds for one in found if one.holds is not None]
    spent = [one.spent for one in found]
    return (
        f"| {name} | {settings} | {len(found)} | {right} of {len(found)} "
        f"| {statistics.median(spent):.2f}, {max(spent):.2f} | {sum(held)} of {len(held)} |"
    )
