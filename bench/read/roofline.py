"""Each whole and layer against what this machine was seen to do: the roofline, as measured.

Intensity is FLOPs / bytes that must move, by shapes.  The ceilings come from the run's own ladders
of matrix products, convolutions, copies and sums (`bench.worker.peaks`), never from a datasheet.
Source of the model: Williams, Waterman & Patterson, "Roofline" (CACM 52/4, 2009).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench import units
from bench.read import plausible
from bench.read.plausible import Peaks
from bench.read.plot_data import PLAIN, finite, groups, split
from bench.read.sentence import Sentence, listed
from bench.records import Row, whole_phase

Bound = Literal["compute", "memory"]
FAR = 0.5  # of its ceiling: below, something else than the machine holds it back
SHORT_S = 50e-6  # a call so short is mostly Python and dispatch
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Point:
    """One row under its roof.

    intensity:  FLOP per byte; None where nothing is counted as FLOPs.
    reached:    of the ceiling that binds: 1 is on the roof, above it in a cache nearer by.
    compute_per_s, memory_per_s: the ceilings, FLOP/s and B/s.
    """

    row: Row
    intensity: float | None
    flop_per_s: float | None
    bytes_per_s: float
    compute_per_s: float
    memory_per_s: float
    bound: Bound
    reached: float

    @property
    def ridge(self) -> float:
        """The intensity where both ceilings meet: FLOP per byte."""
        return self.compute_per_s / self.memory_per_s


def points(rows: Iterable[Row], machine: Mapping[str, Any]) -> list[Point]:
    """Of the phases with bytes and time; those without measured ceilings are left out."""
    found = []
    for row in rows:
        peaks = plausible.of_row(row, machine) if row.status == "ok" else None
        point = _point(row, peaks) if peaks else None
        if point is not None:
            found.append(point)
    return found


def _point(row: Row, peaks: Peaks) -> Point | None:
    moved, bytes_per_s = finite(row.bytes_moved), finite(row.bytes_per_s)
    compute = peaks.flop_per_s.get(arithmetic(row))
    memory = main_memory(peaks)
    if moved is None or bytes_per_s is None or compute is None or memory is None:
        return None
    flops, flop_per_s = finite(row.flops), finite(row.flop_per_s)
    intensity = flops / moved if flops else None
    of_compute = (flop_per_s or 0.0) / compute
    of_memory = bytes_per_s / memory
    bound: Bound = "compute" if intensity and intensity > compute / memory else "memory"
    return Point(
        row=row,
        intensity=intensity,
        flop_per_s=flop_per_s if flops else None,
        bytes_per_s=bytes_per_s,
        compute_per_s=compute,
        memory_per_s=memory,
        bound=bound,
        reached=of_compute if bound == "compute" else of_memory,
    )


def arithmetic(row: Row) -> str:
    """The kind of arithmetic that its products are done in."""
    own = str(row.dtype) if row.amp in (None, "off") else str(row.amp)
    return "tf32" if own == "float32" and row.tf32 == "on" else own


def main_memory(peaks: Peaks) -> float | None:
    """Bytes per second beyond all caches: the best of the ladder's largest quarter of sizes."""
    if not peaks.bytes_per_s:
        return None
    largest = max(touched for touched, _ in peaks.bytes_per_s)
    return max(rate for touched, rate in peaks.bytes_per_s if touched >= largest / 4)


def sentences(found: Iterable[Point], problem: str | None) -> list[Sentence]:
    """What holds the layers back, one sentence a mode, batch and device; else why not.

    In the plain setting, so that every layer is there once and under one roof.

    problem: why the run has no ceilings, or None.
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
    return [_sentence(key, points_) for key, points_ in told.items()]


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
    slow = [one for one in long[:MOST_NAMED] if one.reached < FAR]
    tail = ""
    if slow:
        are = "is" if len(slow) == 1 else "are"
        tail = (
            f" {listed([_name(one) for one in slow])} {are} far from it: not the machine's "
            "arithmetic or memory holds back here, but how it is computed."
        )
    if short:
        tail += (
            f" {len(short)} of {len(found)} layers take under {units.seconds(SHORT_S)} a call, "
            "mostly Python and dispatch."
        )
    reached = f"{'; '.join(parts)} (as this machine was seen to do)." if parts else ""
    peak = found[0]
    return Sentence(
        kind="roofline",
        text=f"Layers of {whole}, {mode} at N={batch}: {reached}{tail}".replace(":  ", ": "),
        evidence=f"{device}: at most {units.count(peak.compute_per_s, 'FLOP/s')} "
        f"({arithmetic(peak.row)}), {units.bytes_(peak.memory_per_s)}/s beyond its caches; "
        f"above 100 % of the latter a layer works from a cache",
        case_ids=tuple(str(one.row.case_id) for one in found),
    )


def _told(one: Point) -> str:
    return f"{_name(one)} at {100 * one.reached:.0f} %"


def _name(one: Point) -> str:
    return split(one.row.subject or "")[1] or str(one.row.subject)
