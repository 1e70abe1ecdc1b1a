"""Each whole and layer against what this machine was seen to do: the roofline, as measured.

Intensity is FLOPs / bytes that must move, by shapes: more may move, so that what memory's share
is at least is known alone.  The ceilings come from the run's own ladders of matrix products,
convolutions, copies and sums (`bench.worker.peaks`), never from a datasheet.
Source of the model: Williams, Waterman & Patterson, "Roofline" (CACM 52/4, 2009).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.groups import PLAIN, finite, groups, split
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.insights.insight import Sentence, listed
from bench.results import plausibility
from bench.results.main_memory import MainMemory
from bench.results.plausibility import Peaks
from bench.results.run_json import Machine

Bound = Literal["compute", "memory", "neither"]
FAR = 0.5  # of its ceiling: below, something else than the machine holds it back
NEITHER = 0.1  # of both ceilings: below, which of them is nearer says nothing
SHORT_S = 50e-6  # a call so short is mostly Python and dispatch
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Point:
    """One row under its roof.

    intensity:  FLOP per byte; None where it has no FLOPs.
    reached:    of the nearer ceiling: 1 is on the roof, above it in a cache nearer by.
    compute_per_s, memory: the ceilings, the first in FLOP/s.
    partial:    a training step whose optimizer is in its time and not in its bytes.
    """

    row: Row
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


def points(rows: Iterable[Row], machine: Machine) -> list[Point]:
    """Of the phases with FLOPs, bytes and time; those without measured ceilings are left out."""
    rows = list(rows)
    partial = {row.case_id for row in rows if row.phase == "optimizer" and row.bytes_moved is None}
    return [
        dataclasses.replace(one, partial=row.phase == "step" and row.case_id in partial)
        for row in rows
        if row.flops is not None and (one := _of_row(row, machine))
    ]


def unknown(rows: Iterable[Row], machine: Machine) -> list[Row]:
    """Those that would be points if it were known how many FLOPs they have."""
    return [row for row in rows if row.flops is None and _of_row(row, machine)]


def _of_row(row: Row, machine: Machine) -> Point | None:
    peaks = plausibility.of_row(row, machine) if row.status == "ok" else None
    return _point(row, peaks) if peaks else None


def _point(row: Row, peaks: Peaks) -> Point | None:
    moved, bytes_per_s = finite(row.bytes_moved), finite(row.bytes_per_s)
    compute, memory = peaks.flop_per_s.get(arithmetic(row)), peaks.memory
    if moved is None or bytes_per_s is None or compute is None or memory is None:
        return None
    flops, flop_per_s = finite(row.flops), finite(row.flop_per_s)
    of_compute = (flop_per_s or 0.0) / compute
    of_memory = bytes_per_s / memory.bytes_per_s
    reached = max(of_compute, of_memory)
    bound: Bound = "compute" if of_compute > of_memory else "memory"
    return Point(
        row=row,
        intensity=flops / moved if flops else None,
        flop_per_s=flop_per_s if flops else None,
        bytes_per_s=bytes_per_s,
        compute_per_s=compute,
        memory=memory,
        bound=bound if reached >= NEITHER else "neither",
        reached=reached,
    )


def arithmetic(row: Row) -> str:
    """The kind of arithmetic that its products are done in."""
    own = str(row.dtype) if row.amp in (None, "off") else str(row.amp)
    return "tf32" if own == "float32" and row.tf32 == "on" else own


def sentences(
    found: Iterable[Point], problem: str | None, uncounted: Sequence[Row] = ()
) -> list[Sentence]:
    """What holds the layers back, one sentence a mode, batch and device; else why not.

    In the plain setting, so that every layer is there once and under one roof.

    problem: why the run has no ceilings, or None.
    uncounted: rows that are no points, as their FLOPs are unknown.
    """
    own = {id(one.row): one for one in found}
    told: dict[tuple[str, str, int | None, str], list[Point]] = {}
    for group in groups((one.row for one in own.values()), layers=True):
        for row in group.rows:
            if row.phase == whole_phase(str(row.mode)) and group.setting(row) == PLAIN:
                key = (group.name, str(row.mode), row.batch, str(row.device))
                told.setdefault(key, []).append(own[id(row)])
    if not told and problem:
        return [Sentence(kind="doubt", text=f"There is no roofline: {problem}.", evidence="")]
    return [_sentence(key, points_) for key, points_ in told.items()] + _uncounted(uncounted)


def _uncounted(rows: Sequence[Row]) -> list[Sentence]:
    """Layers without a place: those called nothing would pass for bound by memory."""
    names = list(dict.fromkeys(str(row.subject) for row in rows if split(row.subject or "")[1]))
    if not names:
        return []
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return [
        Sentence(
            kind="roofline",
            text=f"What holds {listed(names[:MOST_NAMED] + more)} back cannot be told: the number "
            "of FLOPs is unknown.",
            evidence="",
            case_ids=tuple(dict.fromkeys(str(row.case_id) for row in rows)),
        )
    ]


def _sentence(key: tuple[str, str, int | None, str], found: list[Point]) -> Sentence:
    whole, mode, batch, device = key
    found = sorted(found, key=lambda one: -(one.row.pipelined_s or 0.0))
    short = [one for one in found if (one.row.pipelined_s or 1.0) < SHORT_S]
    long = [one for one in found if one not in short]
    by_compute = [one for one in long if one.bound == "compute"]
    by_memory = [one for one in long if one.bound == "memory"]
    parts = [
        f"{listed([_told(one) for one in own[:MOST_NAMED]])} of what {what} allows"
        for own, what in ((by_compute, "arithmetic"), (by_memory, "memory"))
        if own
    ]
    tail = _far([one for one in long[:MOST_NAMED] if NEITHER <= one.reached < FAR])
    neither = [one for one in long if one.bound == "neither"]
    if neither:
        are = "is" if len(neither) == 1 else "are"
        named = [f"{_name(one)} ({_share(one)})" for one in neither[:MOST_NAMED]]
        more = [f"{len(neither) - MOST_NAMED} more"] if len(neither) > MOST_NAMED else []
        tail += (
            f" {listed(named + more)} {are} bound by neither: what calls it, or how it is "
            "computed, takes the time."
        )
    if short:
        tail += (
            f" {len(short)} of {len(found)} layers take under {units.seconds(SHORT_S)} a call, "
            "mostly Python and dispatch."
        )
    reached = f"{'; '.join(parts)} (as this machine was seen to do)." if parts else ""
    peak = found[0]
    partial = any(one.partial for one in found)
    return Sentence(
        kind="roofline",
        text=f"Layers of {whole}, {mode} at N={batch}: {reached}{tail}".replace(":  ", ": "),
        evidence=f"{device}: at most {units.count(peak.compute_per_s, 'FLOP/s')} "
        f"({arithmetic(peak.row)}), {units.bytes_(peak.memory.bytes_per_s)}/s {peak.memory.where}; "
        "above 100 % of the latter a layer works from a cache; bytes are the least that must "
        "move, by shapes" + (", without those of the optimizer" if partial else ""),
        case_ids=tuple(str(one.row.case_id) for one in found),
    )


def _far(slow: Sequence[Point]) -> str:
    """Bytes are a lower bound: what moves more than that may be on the memory's roof after all."""
    if not slow:
        return ""
    are = "is" if len(slow) == 1 else "are"
    return (
        f" {listed([_name(one) for one in slow])} {are} far from it: how it is computed holds it "
        "back, or it moves more than the least."
    )


def _told(one: Point) -> str:
    return f"{_name(one)} at {_share(one)}"


def _share(one: Point) -> str:
    """`1 %`, and no 0 % of what was seen to run."""
    return f"{100 * one.reached:.0f} %" if one.reached >= 0.01 else "under 1 %"


def _name(one: Point) -> str:
    return split(one.row.subject or "")[1] or str(one.row.subject)
