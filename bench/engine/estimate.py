"""How long a run will take, before anything is measured.  Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from bench.core.records import Case
from bench.engine.blocks import COMPILE_OFF, Blocks, Round
from bench.plan.config import RunOptions

# In seconds on two cores, from experiments/overhead.py.
CASE_S = 0.06
COMPILE_COLD_S = 20.0
COMPILE_WARM_S = 4.0
REPLICATE_S = 4.0
BEYOND_BUDGET = 1.15  # one-off work that is under way ends after the budget


def estimate_s(cases: Sequence[Case], run: RunOptions) -> float:
    """With the cases that lower blocks measure again for their ratios.  A budget limits it."""
    outcome_s = CASE_S + run.warmup_s * 1.3 + run.samples_s
    total_s, compiled_before = 0.0, set[str]()
    for one in rounds(cases, run.replicates):
        measured = (*one.own, *one.anchors, *one.later)
        total_s += REPLICATE_S + outcome_s * len(measured)
        for case in measured:
            if case.compile != COMPILE_OFF:
                known = case.case_id in compiled_before
                total_s += COMPILE_WARM_S if known else COMPILE_COLD_S
                compiled_before.add(case.case_id)
    return min(total_s, run.budget_s * BEYOND_BUDGET) if run.budget_s else total_s


def outcomes(cases: Sequence[Case], replicates: int) -> int:
    """Of a whole run, those of anchors as well."""
    every = rounds(cases, replicates)
    return sum(len(one.own) + len(one.anchors) + len(one.later) for one in every)


def rounds(cases: Sequence[Case], replicates: int) -> Iterator[Round]:
    """Those of a run in which the settings fit in beside the plain cases, and nothing fails."""
    blocks, seen = Blocks.of(cases), _Simulated()
    while one := blocks.next_round(seen, replicates, together=True):
        for case in (*one.own, *one.anchors, *one.later):
            seen.numbers.setdefault(case.case_id, set()).add(one.replicate)
        yield one


@dataclass(frozen=True, slots=True)
class _Simulated:
    """A run in which every case is measured."""

    numbers: dict[str, set[int]] = field(default_factory=dict)

    def replicates(self, case: Case) -> Collection[int]:
        return self.numbers.get(case.case_id, ())

    def given_up(self, case: Case) -> bool:  # noqa: ARG002
        return False
