"""Measure the energy of a call by a counter of a GPU or of the processor's packages.

Rule 30 of docs/trust.md.
"""

from collections.abc import Callable
from typing import Protocol

from bench.worker.device.gpu_monitor import ENERGY_S
from bench.worker.timing.stopwatch import wall_clock

WAIT_S = 0.05  # of calls back to back: long against a wait, short against ENERGY_S
# The counter is renewed every 0.1 s or less.  Begun and ended where it is renewed, a count over
# ENERGY_S errs by less than EDGE_S and not by as much as that.
EDGE_S = 0.01
MOST_EDGE_S = 0.5  # from here on it is taken as it is


class EnergyCounter(Protocol):
    """A counter that grows: of a GPU's board, or of all packages of a processor."""

    def energy_j(self) -> float | None:
        """Return the energy so far; None where it is not counted."""


def energy_j_per_call(
    gpu: EnergyCounter,
    call: Callable[[], object],
    wait: Callable[[], None],
    clock: Callable[[], float] = wall_clock,
) -> float | None:
    """Measure by the counter of total energy over at least ENERGY_S; None without a counter.

    The whole board's energy, and so what it needs when idle is in it.  A call that takes longer
    than ENERGY_S is made once.  Nothing but the clock is read while the GPU works, since it would
    be idle meanwhile.
    """
    calls = 0

    def make(more: int) -> None:
        nonlocal calls
        for _ in range(more):
            call()
        calls += more
        wait()

    wait()
    before_j = _renewed_j(gpu, lambda: None, clock)
    if before_j is None:
        return None
    begun_s = clock()
    make(1)
    while (spent_s := clock() - begun_s) < ENERGY_S:
        make(_calls_in(min(WAIT_S, ENERGY_S - spent_s), spent_s / calls, most=2 * calls))
    # The GPU works on until the end.  Calls that are long against EDGE_S are not made for it: the
    # GPU is idle for 0.1 s or less instead, and needs little.
    at_the_edge = int(EDGE_S * calls / spent_s)
    after_j = _renewed_j(gpu, lambda: make(at_the_edge), clock)
    if after_j is None or after_j <= before_j:  # it began anew in between
        return None
    return (after_j - before_j) / calls


def _renewed_j(
    gpu: EnergyCounter, between: Callable[[], object], clock: Callable[[], float]
) -> float | None:
    """Return the energy counter right after its next update, in joules; None if there is none.

    between: done between two looks.
    """
    start_s, first_j = clock(), gpu.energy_j()
    found_j = first_j
    while found_j is not None and found_j == first_j and clock() - start_s < MOST_EDGE_S:
        between()
        found_j = gpu.energy_j()
    return found_j


def _calls_in(span_s: float, call_s: float, most: int) -> int:
    """Return how many calls fit into the time; at least one.

    most: the first calls say little of how long the others take.
    """
    return max(1, min(most, int(span_s / call_s) if call_s > 0 else most))
