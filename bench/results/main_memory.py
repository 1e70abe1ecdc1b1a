"""Find the bandwidth of main memory in the machine's size sweep of copies and sums.

A point of the size sweep is served by a cache if a cache holds the bytes that it touches.  Only
larger points show main memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core import units
from bench.core.records import BEYOND_CACHE
from bench.results.run_json import SizeSweep


@dataclass(frozen=True, slots=True)
class MainMemory:
    """The fastest point that main memory served.

    cache_bytes: the size of all last-level caches together; None if it is unknown, and then a
                 cache may have served the point.
    """

    bytes_per_s: float
    touched_bytes: float
    cache_bytes: float | None

    @property
    def where(self) -> str:
        """The reason why this is main memory, or that the cache size is unknown."""
        touched = units.bytes_(self.touched_bytes)
        if self.cache_bytes is None:
            return f"when {touched} are touched (how large its caches are is unknown)"
        return f"beyond its caches ({touched} touched, {units.bytes_(self.cache_bytes)} of cache)"


def of_sweep(size_sweep: SizeSweep) -> MainMemory | None:
    """Return the main memory of one size sweep; None if no point is larger than the caches.

    If the size of the caches is unknown, only the largest size of each operation is used.
    """
    points = [(one.amount, one.per_s, one.what) for one in size_sweep.traffic]
    cache = size_sweep.cache_bytes
    if cache is None:
        largest = {what: touched for touched, _, what in sorted(points)}
        points = [one for one in points if one[0] == largest[one[2]]]
    else:
        points = [one for one in points if one[0] >= BEYOND_CACHE * cache]
    if not points:
        return None
    touched, per_s, _ = max(points, key=lambda one: one[1])
    return MainMemory(per_s, touched, cache)


def not_reached(size_sweeps: Sequence[SizeSweep]) -> str | None:
    """Return why no size sweep shows main memory; None if one does, or if there are none."""
    if not size_sweeps or any(of_sweep(one) for one in size_sweeps):
        return None
    touched = max((point.amount for one in size_sweeps for point in one.traffic), default=0)
    cache = max((one.cache_bytes or 0 for one in size_sweeps), default=0)
    return (
        f"main memory was not reached: at most {units.bytes_(touched)} were touched, "
        f"beside {units.bytes_(cache)} of cache"
    )
