"""The tracks that a trace gets beside torch's own: phases, layers, memory by category.

Pure functions: records in, events out, in Chrome's trace event format (Google, "Trace Event
Format": X is a slice, C a counter, M a name, s and f are the ends of an arrow; `ts` and `dur` are
microseconds).  The layers of a track are those of the time line that the tables are made of, so a
slice without the slices inside it has the time that the tables give.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.worker.profiler.device import Work
from bench.worker.profiler.events import Event
from bench.worker.profiler.memory_trace import SEEN, MemoryStep
from bench.worker.profiler.owners import AUTOGRAD, PHASES, STEP, Owner, Span, Timeline, steps
from bench.worker.profiler.ranges import Ranges

# Linux gives no process an id from here on (PID_MAX_LIMIT in include/linux/threads.h), and kineto
# numbers devices from 0, so no other process of a trace has these.
LAYERS_PID = 2**22 + 1
MEMORY_PID = 2**22 + 2
PHASES_TID, LAYERS_TID, DEVICE_TID = 1, 2, 3
_OPERATORS_TID = 4  # the first of the threads of the step with memory events
CATEGORY = "bench"  # `cat` of all slices and arrows made here
COUNTER, TOTAL = "memory by category (bytes)", "memory in use (bytes)"
BACKWARD_OF = "backward of "

TraceEvent = dict[str, Any]


@dataclass(slots=True)
class Slice:
    """A part of a track, from one time to another."""

    name: str
    start_ns: int
    end_ns: int
    owner: Owner | None = None  # of the time that no slice inside it has
    self_ns: int = 0  # that time
    begins_with: bool = False  # whether a slice inside it begins with it


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of a trace: microseconds since `origin_ns`."""

    origin_ns: int

    def us(self, time_ns: int) -> float:
        return (time_ns - self.origin_ns) / 1000


def nested(
    spans: Sequence[tuple[Span, int]], callers: Callable[[Owner], Sequence[Owner]], *, gaps: bool
) -> list[Slice]:
    """Turn spans that follow each other into slices, each inside the slices of its callers.

    spans:   with the number of their step.
    callers: of an owner, the outermost first, and the owner itself at the end.
    gaps:    whether a slice may hold a time that no span has, as between two kernels.
    """
    done: list[Slice] = []
    open_: list[Slice] = []
    last_step, end_ns = -1, 0

    def close(depth: int) -> None:
        while len(open_) > depth:
            open_.pop().end_ns = end_ns

    for (span, step), path in zip(spans, _paths(spans, callers), strict=True):
        if step != last_step or (span.start_ns != end_ns and not gaps):
            close(0)
        close(_common([one.owner for one in open_], path))
        for owner in path[len(open_) :]:
            if open_ and open_[-1].start_ns == span.start_ns:
                open_[-1].begins_with = True
            open_.append(Slice(_name(owner), span.start_ns, span.end_ns, owner))
            done.append(open_[-1])
        open_[-1].self_ns += span.end_ns - span.start_ns
        last_step, end_ns = step, span.end_ns
    close(0)
    return done


def _paths(
    spans: Sequence[tuple[Span, int]], callers: Callable[[Owner], Sequence[Owner]]
) -> list[Sequence[Owner]]:
    """Return the path of each span.

    Autograd's own time between two of its nodes stands inside the module that has both: else each
    such microsecond would cut the backward of the module in two.
    """
    paths = [callers(span.owner) for span, _ in spans]
    for place in range(1, len(spans) - 1):
        owner, step = spans[place][0].owner, spans[place][1]
        around = (spans[place - 1], spans[place + 1])
        if owner.row == AUTOGRAD and all(
            span.owner.phase == owner.phase and number == step for span, number in around
        ):
            before, after = paths[place - 1], paths[place + 1]
            paths[place] = [*before[: _common(before, after)], owner]
    return paths


def _common(one: Sequence[Owner | None], other: Sequence[Owner | None]) -> int:
    """Return how many owners two paths have in common, from the outermost."""
    equal = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in equal)


def _name(owner: Owner) -> str:
    if owner.phase == "backward" and not owner.row.startswith("("):
        return BACKWARD_OF + owner.row
    return owner.row


def callers_of(ranges: Ranges) -> Callable[[Owner], Sequence[Owner]]:
    """Return the function for `nested`: a layer stands inside the module that called it."""

    def callers(owner: Owner) -> Sequence[Owner]:
        rows = [owner.row]
        while (seen := ranges.seen.get(rows[-1])) and seen.caller and seen.caller not in rows:
            rows.append(seen.caller)
        return [Owner(row, owner.phase) for row in reversed(rows)]

    return callers


