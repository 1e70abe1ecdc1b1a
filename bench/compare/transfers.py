"""The speedup of an accelerator over the CPU, with the transfers of input and output.

A call with its transfers is the input copied to the device, the call, and the output copied back,
one after the other.  A user pays this if the data lies in the host's memory and nothing overlaps.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from bench.compare.speedup import Speedup, judged
from bench.core.records import TRANSFER_PHASES, whole_phase
from bench.results.results import Medians, Results
from bench.stats import between_runs, ratios

Kind = Literal["pageable", "pinned"]  # of the host's memory
KINDS: tuple[Kind, ...] = ("pageable", "pinned")


def with_transfers(run: Results, speedups: Sequence[Speedup]) -> list[Speedup]:
    """Return each speedup of a whole phase on a device with transfers, for each kind of memory.

    Only single calls are used.  In calls back-to-back, the user decides how transfers overlap.
    """
    if not any(row.phase in TRANSFER_PHASES for row in run.rows):
        return []
    run_ids = {str(row.case_id): row.run_id for row in run.rows}
    return [
        found
        for one in speedups
        if one.axis == "device" and one.of_whole
        for kind in KINDS
        if (found := _with(one, kind, run_ids, run.medians))
    ]


def _with(
    one: Speedup, kind: Kind, run_ids: Mapping[str, str | None], medians: Medians
) -> Speedup | None:
    base = _of(one.base_case_id, one.phase, run_ids, medians)
    value = total(one.value_case_id, one.phase, kind, run_ids, medians)
    if not base or not value:
        return None
    same = run_ids.get(one.base_case_id) == run_ids.get(one.value_case_id)
    found, paired = estimate(base, value, same_run=same)
    centres = ratios.centre(list(base.values())), ratios.centre(list(value.values()))
    low, high, p = judged(found, one.base_of * one.value_of)
    return dataclasses.replace(
        one,
        phase=f"{one.phase} + {kind} transfers",
        transfers=kind,
        quantity="latency_median_s",
        base_s=_exp(centres[0]),
        value_s=_exp(centres[1]),
        ratio=found.ratio,
        low=low,
        high=high,
        method="none" if found.error is None else "paired" if paired else "welch",
        replicates=found.n,
        p=p,
        between="" if paired else between_runs.describe([between_runs.Between()]),
    )


def estimate(
    base: Mapping[int, float], value: Mapping[int, float], *, same_run: bool
) -> tuple[ratios.Estimate, bool]:
    """Return base / value from the times by replicate, and whether it is paired.

    Without a replicate in common the between-run SD is included, as in `speedup.estimate`.
    """
    if same_run and (paired := ratios.paired(base, value)):
        return paired, True
    centres = ratios.centre(list(base.values())), ratios.centre(list(value.values()))
    return ratios.welch(*centres, between_runs.default_part()), False


def total(
    case_id: str, phase: str, kind: str, run_ids: Mapping[str, str | None], medians: Medians
) -> dict[int, float]:
    """Return the seconds of a single call with its transfers by replicate.

    The result is empty if a transfer was not measured.  Training copies back only a loss, which
    is not counted.
    """
    call = _of(case_id, phase, run_ids, medians)
    there = _of(case_id, f"input_{kind}", run_ids, medians)
    back = _of(case_id, f"output_{kind}", run_ids, medians)
    if not there or (phase == whole_phase("inference") and not back):
        return {}
    return {
        replicate: time_s + there[replicate] + back.get(replicate, 0.0)
        for replicate, time_s in call.items()
        if replicate in there and (replicate in back or not back)
    }


def _of(
    case_id: str, phase: str, run_ids: Mapping[str, str | None], medians: Medians
) -> Mapping[int, float]:
    return medians.get((run_ids.get(case_id), case_id, phase, "latency"), {})


def _exp(centre: ratios.Centre) -> float:
    return ratios.Estimate(centre.log, None, 0, centre.n).ratio
