"""Transfers that one case of a replicate has timed, for the cases that move the same data.

A copy does not depend on what is done with the data afterwards: on TF32, on the search of cuDNN, on
a compiler.  So it is timed once for each replicate, in the first case that moves these data.
"""

import dataclasses
from collections.abc import Iterable

from bench.core.records import TRANSFER_PHASES, Case, Measurement, Outcome
from bench.core.subject import parse

BYTES = "bytes_moved:"  # and a phase: a figure of the measurement
TRANSFERS_OF = "transfers_of"  # key of a Measurement's state: the case that timed its transfers

Data = tuple[object, ...]


def data_of(case: Case) -> Data:
    """Return what tells which bytes a case moves: those of its inputs and outputs.

    AMP decides the dtype of the outputs, and a layout the order of numbers in memory.
    """
    return (
        parse(case.subject).whole,
        case.mode,
        case.batch,
        case.input,
        case.device,
        case.dtype,
        case.amp,
        case.memory_format,
    )


def timed(outcomes: Iterable[Outcome], case: Case, replicate: int) -> Measurement | None:
    """Return the outcome of this replicate that timed the transfers of the same data itself."""
    if case.device == "cpu" or parse(case.subject).layer is not None:
        return None
    for one in outcomes:
        if (
            isinstance(one, Measurement)
            and one.replicate == replicate
            and TRANSFERS_OF not in one.state
            and data_of(one.case) == data_of(case)
            and any(samples.phase in TRANSFER_PHASES for samples in one.samples)
        ):
            return one
    return None


def with_transfers(own: Measurement, other: Measurement) -> Measurement:
    """Return a measurement with the transfers that another case has timed."""
    moved = tuple(one for one in other.samples if one.phase in TRANSFER_PHASES)
    names = [f"{BYTES}{one.phase}" for one in moved]
    sizes = {name: other.metrics[name] for name in names if name in other.metrics}
    return dataclasses.replace(
        own,
        samples=own.samples + moved,
        metrics={**own.metrics, **sizes},
        state={**own.state, TRANSFERS_OF: other.case.case_id},
    )
