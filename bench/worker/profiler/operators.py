"""The cost of each operator of a step, from the events of a trace.  Pure functions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.worker.profiler.device import Work
from bench.worker.profiler.events import Event


@dataclass(slots=True)
class Cost:
    """Cost of all calls of one operator in one step.  Nanoseconds."""

    calls: int = 0
    self_host_ns: int = 0
    host_ns: int = 0  # with the operators that it calls; an operator inside itself counts once
    self_device_ns: int = 0
    device_ns: int = 0


@dataclass(slots=True)
class _OpenOperator:
    event: Event
    inside_ns: int = 0


def costs(events: Iterable[Event], done: Iterable[Work]) -> dict[str, Cost]:
    """Return the costs by operator.

    events: of one step, in the order of their starts.
    done:   the device's work of that step.
    """
    launched: Counter[int] = Counter()
    for one in done:
        if one.event.linked:
            launched[one.event.linked] += one.event.duration_ns
    found: dict[str, Cost] = {}
    stacks: dict[int, list[_OpenOperator]] = {}
    for event in events:
        if event.kind != "cpu_op":
            continue
        stack = stacks.setdefault(event.thread, [])
        while stack and stack[-1].event.end_ns <= event.start_ns:
            _close(stack, found)
        _open(event, stack, found, launched[event.id])
    for stack in stacks.values():
        while stack:
            _close(stack, found)
    return found


def _open(event: Event, stack: list[_OpenOperator], found: dict[str, Cost], device_ns: int) -> None:
    cost = found.setdefault(event.name, Cost())
    cost.calls += 1
    cost.self_device_ns += device_ns
    names = {one.event.name for one in stack} | {event.name}
    for name in names:
        found[name].device_ns += device_ns
    if all(one.event.name != event.name for one in stack):
        cost.host_ns += event.duration_ns
    if stack:
        stack[-1].inside_ns += event.duration_ns
    stack.append(_OpenOperator(event))


def _close(stack: list[_OpenOperator], found: dict[str, Cost]) -> None:
    done = stack.pop()
    found[done.event.name].self_host_ns += done.event.duration_ns - done.inside_ns


def kernels(done: Sequence[Work]) -> dict[tuple[str, str | None], tuple[int, int]]:
    """Return the count and the nanoseconds of each (kernel, operator that launched it)."""
    found: dict[tuple[str, str | None], tuple[int, int]] = {}
    for one in done:
        key = one.event.name, one.operator
        calls, time_ns = found.get(key, (0, 0))
        found[key] = calls + 1, time_ns + one.event.duration_ns
    return found
