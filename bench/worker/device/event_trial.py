"""Try out whether a device's events have the time of the device itself, for each device.

Some backends stamp an event when it is recorded, some when a listener on the host hears of it
(MPS: ATen/mps/MPSEvent.h), and a driver may count in another unit.  So events are tried in two
ways.  Around known work on an idle device they must tell what the host's clock tells.  Around
short work behind a busy queue they must tell the time of that work: an event that is stamped when
it is recorded tells the time of the launch there, and one that a listener stamps scatters.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from bench.core.text import typed_error
from bench.worker.timing.stopwatch import TimedDevice, wall_clock

ROWS = tuple(2**power for power in range(8, 21, 2))  # of the scanned table, until it takes long
COLUMNS = 8  # 4 bytes each: a table of 8 KiB to 32 MiB
PIECE_S = 1e-4  # a piece of work takes longer than this: far above what an event can resolve
LAUNCHES = 5  # and so many times as long as its launch, so that a queue forms
CALLS = 4  # to see how long a piece takes
IDLE_S, IDLES = 2e-3, 20  # the work on an idle device: so long, and so many times an empty wait
TRIALS = 5  # of which the best counts: what else the host did makes its own times longer alone
TOLERANCE = 0.05
BEHIND = 9  # pieces behind a busy queue
BUSY_TRIALS = 3  # of which one that is right is enough: another process may share the device
SAME_WORK = (0.6, 1.6)  # times a piece on an idle device, whose clock rate may still rise
RESOLUTION_S = 1e-6
LIMIT_S = 0.25  # for the whole trial


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of work of the device."""

    call: Callable[[], object]
    call_s: float  # by the host's clock, several in a row
    launch_s: float


def doubt(
    device: TimedDevice,
    works: Iterable[Callable[[], object]],
    clock: Callable[[], float] | None = None,
) -> str | None:
    """Return why its events tell no device time; None: they do.

    works: pieces of work on the device, each longer than the one before.
    clock: of the host, monotonic seconds; None: the one that timing reads.
    """
    now = clock or wall_clock
    begin = now()
    try:
        piece = _long_enough(device, works, now)
        if piece is None:
            return "no work was found on it that takes longer than to launch it"
        idle_s = min(_idle_s(device, now) for _ in range(2))
        end_s = begin + LIMIT_S
        call_s, said = _held_against_the_host(device, piece, idle_s, now, end_s)
        if said is not None:
            return said
        for _ in range(BUSY_TRIALS):
            said = _behind_a_busy_queue(device, piece, call_s, now)
            if said is None or now() > end_s:
                break
        return said
    except Exception as error:  # whatever a backend without events raises
        return f"they raise {typed_error(error, 200)}"


def scans(device_name: str) -> Iterator[Callable[[], object]]:
    """Yield ever longer work that needs no library and hardly any memory.

    It is a cumulative sum down few columns: each is one chain of additions, slow on any accelerator
    (ATen/native/cuda/ScanUtils.cuh, tensor_kernel_scan_outer_dim).  The numbers are whole, since
    `torch.use_deterministic_algorithms` refuses floating ones.
    """
    for rows in ROWS:
        table = torch.zeros(rows, COLUMNS, dtype=torch.int32, device=device_name)
        sums = torch.empty_like(table)

        def scan(table: torch.Tensor = table, sums: torch.Tensor = sums) -> None:
            torch.cumsum(table, 0, dtype=torch.int32, out=sums)

        yield scan


def _long_enough(
    device: TimedDevice, works: Iterable[Callable[[], object]], clock: Callable[[], float]
) -> Piece | None:
    for work in works:
        work()  # loads it
        device.wait()
        start = clock()
        for _ in range(CALLS):
            work()
        launched = clock()
        device.wait()
        call_s, launch_s = (clock() - start) / CALLS, (launched - start) / CALLS
        if call_s >= max(PIECE_S, LAUNCHES * launch_s):
            return Piece(work, call_s, launch_s)
    return None


def _idle_s(device: TimedDevice, clock: Callable[[], float]) -> float:
    """Return the seconds that two events and a wait take without any work between them."""
    device.wait()
    start = clock()
    device.event()
    device.event()
    device.wait()
    return clock() - start


def _held_against_the_host(
    device: TimedDevice, piece: Piece, idle_s: float, clock: Callable[[], float], end_s: float
) -> tuple[float, str | None]:
    """Return the seconds of a piece by the host's clock, and the fault of the events or None."""
    beside_s = idle_s + piece.launch_s  # the clock runs before the first piece and after the last
    calls = max(CALLS, math.ceil(max(IDLE_S, IDLES * beside_s) / piece.call_s))
    found = list[tuple[float, float, float]]()
    while len(found) < TRIALS and (not found or clock() < end_s):
        device.wait()
        start = clock()
        first = device.event()
        for _ in range(calls):
            piece.call()
        last = device.event()
        device.wait()
        host_s, events_s = clock() - start, first.seconds_until(last)
        found.append((abs(host_s - events_s) / host_s, host_s, events_s))
    off, host_s, events_s = min(found)
    if off <= TOLERANCE + beside_s / host_s:
        return host_s / calls, None
    return (
        host_s / calls,
        f"they tell {events_s * 1e3:.3g} ms for work of {host_s * 1e3:.3g} ms by the host's clock",
    )


def _behind_a_busy_queue(
    device: TimedDevice, piece: Piece, call_s: float, clock: Callable[[], float]
) -> str | None:
    """Say what is wrong with events of single pieces behind a busy queue, or return None."""
    device.wait()
    start = clock()
    device.event()
    event_s = clock() - start
    ahead = 1 + math.ceil(2 * (BEHIND + 1) * (piece.launch_s + event_s) / call_s)
    for _ in range(ahead):
        piece.call()
    events = [device.event()]
    for _ in range(BEHIND):
        piece.call()
        events.append(device.event())
    device.wait()
    pieces_s = [one.seconds_until(other) for one, other in pairwise(events)]
    middle_s = statistics.median(pieces_s)
    first_s, _, third_s = statistics.quantiles(pieces_s, n=4)
    scatter_s = (third_s - first_s) / 2  # two of the nine may be disturbed
    low, high = SAME_WORK
    if not low * call_s <= middle_s <= high * call_s:
        return (
            f"behind a busy queue they tell {middle_s * 1e6:.3g} µs for work of "
            f"{call_s * 1e6:.3g} µs: they are stamped when they are recorded"
        )
    if scatter_s > TOLERANCE * middle_s + RESOLUTION_S:
        return (
            f"for equal pieces of work of {middle_s * 1e6:.3g} µs they scatter by "
            f"{scatter_s * 1e6:.3g} µs: the host stamps them when it hears of them"
        )
    return None
