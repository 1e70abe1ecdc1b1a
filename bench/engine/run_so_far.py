"""The outcomes of a run so far, and what follows from them for the next ones.  Pure."""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.core.records import (
    Case,
    Entry,
    Failure,
    Measurement,
    Outcome,
    StaticMetrics,
    Status,
    whole_phase,
)
from bench.engine import policy
from bench.stats.intervals import relative_half_width

FINAL: frozenset[Status] = frozenset({"unsupported", "invalid", "oom"})  # no chance decides these


def contended(outcome: Outcome) -> bool:
    """Return whether other work on the machine disturbed it."""
    return isinstance(outcome, Measurement) and "contended" in outcome.flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Results for the same plan from another machine of the same kind.

    static_metrics: ids of cases that need none any more.  wrong: ids of cases that compute
                    something else.  calls: per pipelined sample, by case id.
    """

    static_metrics: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass
class RunSoFar:
    """The outcomes of a run so far, and what follows for the next."""

    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    with_static_metrics: set[str] = field(default_factory=set)
    # Case id → the time limit that ended the search for some of its static metrics.
    static_limits_s: dict[str, float] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)  # cases that compute something else
    known_calls: Mapping[str, int] = field(default_factory=dict)  # as `Known`

    def learn(self, known: Known) -> None:
        self.with_static_metrics |= set(known.static_metrics)
        self.wrong |= set(known.wrong)
        self.known_calls = known.calls

    def add(self, entry: Entry) -> None:
        if isinstance(entry, StaticMetrics):
            self.with_static_metrics.add(entry.case.case_id)
            self.static_limits_s.pop(entry.case.case_id, None)
            if entry.limit_s is not None:
                self.static_limits_s[entry.case.case_id] = entry.limit_s
            if entry.invalid:
                self.wrong.add(entry.case.case_id)
        else:
            self.outcomes.setdefault(entry.case.case_id, []).append(entry)

    def counted(self, case: Case, limit_s: float) -> bool:
        """Return whether its static metrics are not to be looked for under this time limit."""
        ended_s = self.static_limits_s.get(case.case_id, limit_s)
        return case.case_id in self.with_static_metrics and ended_s >= limit_s

    def of(self, case: Case) -> list[Outcome]:
        return self.outcomes.get(case.case_id, [])

    def replicates(self, case: Case) -> frozenset[int]:
        return frozenset(outcome.replicate for outcome in self.of(case))

    def measured(self, case: Case) -> bool:
        return any(isinstance(one, Measurement) for one in self.of(case))

    def disturbed(self, case: Case, wanted: int) -> bool:
        """Return whether other work leaves it fewer quiet replicates than are wanted."""
        ok = [one for one in self.of(case) if isinstance(one, Measurement)]
        return any(map(contended, ok)) and sum(not contended(one) for one in ok) < wanted

    def given_up(self, case: Case) -> bool:
        failures = [(one.status,) for one in self.of(case) if isinstance(one, Failure)]
        return case.case_id in self.wrong or policy.given_up(failures, FINAL)

    def calls(self, case: Case) -> int | None:
        """Calls per pipelined sample, frozen by the first replicate that measured."""
        for outcome in self.of(case):
            if isinstance(outcome, Measurement):
                for one in outcome.samples:
                    if one.kind == "pipelined" and one.phase == whole_phase(case.mode):
                        return one.calls_per_sample
        return self.known_calls.get(case.case_id)

    def half_width(self, case: Case) -> float:
        """Relative half-width of the 95 % interval of the whole's latency; unknown: infinity."""
        medians = [
            statistics.median(one.times_s)
            for outcome in self.of(case)
            if isinstance(outcome, Measurement)
            for one in outcome.samples
            if one.kind == "latency" and one.phase == whole_phase(case.mode)
        ]
        if any(one <= 0 for one in medians):  # a damaged journal: nobody measured that
            return math.inf
        width = relative_half_width(medians)
        return math.inf if width is None else width

    def smaller_oom(self, case: Case) -> Failure | None:
        """Return the failure of the same case at a smaller batch, where memory ran out."""
        for outcomes in self.outcomes.values():
            for one in outcomes:
                if (
                    isinstance(one, Failure)
                    and one.status == "oom"
                    and one.case.batch < case.batch
                    and dataclasses.replace(one.case, batch=case.batch) == case
                ):
                    return one
        return None
