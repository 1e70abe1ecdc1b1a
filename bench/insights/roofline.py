"""The roofline: each whole and layer compared with the peaks that this run measured.

Intensity is FLOPs / bytes moved, computed from shapes.  More bytes may move, so the share of the
memory bandwidth is a lower bound.  The ceilings come from the size sweeps of the run: matrix
products, convolutions, copies and sums (`bench.worker.peak_measuring`), never from a datasheet.
Source of the model: Williams, Waterman & Patterson, "Roofline" (CACM 52/4, 2009).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.groups import PLAIN, finite, groups, split
from bench.core import units
from bench.core.axes import allows_tf32
from bench.core.records import Row, whole_phase
from bench.core.text import number_of
from bench.insights.insight import Insight, first_few, listed
from bench.results import plausibility
from bench.results.main_memory import MainMemory
from bench.results.plausibility import Peaks
from bench.results.results import Results
from bench.results.run_json import Machine

Bound = Literal["compute", "memory", "neither"]
FAR = 0.5  # of the ceiling; below it, the machine is not what limits the layer
NEITHER = 0.1  # of both ceilings; below it, neither of them limits the layer
SHORT_S = 50e-6  # shorter calls are mostly Python and dispatch
MOST_NAMED = 3


# Layers of torch whose products are matrix products alone.
OF_MATRIX_PRODUCTS = frozenset(
    {
        "Linear",
        "NonDynamicallyQuantizableLinear",
        "Bilinear",
        "MultiheadAttention",
        "TransformerEncoderLayer",
        "TransformerDecoderLayer",
    }
)


@dataclass(frozen=True, slots=True)
class Point:
    """One row in the roofline.

    intensity:  FLOP per byte; None if it has no FLOPs.
    reached:    share of the nearer ceiling; above 1 the data is in a cache.
    compute_per_s, memory: the ceilings, the first in FLOP/s.
    partial:    a training step whose time includes the optimizer and whose bytes do not.
    """

    row: Row
    arithmetic: str  # a dtype or `tf32`
    intensity: float | None
    flop_per_s: float | None
    bytes_per_s: float
    compute_per_s: float
    memory: MainMemory
    bound: Bound
    reached: float
    partial: bool = False

    @property
    def ridge(self) -> float:
        """The intensity where both ceilings meet: FLOP per byte."""
        return self.compute_per_s / self.memory.bytes_per_s


def layer_types(run: Results) -> dict[str, str]:
    """Return the types of the layers by subject, as run.json has them: `net/fc1` → `Linear`."""
    return {
        f"{whole}/{name}": layer.type
        for whole, layers in run.description.layers_by_name.items()
        for name, layer in layers.items()
        if layer.type
    }


def points(
    rows: Iterable[Row], machine: Machine, types: Mapping[str, str] | None = None
) -> list[Point]:
    """Return the points of all rows that have FLOPs, bytes, a time and measured ceilings.

    types: of `layer_types`; without them a layer is held against the fastest arithmetic.
    """
    rows = list(rows)
    partial = {row.case_id for row in rows if row.phase == "optimizer" and row.bytes_moved is None}
    return [
        dataclasses.replace(one, partial=row.phase == "step" and row.case_id in partial)
        for row in rows
        if row.flops is not None and (one := _of_row(row, machine, types or {}))
    ]


def unknown(rows: Iterable[Row], machine: Machine) -> list[Row]:
    """Return the rows that have everything for a point but the number of FLOPs."""
    return [row for row in rows if row.flops is None and _of_row(row, machine, {})]


def _of_row(row: Row, machine: Machine, types: Mapping[str, str]) -> Point | None:
    peaks = plausibility.of_row(row, machine) if row.status == "ok" else None
    return _point(row, peaks, arithmetic(row, _type(row, types))) if peaks else None


def _point(row: Row, peaks: Peaks, kind: str) -> Point | None:
    moved, bytes_per_s = finite(row.bytes_moved), finite(row.bytes_per_s)
    compute, memory = peaks.flop_per_s.get(kind), peaks.memory
    if moved is None or bytes_per_s is None or compute is None or memory is None:
        return None
    flops, flop_per_s = finite(row.flops), finite(row.flop_per_s)
    of_compute = (flop_per_s or 0.0) / compute
    of_memory = bytes_per_s / memory.bytes_per_s
    reached = max(of_compute, of_memory)
    bound: Bound = "compute" if of_compute > of_memory else "memory"
    return Point(
        row=row,
        arithmetic=kind,
        intensity=flops / moved if flops else None,
        flop_per_s=flop_per_s if flops else None,
        bytes_per_s=bytes_per_s,
        compute_per_s=compute,
        memory=memory,
        bound=bound if reached >= NEITHER else "neither",
        reached=reached,
    )


def arithmetic(row: Row, layer_type: str | None = None) -> str:
    """Return the fastest arithmetic that its products may use: a dtype or `tf32`.

    By default torch lets convolutions use TF32 and matrix products not
    (https://docs.pytorch.org/docs/stable/notes/cuda.html).  A layer of unknown type may have both.
    """
    own = str(row.dtype) if row.amp in (None, "off") else str(row.amp)
    if own != "float32" or not allows_tf32(row.tf32):
        return own
    return own if row.tf32 == "default" and layer_type in OF_MATRIX_PRODUCTS else "tf32"


def _type(row: Row, types: Mapping[str, str]) -> str | None:
    """Return the type of the layer; of a subject `torch.nn:Linear(8, 4)` the class itself."""
    subject = str(row.subject)
    place, colon, call = subject.partition(":")
    if place == "torch.nn" and colon and "/" not in call:
        return call.partition("(")[0]
    return types.get(subject)


def insights(
    found: Iterable[Point], problem: str | None, uncounted: Sequence[Row] = ()
) -> list[Insight]:
    """Return the limits of the layers by mode, batch and device, one insight each; else the reason.

    Only the plain setting is used, so that every layer occurs a single time and all have the same
    ceilings.

    problem:   why the run has no ceilings, or None.
    uncounted: rows without a point, because their FLOPs are unknown.
    """
    own = {id(one.row): one for one in found}
    by_case: dict[tuple[str, str, int | None, str], list[Point]] = {}
    for group in groups((one.row for one in own.values()), layers=True):
        for row in group.rows:
            if row.phase == whole_phase(str(row.mode)) and group.setting(row) == PLAIN:
                key = (group.name, str(row.mode), row.batch, str(row.device))
                by_case.setdefault(key, []).append(own[id(row)])
    if not by_case and problem:
        return [Insight(kind="doubt", text=f"There is no roofline: {problem}.", evidence="")]
    several = len({device for *_, device in by_case}) > 1
    told = [_insight(key, points_, several=several) for key, points_ in by_case.items()]
    return told + _uncounted(uncounted)


def _uncounted(rows: Sequence[Row]) -> list[Insight]:
    """Return the layers without a point.  With zero FLOPs they would look limited by memory."""
    names = list(dict.fromkeys(str(row.subject) for row in rows if split(row.subject or "")[1]))
    if not names:
        return []
    return [
        Insight(
            kind="roofline",
            text=f"The limit of {listed(first_few(names, MOST_NAMED))} is unknown, because the "
            "number of FLOPs is unknown.",
            evidence="",
            case_ids=tuple(dict.fromkeys(str(row.case_id) for row in rows)),
        )
    ]


def _insight(
    key: tuple[str, str, int | None, str], found: list[Point], *, several: bool
) -> Insight:
    """several: devices were measured, so that the text names its own."""
    whole, mode, batch, device = key
    on = f" on {device}" if several else ""
    found = sorted(found, key=lambda one: -(one.row.pipelined_s or 0.0))
    ceilings = {one.arithmetic: one.compute_per_s for one in found}
    most = " and ".join(
        f"{units.count(rate, 'FLOP/s')} ({kind})" for kind, rate in ceilings.items()
    )
    memory = found[0].memory
    partial = any(one.partial for one in found)
    return Insight(
        kind="roofline",
        text=f"In {mode} of {whole}{on} at N={batch}, {' '.join(_limits(found))}",
        evidence=f"{device}: at most {most}, {units.bytes_(memory.bytes_per_s)}/s {memory.where}; "
        "a layer above 100 % of the bandwidth works from a cache; bytes are a lower bound, "
        "computed from shapes" + (", without those of the optimizer" if partial else ""),
        case_ids=tuple(str(one.row.case_id) for one in found),
    )


def _limits(found: Sequence[Point]) -> list[str]:
    """Return sentences about the layers, the slowest first."""
    short = [one for one in found if (one.row.pipelined_s or 1.0) < SHORT_S]
    long = [one for one in found if one not in short]
    sentences = []
    for bound, ceiling in (("compute", "arithmetic peak"), ("memory", "memory bandwidth")):
        own = [f"{_name(one)} reaches {_share(one)}" for one in long if one.bound == bound]
        if own:
            sentences.append(f"{listed(own[:MOST_NAMED])} of the measured {ceiling}.")
    far = [_name(one) for one in long[:MOST_NAMED] if NEITHER <= one.reached < FAR]
    if far:
        # Bytes are a lower bound: a layer that moves more may be at the memory's ceiling after all.
        are, it_moves = ("is", "it moves") if len(far) == 1 else ("are", "they move")
        sentences.append(
            f"{listed(far)} {are} far below the ceiling: the way of computing is slow, or "
            f"{it_moves} more bytes than the lower bound."
        )
    neither = [f"{_name(one)} ({_share(one)})" for one in long if one.bound == "neither"]
    if neither:
        are = "is" if len(neither) == 1 else "are"
        sentences.append(
            f"{listed(first_few(neither, MOST_NAMED))} {are} limited by neither: the calls or the "
            "way of computing take the time."
        )
    if short:
        takes = "takes" if len(short) == 1 else "take"
        sentences.append(
            f"{len(short)} of {number_of(len(found), 'layer')} {takes} less than "
            f"{units.seconds(SHORT_S)} a "
            "call, which is mostly Python and dispatch."
        )
    return sentences


def _share(one: Point) -> str:
    """`1 %`; never 0 % for a layer that ran."""
    return f"{100 * one.reached:.0f} %" if one.reached >= 0.01 else "under 1 %"


def _name(one: Point) -> str:
    return split(one.row.subject or "")[1] or str(one.row.subject)
