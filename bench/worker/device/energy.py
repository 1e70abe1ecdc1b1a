"""How much energy a call takes, from the counter of an NVIDIA GPU.  Rule 30 of docs/trust.md."""

from collections.abc import Callable

from bench.worker.device.gpu_monitor import ENERGY_S, energy_between_j
from bench.worker.device.nvidia import Gpu

MOST_CALLS_BETWEEN_WAITS = 16


def energy_j_per_call(
    gpu: Gpu, call: Callable[[], object], wait: Callable[[], None]
) -> float | None:
    """From the counter of total energy over ENERGY_S or longer; None where there is none.

    The whole board's energy, and so what it needs when idle is in it.  A call that takes longer
    than ENERGY_S is made once.
    """
    wait()
    before, calls = gpu.snapshot(), 0
    if before.energy_j is None:
        return None
    after = before
    while (spent_s := after.at_s - before.at_s) < ENERGY_S:
        more = _calls_that_fit(ENERGY_S - spent_s, spent_s, calls)
        for _ in range(more):
            call()
        calls += more
        wait()
        after = gpu.snapshot()
    energy_j = energy_between_j(before, after)
    return None if energy_j is None else energy_j / calls


def _calls_that_fit(left_s: float, spent_s: float, calls: int) -> int:
    """Before the next look at the time: one at first, for nobody knows how long it takes."""
    if not calls:
        return 1
    fit = left_s * calls / spent_s if spent_s > 0 else MOST_CALLS_BETWEEN_WAITS
    return max(1, min(MOST_CALLS_BETWEEN_WAITS, int(fit)))
