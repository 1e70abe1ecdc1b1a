"""Check whether a row is faster than this machine can be (rule 27).  Pure.

Rows are compared with the peaks that the run itself measured (`worker.peak_measuring`).  FLOPs are
counted, so a rate far above those of all matrix products and convolutions is impossible.  Bytes
moved are estimated from shapes, and a module may read less than its shapes say.  So a high rate of
bytes is only implausible.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.core.axes import AS_BUILT, allows_tf32
from bench.core.records import Row
from bench.results import main_memory
from bench.results.main_memory import MainMemory
from bench.results.run_json import Machine

# A row above DOUBTED times the peak is implausible.  Two things can explain less than that: an
# algorithm that the size sweep does not use (Winograd needs 2.25 times fewer multiplications for
# some shapes), and a size sweep that was measured while the machine was slower.
DOUBTED = 1.5
IMPOSSIBLE = 3.0
# A layer that reads the same bytes several times can be served by a cache that holds a fraction of
# all its bytes.  So it is compared with points down to a quarter of them.
IN_CACHE = 4


@dataclass(frozen=True, slots=True)
class Peaks:
    """The peaks of one device and thread count."""

    flop_per_s: Mapping[str, float]  # the highest of the size sweep, by arithmetic
    bytes_per_s: Sequence[tuple[float, float]]  # bytes touched, bytes/s; caches and main memory
    memory: MainMemory | None  # None if the size sweep did not reach it


def of_row(row: Row, machine: Machine) -> Peaks | None:
    """Return the peaks for a row; None if they were not measured, or on a busy machine."""
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
    """Return the reason why a row is impossible, or None."""
    peak = _flop_peak(row, peaks)
    if peak is None or row.flop_per_s is None or row.flop_per_s <= IMPOSSIBLE * peak:
        return None
    return (
        f"{row.phase} did {row.flop_per_s:.3g} FLOP/s, {row.flop_per_s / peak:.1f} times the peak "
        f"that was measured on this machine ({peak:.3g}): it did not do the work"
    )


def doubtful(row: Row, peaks: Peaks) -> bool:
    """Return whether a row is faster than the peaks explain."""
    peak = _flop_peak(row, peaks)
    if peak is not None and row.flop_per_s is not None and row.flop_per_s > DOUBTED * peak:
        return True
    most = _byte_peak(row, peaks)
    return most is not None and row.bytes_per_s is not None and row.bytes_per_s > IMPOSSIBLE * most


def _flop_peak(row: Row, peaks: Peaks) -> float | None:
    """Return the highest rate of the arithmetics that the row may use.

    Under autocast, some work stays in the dtype of the weights.  None if the row's own arithmetic
    was not measured.
    """
    if row.dtype == AS_BUILT:  # it may mix dtypes, so the fastest is the bound
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