def layers(events: Sequence[Event], owners: Timeline, ranges: Ranges) -> list[Slice]:
    """Return the slices of the layers on the host: inside a step no time is without one."""
    spans = [
        (Span(start_ns, end_ns, span.owner), number)
        for number, step in enumerate(steps(events))
        for span in owners.spans
        if (start_ns := max(span.start_ns, step.start_ns))
        < (end_ns := min(span.end_ns, step.end_ns))
    ]
    return nested(spans, callers_of(ranges), gaps=False)


def device_layers(
    events: Sequence[Event], done: Iterable[Work], owners: Timeline, ranges: Ranges
) -> list[Slice]:
    """Return the slices of the layers on the accelerator: by the layer that launched the work.

    A slice reaches from its first kernel to its last one.  Work beside earlier work adds nothing.
    """
    launches = [step.end_ns for step in steps(events)]
    spans: list[tuple[Span, int]] = []
    until_ns = 0
    for work in sorted(done, key=lambda one: one.event.start_ns):
        owner = owners.at(work.launched_ns)
        start_ns = max(work.event.start_ns, until_ns)
        until_ns = max(until_ns, work.event.end_ns)
        if owner is not None and start_ns < work.event.end_ns:
            step = sum(end_ns <= work.launched_ns for end_ns in launches)
            spans.append((Span(start_ns, work.event.end_ns, owner), step))
    return nested(spans, callers_of(ranges), gaps=True)


def phases(events: Sequence[Event], counted: Sequence[Event] = ()) -> list[Slice]:
    """Return the slices of steps and their phases, a step before its phases.

    counted: the steps that the tables are the mean of.
    """
    found = []
    for number, step in enumerate(steps(events)):
        name = f"step {number}" + (" (in the tables)" if step in counted else "")
        found.append(Slice(name, step.start_ns, step.end_ns))
        found += [
            Slice(PHASES[one.name], one.start_ns, one.end_ns)
            for one in events
            if one.name in PHASES and step.start_ns <= one.start_ns < step.end_ns
        ]
    return found


@dataclass(slots=True)
class Tracks:
    """Collects events of the tracks, each track with its name."""

    clock: Clock
    events: list[TraceEvent] = field(default_factory=list)
    _arrows: int = 0

    def process(self, pid: int, name: str, place: int) -> None:
        """Name a process.  place: among the processes; the smallest is at the top."""
        self._tell(pid, 0, "process_name", {"name": name})
        self._tell(pid, 0, "process_sort_index", {"sort_index": place})

    def thread(self, pid: int, tid: int, name: str) -> None:
        self._tell(pid, tid, "thread_name", {"name": name})
        self._tell(pid, tid, "thread_sort_index", {"sort_index": tid})

    def _tell(self, pid: int, tid: int, name: str, args: Mapping[str, Any]) -> None:
        self.events.append({"ph": "M", "name": name, "pid": pid, "tid": tid, "args": dict(args)})

    def slices(self, pid: int, tid: int, found: Iterable[Slice]) -> None:
        """Add slices; the outer one comes before those inside it."""
        for one in found:
            args: dict[str, Any] = {}
            if one.owner is not None:
                args = {"layer": one.owner.row, "phase": one.owner.phase}
                args |= {"self_us": one.self_ns / 1000}
            self._slice(pid, tid, one.name, one.start_ns, one.end_ns, args)

    def operators(self, pid: int, tid: int, found: Iterable[Event]) -> None:
        for one in found:
            self._slice(pid, tid, one.name, one.start_ns, one.end_ns, {})

    def _slice(
        self, pid: int, tid: int, name: str, start_ns: int, end_ns: int, args: Mapping[str, Any]
    ) -> None:
        self.events.append(
            {
                "ph": "X",
                "cat": CATEGORY,
                "name": name,
                "pid": pid,
                "tid": tid,
                "ts": self.clock.us(start_ns),
                "dur": (end_ns - start_ns) / 1000,
                "args": dict(args),
            }
        )

    def arrows(self, pid: int, tid: int, found: Sequence[Slice]) -> None:
        """Add an arrow from the forward of each layer to its backward in the same step."""
        begun: dict[str, Slice] = {}
        for one in found:
            if one.owner is None or one.begins_with:
                continue  # an arrow at a time belongs to the innermost slice there
            row, phase = one.owner
            if phase == "forward":
                begun[row] = one
            elif phase == "backward" and (start := begun.pop(row, None)):
                self._arrows += 1
                ends: Sequence[tuple[str, int, dict[str, str]]] = (
                    ("s", start.start_ns, {}),
                    ("f", one.start_ns, {"bp": "e"}),
                )
                self.events += [
                    {
                        "ph": end,
                        "id": 2**32 + self._arrows,  # kineto counts its own from 1
                        "cat": CATEGORY,
                        "name": "backward",
                        "pid": pid,
                        "tid": tid,
                        "ts": self.clock.us(time_ns),
                        **more,
                    }
                    for end, time_ns, more in ends
                ]

    def counters(
        self, pid: int, times_ns: Sequence[int], bytes_by_category: Mapping[str, Sequence[int]]
    ) -> None:
        """Add the memory at each time, where it changes: by category, and altogether.

        A viewer stacks or lists the values of one event, so that the sum is a counter of its own.
        """
        used = {name: values for name, values in bytes_by_category.items() if any(values)}
        for place, time_ns in enumerate(times_ns):
            if place + 1 < len(times_ns) and times_ns[place + 1] == time_ns:
                continue  # of several changes at one time the last one counts
            now = {name: values[place] for name, values in used.items()}
            for name, args in ((COUNTER, now), (TOTAL, {"bytes": sum(now.values())})):
                self.events.append(
                    {"ph": "C", "name": name, "pid": pid, "ts": self.clock.us(time_ns)}
                    | {"args": args}
                )


