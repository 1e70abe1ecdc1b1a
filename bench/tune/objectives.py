"""The objective of a search: one number for each candidate; the smallest wins."""

from collections.abc import Mapping
from typing import Literal, get_args

from bench.core.records import Measurement, whole_phase
from bench.stats.intervals import centre
from bench.tune.static import Static

Objective = Literal["latency", "throughput", "memory", "energy"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
# Objectives whose figures are counted and not timed: a race of rounds would add nothing.
COUNTED: frozenset[Objective] = frozenset({"memory", "energy"})


def time_s(found: Measurement, objective: Objective) -> float:
    """Return seconds: of one call for latency, otherwise of one image in back-to-back calls.

    Raises ValueError where the measurement has no such samples.
    """
    kind = "latency" if objective == "latency" else "pipelined"
    whole = whole_phase(found.case.mode)
    for samples in found.samples:
        if samples.phase == whole and samples.kind == kind:
            middle = sorted(samples.times_s)[len(samples.times_s) // 2]
            return middle if objective == "latency" else middle / found.case.batch
    raise ValueError(f"{found.case.case_id} has no samples of {whole}, {kind}")


def counted(static: Static, objective: Objective) -> float | None:
    """Return bytes, or joules per image; None if they are unknown."""
    if objective == "memory":
        return static.metrics.get("peak_bytes")
    if objective == "energy":
        return static.metrics.get("energy_j_per_image")
    return None


def centre_of(costs: Mapping[int, float]) -> float:
    """Return the geometric mean of the costs of the rounds."""
    return centre(list(costs.values()))
