"""Assigns each time of a step to a layer.  Pure functions: events in, nanoseconds out.

Forward: a layer owns the time of its range.  Backward: an autograd node has the sequence number of
the forward operator that made it (ATen/SequenceNumber.h), and belongs to the layer in whose range
that operator ran.  Where several owners overlap, the one that began last owns the time.  So nothing
counts twice, a wait of one thread for another counts for the other, and the sum over all owners is
the whole step.  Time that no layer owns is a row of its own and is never spread over layers.
"""

import bisect
import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.worker.profiler.events import BACKWARD_NODE, COMPILED_REGION, Event

STEP = "bench step"
PHASES = {f"bench {phase}": phase for phase in ("forward", "backward", "optimizer")}
OUTSIDE, AUTOGRAD, OPTIMIZER = "(outside the network)", "(autograd)", "(optimizer)"
_REST = {"forward": OUTSIDE, "backward": AUTOGRAD, "optimizer": OPTIMIZER}


class Owner(NamedTuple):
    """The owner of a time: a layer in a phase, or what is left."""

    row: str
    phase: str


class Span(NamedTuple):
    """An owner's span from one time to another."""

    start_ns: int
    end_ns: int
    owner: Owner


@dataclass(frozen=True, slots=True)
class Timeline:
    """Disjoint spans in order: each time has one owner at most."""

    spans: Sequence[Span]
    starts_ns: Sequence[int]

    @classmethod
    def of(cls, spans: Iterable[Span]) -> "Timeline":
        """Build a time line from spans that may overlap: the one that began last owns the time."""
        flat = _flat(sorted(spans, key=lambda one: (one.start_ns, -one.end_ns)))
        return cls(flat, [one.start_ns for one in flat])

    def at(self, time_ns: int) -> Owner | None:
        """Return the owner of a time."""
        place = bisect.bisect_right(self.starts_ns, time_ns) - 1
        if place < 0 or time_ns >= self.spans[place].end_ns:
            return None
        return self.spans[place].owner

    def within(self, start_ns: int, end_ns: int) -> dict[Owner, int]:
        """Return the nanoseconds of each owner inside a window."""
        found: dict[Owner, int] = {}
        place = max(0, bisect.bisect_right(self.starts_ns, start_ns) - 1)
        for span in self.spans[place:]:
            if span.start_ns >= end_ns:
                break
            inside = min(span.end_ns, end_ns) - max(span.start_ns, start_ns)
            if inside > 0:
                found[span.owner] = found.get(span.owner, 0) + inside
        return found


def _flat(spans: Sequence[Span]) -> list[Span]:
    """Return sorted spans without their overlaps."""
    times = sorted({time for span in spans for time in (span.start_ns, span.end_ns)})
    open_: list[tuple[int, int, Span]] = []  # the last one began latest
    flat: list[Span] = []
    coming = 0
    for start, end in itertools.pairwise(times):
        while coming < len(spans) and spans[coming].start_ns <= start:
            heapq.heappush(open_, (-spans[coming].start_ns, -coming, spans[coming]))
            coming += 1
        while open_ and open_[0][2].end_ns <= start:
            heapq.heappop(open_)
        if open_:
            owner = open_[0][2].owner
            if flat and flat[-1].owner == owner and flat[-1].end_ns == start:
                flat[-1] = Span(flat[-1].start_ns, end, owner)
            else:
                flat.append(Span(start, end, owner))
    return flat


def steps(events: Iterable[Event]) -> list[Event]:
    """Return the ranges of the profiled steps."""
    return [one for one in events if one.name == STEP and one.kind == "user_annotation"]


def middle(windows: Sequence[Event], most: int) -> list[Event]:
    """Return the `most` steps around the median duration, in their order."""
    by_length = sorted(windows, key=lambda one: one.duration_ns)
    spare = max(0, len(windows) - most)
    chosen = by_length[spare // 2 : len(windows) - (spare - spare // 2)]
    return sorted(chosen, key=lambda one: one.start_ns)


def timeline(events: Sequence[Event], layers: Mapping[str, str]) -> Timeline:
    """Return the owners of all times inside the steps.

    layers: name of a range → row of its layer.
    """
    ranges = [one for one in events if one.kind == "user_annotation"]
    phases = [one for one in ranges if one.name in PHASES]
    spans = [Span(one.start_ns, one.end_ns, Owner(OUTSIDE, "forward")) for one in steps(ranges)]
    spans += [
        Span(one.start_ns, one.end_ns, Owner(_REST[PHASES[one.name]], PHASES[one.name]))
        for one in phases
    ]
    phase_of = Timeline.of(spans)
    for one in events:
        row = layers.get(one.name) if one.kind == "user_annotation" else None
        if one.name.startswith(COMPILED_REGION):
            row = f"(compiled graph {one.name.removeprefix(COMPILED_REGION).strip()})"
        if row is not None:
            spans.append(Span(one.start_ns, one.end_ns, Owner(row, _phase(phase_of, one))))
    forward = Timeline.of(spans)
    makers = _makers(events)
    for node in events:
        if node.name.startswith(BACKWARD_NODE):
            maker = makers.get((node.forward_thread, node.sequence))
            owner = forward.at(maker.start_ns) if maker else None
            row = owner.row if owner else AUTOGRAD
            spans.append(Span(node.start_ns, node.end_ns, Owner(row, _phase(phase_of, node))))
    return Timeline.of(spans)


def _phase(phases: Timeline, event: Event) -> str:
    owner = phases.at(event.start_ns)
    return owner.phase if owner else "forward"


def _makers(events: Iterable[Event]) -> dict[tuple[int, int], Event]:
    """Return (thread, sequence number) → the forward operator that made the node.

    An operator has the number that the next node will get, whether it makes a node or not.  If
    several operators have one number, the latest made the node, as kineto's own arrows show it
    (torch/csrc/profiler/kineto_client_interface, generateForwardBackwardLinks).
    """
    return {
        (one.thread, one.sequence): one  # events are in the order of their starts
        for one in events
        if one.sequence >= 0 and not one.forward_thread
    }