def add_layers(
    tracks: Tracks,
    events: Sequence[Event],
    owners: Timeline,
    ranges: Ranges,
    *,
    done: Sequence[Work] = (),
    counted: Sequence[Event] = (),
) -> None:
    """Add the tracks of the profiled steps.  done: the accelerator's work."""
    tracks.process(LAYERS_PID, "bench: phases and layers", -2)
    _add_step_tracks(tracks, LAYERS_PID, events, owners, ranges, counted)
    if done:
        tracks.thread(LAYERS_PID, DEVICE_TID, "layers on the device")
        tracks.slices(LAYERS_PID, DEVICE_TID, device_layers(events, done, owners, ranges))


def add_memory(tracks: Tracks, step: MemoryStep, device: str) -> None:
    """Add the step that was recorded with its memory events: counters, layers, operators."""
    place = f"bench: memory of {device}, in a step recorded for it alone"
    tracks.process(MEMORY_PID, place, -1)
    used = step.usage
    end_ns = max((one.end_ns for one in steps(step.events)), default=used.times_ns[-1])
    times_ns = [*used.times_ns, max(end_ns, used.times_ns[-1])]
    series = {name: [*its, its[-1]] for name, its in used.bytes_by_category.items()}
    tracks.counters(MEMORY_PID, times_ns, series)
    _add_step_tracks(tracks, MEMORY_PID, step.events, step.owners, step.ranges, ())
    for number, (thread, found) in enumerate(_by_thread(step.events, step.ranges)):
        tracks.thread(MEMORY_PID, _OPERATORS_TID + number, f"operators of thread {thread}")
        tracks.operators(MEMORY_PID, _OPERATORS_TID + number, found)


def _add_step_tracks(
    tracks: Tracks,
    pid: int,
    events: Sequence[Event],
    owners: Timeline,
    ranges: Ranges,
    counted: Sequence[Event],
) -> None:
    tracks.thread(pid, PHASES_TID, "phases")
    tracks.slices(pid, PHASES_TID, phases(events, counted))
    tracks.thread(pid, LAYERS_TID, "layers")
    found = layers(events, owners, ranges)
    tracks.slices(pid, LAYERS_TID, found)
    tracks.arrows(pid, LAYERS_TID, found)


def _by_thread(events: Iterable[Event], ranges: Ranges) -> Iterator[tuple[int, list[Event]]]:
    """Yield the operators and the subject's own ranges of each thread."""
    found: dict[int, list[Event]] = {}
    own = {STEP, *PHASES, *ranges.rows}  # they are on the tracks of phases and layers
    for one in events:
        if one.kind == "cpu_op" or (
            one.kind == "user_annotation" and one.name not in own and not one.name.startswith(SEEN)
        ):
            found.setdefault(one.thread, []).append(one)
    yield from found.items()
