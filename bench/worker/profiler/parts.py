"""Splits a step into parts, each of a layer, a phase and an operator.  Pure functions.

The parts of a step add up to it.  On the host the innermost running operator owns a time, and time
in which no operator runs (Python, torch's dispatcher) belongs to the part `BETWEEN` of its layer.
On an accelerator the operator that launched a kernel owns its time, and time in which the device
idles before a kernel belongs to the part `IDLE` of the layer that launched it.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.worker.profiler.device import Work
from bench.worker.profiler.events import BACKWARD_NODE, Event
from bench.worker.profiler.owners import Owner, Span, Timeline

BETWEEN, IDLE = "(between operators)", "(device idle)"
UNKNOWN_OPERATOR = "(no operator)"  # launched a kernel
MOST_IN_ORDER = 200  # calls of one layer in one phase whose order is kept


class Part(NamedTuple):
    """The part of a step that one operator takes for one layer in one phase."""

    row: str
    phase: str
    operator: str


@dataclass(slots=True)
class PartCost:
    """Cost of a part in one step.  Nanoseconds."""

    calls: int = 0
    events: int = 0  # that the profiler recorded, each at a cost
    host_ns: int = 0
    device_ns: int = 0
    within: str = ""  # outermost operator that calls it, of the first call
    kernels: dict[str, tuple[int, int]] = field(default_factory=dict)  # name → calls, ns


def of_window(
    events: Sequence[Event],
    owners: Timeline,
    window: Event,
    done: Sequence[Work],
    ranges: Iterable[tuple[Event, str]] = (),
) -> dict[Part, PartCost]:
    """Return the cost of each part of one step.

    events: of the step, in the order of their starts.
    done:   the work that the step launched on the device.
    ranges: the ranges of layers inside the step, with the row of each.
    """
    operators = [one for one in events if one.kind == "cpu_op" and one.end_ns > one.start_ns]
    found: dict[Part, PartCost] = {}
    own: list[Part] = []  # by index of the operator
    for event, outer in _with_outermost(operators):
        owner = owners.at(event.start_ns) or Owner("", "")
        part = Part(*owner, event.name)
        own.append(part)
        cost = found.setdefault(part, PartCost(within=outer.name if outer else ""))
        cost.calls += 1
        cost.events += 1
    for event, _ in ranges:
        if (inside := owners.at(event.start_ns)) is not None:
            found.setdefault(Part(*inside, BETWEEN), PartCost()).events += 1
    for part, nanoseconds in _host(operators, own, owners, window).items():
        found.setdefault(part, PartCost()).host_ns += nanoseconds
    _add_device(found, owners, window, done)
    return found


def _with_outermost(operators: Sequence[Event]) -> Iterator[tuple[Event, Event | None]]:
    """Yield each operator with the outermost operator around it, or itself; no autograd node."""
    stacks: dict[int, list[Event]] = {}
    for event in operators:
        stack = stacks.setdefault(event.thread, [])
        while stack and stack[-1].end_ns <= event.start_ns:
            stack.pop()
        stack.append(event)
        yield event, next((one for one in stack if "::" in one.name and not _node(one)), None)


def _node(event: Event) -> bool:
    return event.name.startswith(BACKWARD_NODE)


def _host(
    operators: Sequence[Event], own: Sequence[Part], owners: Timeline, window: Event
) -> dict[Part, int]:
    """Return the host's nanoseconds of each part inside the window."""
    running = Timeline.of(
        Span(one.start_ns, one.end_ns, Owner(str(number), ""))
        for number, one in enumerate(operators)
    )
    found: Counter[Part] = Counter()
    for start_ns, end_ns, owner, number in _overlaid(running, owners, window):
        if number is not None and (own[number].row, own[number].phase) == owner:
            found[own[number]] += end_ns - start_ns
        else:  # also inside an operator that calls a layer, as checkpointing does
            found[Part(*owner, BETWEEN)] += end_ns - start_ns
    return found


def _overlaid(
    running: Timeline, owners: Timeline, window: Event
) -> Iterator[tuple[int, int, Owner, int | None]]:
    """Yield disjoint times with their owner, and the index of the operator that runs."""
    edges = {window.start_ns, window.end_ns}
    for span in (*running.spans, *_near(owners, window)):
        edges |= {span.start_ns, span.end_ns}
    inside = sorted(one for one in edges if window.start_ns <= one <= window.end_ns)
    for start_ns, end_ns in itertools.pairwise(inside):
        owner = owners.at(start_ns)
        if owner is not None:
            runs = running.at(start_ns)
            yield start_ns, end_ns, owner, None if runs is None else int(runs.row)


def _near(owners: Timeline, window: Event) -> Iterator[Span]:
    for span in owners.spans:
        if span.end_ns > window.start_ns and span.start_ns < window.end_ns:
            yield span


def _add_device(
    found: dict[Part, PartCost], owners: Timeline, window: Event, done: Sequence[Work]
) -> None:
    """Add the device's work, and the time in which it idles before each piece of it.

    Work that runs beside earlier work adds nothing: the sum is the time from the step's start to
    the end of the last work.
    """
    until_ns = window.start_ns
    for one in sorted(done, key=lambda each: each.event.start_ns):
        owner = owners.at(one.launched_ns) or Owner("", "")
        idle_ns = one.event.start_ns - until_ns
        if idle_ns > 0:
            found.setdefault(Part(*owner, IDLE), PartCost()).device_ns += idle_ns
        fresh_ns = max(0, one.event.end_ns - max(one.event.start_ns, until_ns))
        until_ns = max(until_ns, one.event.end_ns)
        part = Part(*owner, one.operator or UNKNOWN_OPERATOR)
        cost = found.setdefault(part, PartCost())
        cost.device_ns += fresh_ns
        calls, nanoseconds = cost.kernels.get(one.event.name, (0, 0))
        cost.kernels[one.event.name] = calls + 1, nanoseconds + fresh_ns


def in_order(events: Sequence[Event], owners: Timeline) -> dict[Owner, list[str]]:
    """Return the outermost operators of one step in the order of their starts, without nodes."""
    found: dict[Owner, list[str]] = {}
    operators = [one for one in events if one.kind == "cpu_op" and one.end_ns > one.start_ns]
    for one, outer in _with_outermost(operators):
        owner = owners.at(one.start_ns) if one is outer else None
        if owner is not None and len(names := found.setdefault(owner, [])) < MOST_IN_ORDER:
            names.append(one.name)
    return found
