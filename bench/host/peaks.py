"""Measure the machine's peaks for a run, in a process of their own (`worker.peak_measuring`)."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.axes import AS_BUILT, allows_tf32
from bench.core.decode import Decoder
from bench.core.records import Case
from bench.host import allocators, helper
from bench.host.interpreter import HERE, START_S

# Seconds; the limits of `bench.worker.peak_measuring` for a dtype, and for bytes of all sizes.
IMPORT_S, ARITHMETIC_S, BYTES_S = 4.0, 1.6, 4.6


@dataclass(frozen=True, slots=True)
class SizePoint:
    """The fastest call of one size."""

    what: str
    amount: float  # floating-point operations, or bytes
    per_s: float


@dataclass(frozen=True, slots=True)
class SizeSweeps:
    """The peaks of a device with so many threads."""

    threads: str | None
    arithmetic: Mapping[str, tuple[SizePoint, ...]]  # by kind
    traffic: tuple[SizePoint, ...]
    cache_bytes: int | None
    disturbed: bool  # other work took of the processor meanwhile


_PEAKS: Decoder[list[SizeSweeps]] = Decoder(list[SizeSweeps], "answer of the peaks' process")


class PeaksError(RuntimeError):
    """The peaks of a device could not be measured.  The run continues without them."""


def measure(
    cases: Sequence[Case], timeout_s: float
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the peaks by device, for `machine.peaks` of run.json, and the problems.

    A device has one size sweep for each number of threads.  A problem with one device does not
    affect the others.

    timeout_s: for each device, in addition to START_S.
    """
    found, problems = {}, []
    for device in devices(cases):
        try:
            sweeps = _of_device(asked(device, cases), timeout_s)
            found[device] = [dataclasses.asdict(one) for one in sweeps]
        except PeaksError as error:
            problems.append(str(error))
    return found, problems


def disturbed(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Return whether any size sweep was disturbed by other work on the machine."""
    return any(one["disturbed"] for sweeps in found.values() for one in sweeps)


def arithmetics(cases: Sequence[Case]) -> list[str]:
    """Return the kinds of arithmetic that the cases use, float32 first."""
    used = {"float32"}
    for one in cases:
        used |= {one.dtype, one.amp} - {"off", AS_BUILT}
        if one.dtype == AS_BUILT:  # only the worker knows which dtypes it has
            used |= {"bfloat16", "float16"}
        if allows_tf32(one.tf32):
            used.add("tf32")
    return sorted(used, key=lambda name: (name != "float32", name))


def devices(cases: Sequence[Case]) -> list[str]:
    """Return the devices that the cases run on, each once."""
    return list(dict.fromkeys(one.device for one in cases))


def asked(device: str, cases: Sequence[Case]) -> dict[str, Any]:
    """Return what is measured of a device for its cases."""
    own = [one for one in cases if one.device == device]
    return {
        "device": device,
        "arithmetics": arithmetics(own),
        "threads": list(dict.fromkeys(one.threads for one in own)),
    }


def expected_s(cases: Sequence[Case]) -> float:
    """Return how long `measure` takes at most on a quiet machine, imports included."""
    return math.fsum(
        IMPORT_S + len(one["threads"]) * (BYTES_S + ARITHMETIC_S * len(one["arithmetics"]))
        for one in (asked(device, cases) for device in devices(cases))
    )


def _of_device(request: Mapping[str, Any], timeout_s: float) -> list[SizeSweeps]:
    """Raises PeaksError."""
    environment = allocators.environment("retained", os.environ)
    try:
        return helper.ask(
            "bench.worker.peak_measuring", dict(request), _PEAKS, START_S + timeout_s, place=HERE,
            environment=environment,
        )  # fmt: skip
    except helper.HelperError as error:
        raise PeaksError(f"{request['device']}: {error}") from None
