"""What the accelerator did, and what therefore bounds a step.  Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.worker.profiler.events import Event
from bench.worker.profiler.owners import Owner, Timeline

# At 0.9 the device idles a tenth of the time at most: whatever the host did faster, the step
# would gain less than that.  The same tenth is what waits must take before they are the cause.
DEVICE_BOUND = 0.9
WAITS = 0.1
# What holds the host up until the device is done: cuda*Synchronize, hip*Synchronize, xpu's
# zeEventHostSynchronize and urQueueFinish.
WAITING = re.compile(r"synchronize|queuefinish|eventwait", re.IGNORECASE)
# Of the calls that copy, those between device and host hold it up where the host's memory is
# pageable; with pinned memory those that do not end in Async; copies inside the device none (CUDA
# Runtime API, API synchronization behavior).  Kineto names the copy itself, as the device does it
# (CuptiActivity.cpp, memcpyName): "Memcpy HtoD (Pageable -> Device)".
_COPIES = re.compile(r"memcpy", re.IGNORECASE)
_TO_OR_FROM_HOST = re.compile(r"Memcpy (HtoD|DtoH)\b")
_PAGEABLE = re.compile(r"\bPageable\b")


@dataclass(frozen=True, slots=True)
class Work:
    """One kernel or copy, and when the host asked for it."""

    event: Event
    launched_ns: int
    operator: str | None  # that launched it


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What a step is bound by: `launches`, `device`, `waits`, or None where nothing says so."""

    bound_by: str | None
    why: str


def work(events: Sequence[Event]) -> list[Work]:
    """The device's work in the order of its start.

    Kineto gives a kernel the id of the call that launched it, and the operator's as its link.
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
    """What the host asked for between two moments, whenever it ran."""
    return [one for one in done if start_ns <= one.launched_ns < end_ns]


def owned_ns(done: Iterable[Work], timeline: Timeline) -> dict[Owner, int]:
    """Busy nanoseconds of each owner of a launch; what runs beside earlier work adds nothing.

    So the sum over all owners is the busy time of the device.
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
    """How long the host was held up between two moments."""
    events = list(events)
    copies = [one for one in events if one.kind == "device" and _TO_OR_FROM_HOST.search(one.name)]
    calls = [one for one in events if one.kind == "runtime" and start_ns <= one.start_ns < end_ns]
    by_id = {one.id: one for one in copies if one.id}
    called = {one.id for one in events if one.kind == "runtime"}
    unclaimed = [one for one in copies if one.id not in called]
    return sum(
        call.duration_ns
        for call in calls
        if WAITING.search(call.name)
        or (_COPIES.search(call.name) and _blocks(call, by_id.get(call.id), unclaimed))
    )


def _blocks(call: Event, copy: Event | None, unclaimed: Iterable[Event]) -> bool:
    """Whether a call that copies holds the host up.

    copy:      what the device did for it; where the trace does not tell, what ran meanwhile of
    unclaimed: the copies that no call in the trace has asked for.
    """
    own = [copy] if copy else [one for one in unclaimed if _during(one, call)]
    is_async = "async" in call.name.lower()
    return any(not is_async or _PAGEABLE.search(one.name) for one in own)


def _during(one: Event, call: Event) -> bool:
    return one.start_ns < call.end_ns and call.start_ns < one.end_ns


def bottleneck(
    host_s: float, event_s: float, busy_s: float, waited_s: float, profiled_s: float
) -> Bottleneck:
    """What bounds a step.

    host_s:     the host needs to issue a call, back to back; event_s: between events, a call;
    busy_s:     in which the device worked, which the profiler does not slow down;
    waited_s:   in which the host was held up, of profiled_s: a step under the profiler.
    """
    if event_s <= 0 or profiled_s <= 0:
        return Bottleneck(None, "no time passed between the events")
    busy, waits = busy_s / event_s, waited_s / profiled_s
    if busy >= DEVICE_BOUND:
        return Bottleneck("device", f"it worked in {busy:.0%} of the time")
    idle = f"the device idled in {1 - busy:.0%} of the time"
    if waits >= WAITS:
        return Bottleneck(
            "waits", f"{idle}, the host waited for it in {waits:.0%} of a profiled step"
        )
    if host_s >= DEVICE_BOUND * event_s:
        return Bottleneck("launches", f"{idle}, while the host was issuing work")
    return Bottleneck(None, f"{idle}, and the host neither issued work nor waited")
