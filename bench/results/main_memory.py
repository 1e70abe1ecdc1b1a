"""How fast main memory is, by the machine's ladder of traffic: what no cache can have served.

A ladder's rung says what holds as much as it touches: a cache, where one is large enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core import units
from bench.core.records import BEYOND_CACHE
from bench.results.run_json import SizeSweep


@dataclass(frozen=True, slots=True)
class MainMemory:
    """The fastest rung that main memory has served.

    cache_bytes: of all last caches together; None where the run does not say, so that a rung may
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


def of_ladder(ladder: SizeSweep) -> MainMemory | None:
    """Of one device and thread count of `machine.peaks`; None where no rung went beyond the cache.

    Where the cache is unknown: of each kind of operation the largest size alone.
    """
    rungs = [(one.amount, one.per_s, one.what) for one in ladder.traffic]
    cache = ladder.cache_bytes
    if cache is None:
        largest = {what: touched for touched, _, what in sorted(rungs)}
        rungs = [one for one in rungs if one[0] == largest[one[2]]]
    else:
        rungs = [one for one in rungs if one[0] >= BEYOND_CACHE * cache]
    if not rungs:
        return None
    touched, per_s, _ = max(rungs, key=lambda one: one[1])
    return MainMemory(per_s, touched, cache)


def not_reached(ladders: Sequence[SizeSweep]) -> str | None:
    """Why no ladder says what main memory does; None where one does, or there is no ladder."""
    if not ladders or any(of_ladder(one) for one in ladders):
        return None
    touched = max((rung.amount for one in ladders for rung in one.traffic), default=0)
    cache = max((one.cache_bytes or 0 for one in ladders), default=0)
    return (
        f"main memory was not reached: at most {units.bytes_(touched)} were touched, "
        f"beside {units.bytes_(cache)} of cache"
    )
