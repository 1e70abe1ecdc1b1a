"""The driver's figures around the samples of a case: heat, power, other work on the GPU.

Rules 30 to 32 of docs/trust.md.  The judgements are pure functions of two looks.
"""

import os
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from bench.worker.device.nvidia import Gpu, GpuSnapshot

ENERGY_S = 2.0  # shortest time over which the energy counter, renewed every 0.1 s or so, says much
THROTTLED_SHARE = 0.01  # of the time held back by heat
# The share of a sampling period for another process' kernels.  A desktop that redraws takes less.
BUSY_SHARE = 0.1
# The utilization rate is that of a period of up to a second (nvmlUtilization_t).  A GPU that we
# leave alone for longer shows the work of others alone.
IDLE_LOOKS, IDLE_LOOK_S = 12, 0.1


@dataclass(slots=True)
class GpuMonitor:
    """Reads the driver's figures of a GPU before and after the samples of a case.

    Without a GPU there are none.
    """

    gpu: Gpu | None
    pause: Callable[[float], None] = time.sleep
    _before: GpuSnapshot | None = None
    _after: GpuSnapshot | None = None
    _was_busy: bool | None = None  # before the samples, and not by this process

    def start(self) -> None:
        """Read the figures before the samples.  Call it after the first work, on an idle GPU."""
        if self.gpu is None:
            return
        self._before = self.gpu.snapshot()
        # No process' use is known, not even of this one: there is the use of all, which takes time.
        self._was_busy = None if self._before.samples else busy_beforehand(self.gpu, self.pause)

    def stop(self) -> None:
        """Read the figures after the samples."""
        if self.gpu is not None and self._before is not None:
            self._after = self.gpu.snapshot(_latest_us(self._before))

    def contended(self) -> bool | None:
        """Return whether other processes used the GPU meanwhile; None if the driver cannot tell."""
        if self._before is None or self._after is None:
            return None
        return contended(self._before, self._after, was_busy=self._was_busy)

    def flags(self) -> list[str]:
        """Return the flags: `throttled`, and `contended` if others used the GPU."""
        if self._before is None or self._after is None:
            return []
        hot = throttled(self._before, self._after)
        return (["throttled"] if hot else []) + (["contended"] if self.contended() else [])

    def columns(self) -> dict[str, float]:
        """Return the figures by column name."""
        return figures(self._before, self._after) if self._before and self._after else {}

    def state(self) -> dict[str, int]:
        """Return `other_contexts`: processes that may compute on the GPU, also if they do not."""
        others = other_contexts(self._after) if self._after else None
        return {} if others is None else {"other_contexts": others}


def throttled(before: GpuSnapshot, after: GpuSnapshot) -> bool | None:
    """Return whether heat or a fault held the clocks back between two looks; None: unknown."""
    if before.faulty or after.faulty:
        return True
    if before.hot_s is None or after.hot_s is None:
        return None if before.faulty is None else False
    return after.hot_s - before.hot_s > THROTTLED_SHARE * (after.at_s - before.at_s)


def contended(
    before: GpuSnapshot, after: GpuSnapshot, *, was_busy: bool | None, own: int | None = None
) -> bool | None:
    """Return whether another process used the GPU between two looks; None: unknown.

    A context that is idle, of a notebook or a desktop, disturbs nothing.  Where the driver tells
    no process' use, a context that is new counts, for it is made to be used, and `was_busy`.

    own: this process' id.
    """
    own = os.getpid() if own is None else own
    # This process has computed, so a list without any process is not told in full (containers).
    if after.samples:
        return _others_busy(before, after, own)
    if before.contexts and after.contexts:
        return bool(was_busy) or bool(after.contexts - before.contexts - {own})
    return was_busy


def _others_busy(before: GpuSnapshot, after: GpuSnapshot, own: int) -> bool:
    samples, contexts = after.samples or (), before.contexts
    used_before = {one.process for one in before.samples or ()}
    # The driver may tell the last period of a process late, when it has ended.
    ended = set() if contexts is None else used_before - contexts
    busy = {one.process for one in samples if one.busy_ratio >= BUSY_SHARE} - ended
    known = {one.process for one in samples} | (contexts or set())
    return len(busy - {own}) > _hidden_self(busy, known, own)


def other_contexts(look: GpuSnapshot, own: int | None = None) -> int | None:
    """Return the number of other processes with a context on the GPU; None if it is unknown."""
    if not look.contexts:  # this process is in it, or the list is not told in full
        return None
    own = os.getpid() if own is None else own
    return len(look.contexts - {own}) - _hidden_self(look.contexts, look.contexts, own)


def _hidden_self(among: AbstractSet[int], known: AbstractSet[int], own: int) -> int:
    """Return 1 if this process is one of `among` by an id that it does not know.

    In a container the driver reports ids of the host, among which one's own is not found.
    """
    return 1 if among and own not in known else 0


def busy_beforehand(gpu: Gpu, pause: Callable[[float], None]) -> bool | None:
    """Return whether the GPU is busy while this process leaves it alone; None: unknown.

    It looks until the GPU is idle, or longer than what this process did before can show.
    """
    for look in range(IDLE_LOOKS):
        if look:
            pause(IDLE_LOOK_S)
        ratio = gpu.utilization_ratio()
        if ratio is None or ratio < BUSY_SHARE:
            return None if ratio is None else False
    return True


def _latest_us(look: GpuSnapshot) -> int:
    return max((one.at_us for one in look.samples or ()), default=0)


def figures(before: GpuSnapshot, after: GpuSnapshot) -> dict[str, float]:
    """Return the known figures by column name.

    after: taken while the GPU is still warm, and its clock high.
    """
    found = {
        "sm_clock_hz": after.sm_clock_hz,
        "power_w": power_w(before, after),
        "temperature_c": after.temperature_c,
        "gpu_utilization_ratio": after.utilization_ratio,
    }
    return {name: value for name, value in found.items() if value is not None}


def power_w(before: GpuSnapshot, after: GpuSnapshot) -> float | None:
    """Return the mean power by the energy between two looks, or the later reading if they are near.

    On GPUs before Ampere a reading is of one moment, since then the mean of the last second
    (nvmlDeviceGetPowerUsage).
    """
    spent_s, energy_j = after.at_s - before.at_s, energy_between_j(before, after)
    return after.power_w if energy_j is None or spent_s < ENERGY_S else energy_j / spent_s


def energy_between_j(before: GpuSnapshot, after: GpuSnapshot) -> float | None:
    """Return the joules between two snapshots; None if not counted or if the counter restarted."""
    if before.energy_j is None or after.energy_j is None or after.energy_j <= before.energy_j:
        return None
    return after.energy_j - before.energy_j
