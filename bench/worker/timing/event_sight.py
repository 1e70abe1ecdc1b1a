"""Tells whether a device's events see all the work of a step.

Events are recorded in the device's current stream.  Work that a step leaves in another stream, for
which nothing in the step waits, is no part of the time between them.  A wait for the device waits
for every stream, so the host's clock sees that work.
"""

from collections.abc import Callable

from bench.worker.timing.stopwatch import Stopwatch, TimedDevice, TimedStep, wall_clock

CALLS = 5  # of which the best counts: what else the host did makes its own times longer alone
LIMIT_S = 0.1  # later calls are left out
UNSEEN_SHARE = 0.1  # of the host's time of a call: far above the tolerance of the events' own trial
# Times the host's seconds of two events and a wait on an idle device: the first event is passed
# later than the clock is read, and the wait returns later than the last one is passed.
EMPTY_CALLS = 3


def missed_work(
    step: TimedStep,
    device: TimedDevice,
    clock: Callable[[], float] = wall_clock,
) -> tuple[str | None, int]:
    """Say which part of a call the events do not see, or None; and the calls that were made.

    step: warm.
    """
    if not device.has_events:
        return None, 0
    watch = Stopwatch(step, device, clock)
    empty_s = min(watch.empty_s() for _ in range(EMPTY_CALLS))
    begin = clock()
    found = list[tuple[float, float, float]]()
    while len(found) < CALLS and (not found or clock() - begin < LIMIT_S):
        host_s, events_s = watch.both_s()
        found.append((host_s - events_s, host_s, events_s))
    unseen_s, host_s, events_s = min(found)
    if unseen_s <= UNSEEN_SHARE * host_s + EMPTY_CALLS * empty_s:
        return None, watch.calls_made
    return (
        f"a call takes {host_s * 1e3:.3g} ms by the host's clock and {events_s * 1e3:.3g} ms by "
        "events: part of its work runs in a stream of its own, and nothing in the call waits for it"
    ), watch.calls_made
