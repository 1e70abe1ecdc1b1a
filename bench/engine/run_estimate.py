"""Estimate how long a run will take, before anything is measured.  Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from bench.core.records import Case
from bench.core.subject import parse
from bench.engine.blocks import COMPILE_OFF, JOINS, Blocks, Round
from bench.plan.case_costs import ATTEMPTS, Estimate, costs_of, input_bytes
from bench.plan.config import RunOptions
from bench.plan.expand import Plan

REPLICATE_S = 4.0  # a fork server imports torch
BEYOND_BUDGET = 1.15  # one-off work that is under way ends after the budget


def estimate(plan: Plan, run: RunOptions) -> Estimate:
    """Estimate the duration, with the cases that lower blocks measure again for their ratios.

    A budget limits the total, not the shares of the devices.
    """
    shares: dict[str, float] = {}

    def add(case: Case, seconds: float) -> None:
        shares[case.device] = shares.get(case.device, 0.0) + seconds

    largest = [*plan.largest]  # what the search finds is measured, at a larger batch
    started, compiled_before = set[int](), set[str]()
    for one in rounds([*plan.cases, *largest], run):
        started.add(one.replicate)
        for case in (*one.own, *one.anchors, *one.later):
            add(case, _outcome_s(case, run))
            if case.compile != COMPILE_OFF:
                costs = costs_of(case)
                known = case.case_id in compiled_before
                add(case, costs.compile_warm_s if known else costs.compile_cold_s)
                compiled_before.add(case.case_id)
    for case in (*plan.cases, *largest):
        metrics_s = costs_of(case).metrics_s - (0.0 if run.energy else costs_of(case).energy_s)
        add(case, metrics_s + _bytes(case) * costs_of(case).metrics_s_per_byte)
    for case in largest:
        add(case, ATTEMPTS * (costs_of(case).measure_s + run.warmup_s))
    together = max if run.parallel_devices else sum
    total_s = len(started) * REPLICATE_S + together(shares.values() or [0.0])
    if run.budget_s:
        total_s = min(total_s, run.budget_s * BEYOND_BUDGET)
    return Estimate(total_s=total_s, by_device_s=shares)


def _outcome_s(case: Case, run: RunOptions) -> float:
    """Return the seconds of one replicate of a case, without compiling."""
    costs = costs_of(case)
    own_s = costs.measure_s + run.warmup_s * 1.3 + run.samples_s
    return own_s + _bytes(case) * costs.transfer_s_per_byte


def _bytes(case: Case) -> int:
    """Return the bytes of inputs that are copied; those of a layer are on the device."""
    return 0 if parse(case.subject).layer else input_bytes(case)


def rounds(cases: Sequence[Case], run: RunOptions) -> Iterator[Round]:
    """Yield the rounds of a run in which all fits in and nothing fails.

    A round that has the first replicate of a lower block is given in parts of the same number.
    """
    blocks, seen, least = Blocks.of(cases), _Simulated(), run.first_replicates
    joined = dict.fromkeys(JOINS, True)

    def following(last: Round | None) -> Round | None:
        same = last and blocks.in_the_same_round(last, seen, least, joined=joined)
        if same:
            return same
        if least < run.replicates and all(map(seen.replicates, cases)):
            return blocks.together(seen, run.replicates)
        return blocks.next_round(seen, least, joined=joined)

    one = following(None)
    while one:
        for case in (*one.own, *one.anchors, *one.later):
            seen.numbers.setdefault(case.case_id, set()).add(one.replicate)
        yield one
        one = following(one)


@dataclass(frozen=True, slots=True)
class _Simulated:
    """A run in which every case is measured."""

    numbers: dict[str, set[int]] = field(default_factory=dict)

    def replicates(self, case: Case) -> Collection[int]:
        return self.numbers.get(case.case_id, ())

    def given_up(self, case: Case) -> bool:  # noqa: ARG002
        return False
