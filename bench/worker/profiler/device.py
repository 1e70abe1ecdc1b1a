"""The accelerator's work in a step, and the bottleneck that follows from it.  Pure functions."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.worker.profiler.events import Event
from bench.worker.profiler.owners import Owner, Timeline

# At 0.9 the device is idle for at most a tenth of the time: a faster host would gain less than
# that.  Waits must take the same tenth before they are the cause.
DEVICE_BOUND = 0.9
WAITS = 0.1
NO_TIME = "no time passed in it"
# Calls that block the host until the device is done: cuda*Synchronize, hip*Synchronize, xpu's
# zeEventHostSynchronize and urQueueFinish, and whatever other makers call a sync; no ...Async.
WAITING = re.compile(r"(?<!a)sync|queuefinish|eventwait", re.IGNORECASE)
# Copies between device and host block where the host's memory is pageable; with pinned memory those
# block that do not end in Async; copies inside the device never do (CUDA Runtime API, API
# synchronization behavior).  Kineto names the copy itself, as the device does it
# (CuptiActivity.cpp, memcpyName): "Memcpy HtoD (Pageable -> Device)".  What other makers call their
# copies says none of that: such a call has blocked where it returned when the copy was done.
_COPIES = re.compile(r"copy|memcpy", re.IGNORECASE)
_NAMED_COPY = re.compile(r"Memcpy [A-Z]to[A-Z]\b")
_TO_OR_FROM_HOST = re.compile(r"Memcpy (HtoD|DtoH)\b")
_PAGEABLE = re.compile(r"\bPageable\b")


@dataclass(frozen=True, slots=True)
class Work:
    """A kernel or a copy, and the time at which the host launched it."""

    event: Event
    launched_ns: int
    operator: str | None  # the call that launched it


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The bottleneck of a step: `launches`, `device`, `waits`, or None where it is unknown.

    `host` is launches or waits, where the kernels that tell them apart are not seen.
    """

    bound_by: str | None
    why: str


def work(events: Sequence[Event]) -> list[Work]:
    """Return the device's work in the order of its start.

    Kineto gives a kernel the id of the call that launched it, and the operator's id as its link.
    """
    launches = {one.id: one for one in events if one.kind == "runtime"}
    operators = {one.id: one for one in events if one.kind == "cpu_op"}
    found = []
    for one in events:
        if one.kind != "device":
            continue
        operator = operators.get(one.linked) if one.linked else None
        launch = launches.get(one.id) or operator or one
        found.append(Work(one, launch.start_ns, operator.name if operator else None))
    return found


def launched_within(done: Iterable[Work], start_ns: int, end_ns: int) -> list[Work]:
    """Return the work that the host launched between two times, whenever it ran."""
    return [one for one in done if start_ns <= one.launched_ns < end_ns]


def owned_ns(done: Iterable[Work], timeline: Timeline) -> dict[Owner, int]:
    """Return the busy nanoseconds of each owner of a launch.

    Work that runs beside earlier work adds nothing, so that the sum over all owners is the busy
    time of the device.
    """
    found: dict[Owner, int] = {}
    until_ns = 0
    for one in sorted(done, key=lambda each: each.event.start_ns):
        fresh_ns = one.event.end_ns - max(one.event.start_ns, until_ns)
        until_ns = max(until_ns, one.event.end_ns)
        owner = timeline.at(one.launched_ns)
        if fresh_ns > 0 and owner is not None:
            found[owner] = found.get(owner, 0) + fresh_ns
    return found


def waited_ns(events: Iterable[Event], start_ns: int, end_ns: int) -> int:
    """Return how many nanoseconds the host was blocked between two times."""
    events = list(events)
    done = [one for one in events if one.kind == "device"]
    calls = [one for one in events if one.kind == "runtime" and start_ns <= one.start_ns < end_ns]
    by_id = {one.id: one for one in done if one.id}
    called = {one.id for one in events if one.kind == "runtime"}
    unclaimed = [one for one in done if one.id not in called]
    return sum(
        call.duration_ns
        for call in calls
        if WAITING.search(call.name)
        or (_COPIES.search(call.name) and _blocks(call, by_id.get(call.id), unclaimed))
    )


def _blocks(call: Event, copy: Event | None, unclaimed: Iterable[Event]) -> bool:
    """Return whether a call that copies blocks the host.

    copy:      the device's work for it; None where the trace does not link it.
    unclaimed: work that no call in the trace has launched: what ran meanwhile decides then.
    """
    if copy and not _NAMED_COPY.search(copy.name):
        return copy.end_ns <= call.end_ns
    own = [copy] if copy else [one for one in unclaimed if _during(one, call)]
    is_async = "async" in call.name.lower()
    return any(
        _TO_OR_FROM_HOST.search(one.name) and (not is_async or _PAGEABLE.search(one.name))
        for one in own
    )


def _during(one: Event, call: Event) -> bool:
    return one.start_ns < call.end_ns and call.start_ns < one.end_ns


def bottleneck(
    host_s: float, device_s: float, busy_s: float, waited_s: float, profiled_s: float
) -> Bottleneck:
    """Find what bounds a step.

    host_s:   the host's time to issue a call, back to back.
    device_s: a call's time between events, or until the device is done where no events are used.
    busy_s:   time in which the device worked; the profiler does not slow it down.
    waited_s: time in which the host was blocked, of profiled_s, a step under the profiler.
    """
    if device_s <= 0 or profiled_s <= 0:
        return Bottleneck(None, NO_TIME)
    busy, waits = busy_s / device_s, waited_s / profiled_s
    if busy >= DEVICE_BOUND:
        return Bottleneck("device", f"it worked in {busy:.0%} of the time")
    idle = f"the device idled in {1 - busy:.0%} of the time"
    if waits >= WAITS:
        return Bottleneck(
            "waits", f"{idle}, the host waited for it in {waits:.0%} of a profiled step"
        )
    if host_s >= DEVICE_BOUND * device_s:
        return Bottleneck("launches", f"{idle}, while the host was issuing work")
    return Bottleneck(None, f"{idle}, and the host neither issued work nor waited")


def bottleneck_without_kernels(host_s: float, device_s: float) -> Bottleneck:
    """Find what bounds a step whose kernels nobody sees.  The times are those of `bottleneck`.

    A host that is done before the device has left it work that waits in line.
    """
    if device_s <= 0:
        return Bottleneck(None, NO_TIME)
    issued = f"the host took {min(host_s / device_s, 1):.0%} of the time to issue it"
    return Bottleneck("device" if host_s < DEVICE_BOUND * device_s else "host", issued)
