"""Whether a row is faster than this machine can be (rule 27).  Pure.

Held against the peaks that the run itself has measured (`bench.worker.peaks`).  FLOPs are counted,
so a rate far beyond every matrix product and convolution is impossible; bytes are the least that a
call must move, by its shapes, and a module may look at less than its shapes say, so that a rate
of bytes is a doubt at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.core.axes import AS_BUILT, allows_tf32
from bench.core.records import Row
from bench.results import main_memory
from bench.results.main_memory import MainMemory
from bench.results.run_json import Machine

# Beyond the fastest of the size sweep a row is doubted: algorithms that the size sweep does not
# have (Winograd's 2.25 fewer multiplications for some shape, of which the size sweep has some
# already), and a size sweep that was measured in a slower moment, explain so much.
DOUBTED = 1.5
IMPOSSIBLE = 3.0
# A size sweep's point says what a cache of its size can do; what a layer touches several times may
# stay in a cache of a fraction of all its bytes.
IN_CACHE = 4


@dataclass(frozen=True, slots=True)
class Peaks:
    """Of one device and thread count."""

    flop_per_s: Mapping[str, float]  # the best of the size sweep, by arithmetic
    bytes_per_s: Sequence[tuple[float, float]]  # bytes touched, bytes/s, in caches and out of them
    memory: MainMemory | None  # None where the size sweep did not reach it


def of_row(row: Row, machine: Machine) -> Peaks | None:
    """The peaks that bound a row; None where they were not measured, or on a busy machine."""
    for one in machine.peaks.get(row.device or "", ()):
        if one.threads == row.threads and not one.disturbed:
            return Peaks(
                {
                    name: max(point.per_s for point in points)
                    for name, points in one.arithmetic.items()
                    if points
                },
                [(point.amount, point.per_s) for point in one.traffic],
                main_memory.of_sweep(one),
            )
    return None


def impossible(row: Row, peaks: Peaks) -> str | None:
    """Why a row cannot be, or None."""
    peak = _flop_peak(row, peaks)
    if peak is None or row.flop_per_s is None or row.flop_per_s <= IMPOSSIBLE * peak:
        return None
    return (
        f"{row.phase} did {row.flop_per_s:.3g} FLOP/s, {row.flop_per_s / peak:.1f} times the most "
        f"that this machine was seen to do ({peak:.3g}): it did not do the work"
    )


def doubtful(row: Row, peaks: Peaks) -> bool:
    """Whether a row is faster than the peaks explain."""
    peak = _flop_peak(row, peaks)
    if peak is not None and row.flop_per_s is not None and row.flop_per_s > DOUBTED * peak:
        return True
    most = _byte_peak(row, peaks)
    return most is not None and row.bytes_per_s is not None and row.bytes_per_s > IMPOSSIBLE * most


def _flop_peak(row: Row, peaks: Peaks) -> float | None:
    """Of the arithmetics that the row may use: under autocast some work stays in the dtype.

    None where its own was not measured: another's says nothing of it.
    """
    if row.dtype == AS_BUILT:  # it may mix them: bounded by the fastest
        return max(peaks.flop_per_s.values(), default=None)
    own = row.dtype if row.amp in (None, "off") else row.amp
    if own == "float32" and allows_tf32(row.tf32):
        own = "tf32"
    if own not in peaks.flop_per_s:
        return None
    used = {row.dtype, row.amp, "tf32" if allows_tf32(row.tf32) else "float32"}
    rates = [rate for name, rate in peaks.flop_per_s.items() if name in used]
    return max(rates, default=None)


def _byte_peak(row: Row, peaks: Peaks) -> float | None:
    if row.bytes_moved is None:
        return None
    least = row.bytes_moved / IN_CACHE
    rates = [rate for touched, rate in peaks.bytes_per_s if touched >= least]
    return max(rates, default=None)
