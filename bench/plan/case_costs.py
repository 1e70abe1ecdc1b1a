"""Costs of a case by kind of device, and the budget of a run.  Pure functions."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.core.records import Case
from bench.plan.config import Config
from bench.plan.expand import Plan

ATTEMPTS = 20  # about so many processes find the largest batch: doubling, then bisection


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of one case beside its warm-up and samples."""

    measure_s: float  # a worker, and on an accelerator its context and libraries
    metrics_s: float = 0.0  # the static metrics, once a case
    energy_s: float = 0.0  # of these, counting the energy
    compile_cold_s: float
    compile_warm_s: float
    # Per byte of a whole subject's inputs: copies to and from an accelerator are measured.
    transfer_s_per_byte: float = 0.0
    metrics_s_per_byte: float = 0.0


CPU = Costs(measure_s=0.06, compile_cold_s=20.0, compile_warm_s=4.0)  # experiments/overhead.py
# Fitted to `wall_s` of 17 cases of 0.6 MB to 616 MB on an H100 with 16 cores (CUDA 13.0).
ACCELERATOR = Costs(
    measure_s=1.1,
    metrics_s=2.7,
    energy_s=2.0,
    compile_cold_s=10.0,
    compile_warm_s=1.3,
    transfer_s_per_byte=5.5e-9,
    metrics_s_per_byte=1.7e-9,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds of a run, imports included, and the shares of its devices without them."""

    total_s: float
    by_device_s: Mapping[str, float]


def compile_s(case: Case, processes: int) -> float:
    """Return the seconds for compiling in some processes; the first has an empty cache."""
    if case.compile == "off":
        return 0.0
    costs = costs_of(case)
    return costs.compile_cold_s + (processes - 1) * costs.compile_warm_s


def costs_of(case: Case) -> Costs:
    return CPU if case.device == "cpu" else ACCELERATOR


def input_bytes(case: Case) -> int:
    """Return the bytes of one call's inputs, 4 to a number; 0 if the subject makes its own."""
    if case.input == "own":
        return 0
    shapes = (part.partition(":")[0].strip() for part in case.input.split(";"))
    numbers = sum(math.prod(int(one) for one in shape.split(",") if one) for shape in shapes)
    return 4 * case.batch * numbers


def with_budget(config: Config, plan: Plan) -> Config:
    """Return the configuration with the budget of this plan: more for each accelerator in it."""
    run = config.run
    budget_s, extras_s = run.budget_s, run.extras_s
    if budget_s is not None and run.accelerator_budget_s is not None:
        accelerators = {case.device for case in (*plan.cases, *plan.largest)} - {"cpu"}
        more_s = len(accelerators) * run.accelerator_budget_s
        budget_s += more_s
        extras_s = None if extras_s is None else extras_s + more_s
    own = {"budget_s": budget_s, "extras_s": extras_s, "accelerator_budget_s": None}
    return dataclasses.replace(config, run=run.model_copy(update=own))
