"""The expected duration of a run."""

import dataclasses

import pytest

from bench.core.records import Case
from bench.engine.run_estimate import estimate, rounds
from bench.plan.config import RunOptions
from bench.plan.expand import Plan
from tests.support.cases import case

PLAIN = case(batch=8)
LAST = dataclasses.replace(PLAIN, memory_format="channels_last")
COMPILED = dataclasses.replace(PLAIN, compile="default")
LAYERS = tuple(dataclasses.replace(PLAIN, subject=f"convnet/conv{n}") for n in (1, 2))
RUN = RunOptions(replicates=3, samples_s=0.74, warmup_s=0.0 + 1e-9)


def estimate_s(cases: tuple[Case, ...], run: RunOptions) -> float:
    return estimate(Plan(cases, ()), run).total_s


def test_the_bases_of_ratios_that_lower_blocks_measure_again_are_counted() -> None:
    """Three rounds of plain with its setting; the last begins those of the compiled and layers."""
    cases = (PLAIN, LAST, COMPILED, *LAYERS)
    found = [*rounds(cases, RUN)]
    assert [one.replicate for one in found] == [0, 1, 2, 2, 3, 4]
    sizes = [len((*one.own, *one.anchors, *one.later)) for one in found]
    assert sizes == [2, 2, 2, 3, 4, 4]


def test_replicates_beyond_the_least_are_counted_in_rounds_of_all_blocks() -> None:
    cases = (PLAIN, LAST, COMPILED, *LAYERS)
    run = RUN.model_copy(update={"replicates": 5, "least_replicates": 3})
    found = [
        (one.replicate, len((*one.own, *one.anchors, *one.later))) for one in rounds(cases, run)
    ]
    assert found == [(0, 2), (1, 2), (2, 2), (2, 3), (3, 5), (4, 5), (5, 4), (6, 4)]


def test_a_round_costs_its_outcomes_and_the_start_of_its_interpreters() -> None:
    assert estimate_s((PLAIN, LAST), RUN) == pytest.approx(3 * (4.0 + 2 * 0.8))


def test_a_compiled_case_costs_its_compiling_cold_and_then_warm() -> None:
    plain = estimate_s((PLAIN,), RUN)
    # The first replicate is measured in the last round of the plain case.
    block = 0.8 + 2 * (4.0 + 2 * 0.8) + 20.0 + 2 * 4.0
    assert estimate_s((PLAIN, COMPILED), RUN) == pytest.approx(plain + block)


def test_a_budget_bounds_the_estimate() -> None:
    budget = RUN.model_copy(update={"budget_s": 10.0})
    assert estimate_s((PLAIN, LAST, COMPILED), budget) == pytest.approx(11.5)
