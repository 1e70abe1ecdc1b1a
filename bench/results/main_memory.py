"""How fast main memory is, by the machine's size sweep of traffic: what no cache can have served.

A size sweep's point says what holds as much as it touches: a cache, where one is large enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core import units
from bench.core.records import BEYOND_CACHE
from bench.results.run_json import SizeSweep


@dataclass(frozen=True, slots=True)
class MainMemory:
    """The fastest point that main memory has served.

    cache_bytes: of all last caches together; None where the run does not say, so that a point may
                 have been served by one.
    """

    bytes_per_s: float
    touched_bytes: float
    cache_bytes: float | None

    @property
    def where(self) -> str:
        """Why that is main memory, or that nobody knows."""
        touched = units.bytes_(self.touched_bytes)
        if self.cache_bytes is None:
            return f"when {touched} are touched (how large its caches are is unknown)"
        return f"beyond its caches ({touched} touched, {units.bytes_(self.cache_bytes)} of cache)"


def of_sweep(size_sweep: SizeSweep) -> MainMemory | None:
    """Of one device and thread count of `machine.peaks`; None where no point went beyond the cache.

    Where the cache is unknown: of each kind of operation the largest size alone.
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
    """Why no size sweep shows main memory; None if one does, or if there is none."""
    if not size_sweeps or any(of_sweep(one) for one in size_sweeps):
        return None
    touched = max((point.amount for one in size_sweeps for point in one.traffic), default=0)
    cache = max((one.cache_bytes or 0 for one in size_sweeps), default=0)
    return (
        f"main memory was not reached: at most {units.bytes_(touched)} were touched, "
        f"beside {units.bytes_(cache)} of cache"
    )
