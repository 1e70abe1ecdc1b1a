"""Phases, layers and memory on tracks of a trace, from made-up records."""

from typing import Any

import pytest

from bench.worker.profiler.device import Work
from bench.worker.profiler.events import BACKWARD_NODE, Event
from bench.worker.profiler.memory_trace import Block, Change, MemoryStep, usage
from bench.worker.profiler.owners import Timeline, timeline
from bench.worker.profiler.ranges import ModuleCall, Ranges
from bench.worker.profiler.trace_tracks import (
    DEVICE_TID,
    LAYERS_PID,
    LAYERS_TID,
    Clock,
    Tracks,
    add_layers,
    add_memory,
)
from tests.support.trace_format import Slice, Trace, parse

ROWS = {"layer net": "(network)", "layer b": "block", "layer c": "block.conv", "layer r": "relu"}
CLOCK = Clock(1_000_000)


def ranges() -> Ranges:
    """A network that calls a block, which calls a convolution, and then a ReLU."""
    made = Ranges(None)
    made.rows |= ROWS
    for row, caller in (
        ("(network)", ""),
        ("block", "(network)"),
        ("block.conv", "block"),
        ("relu", "(network)"),
    ):
        made.seen[row] = ModuleCall(row, row, "Type", caller=caller)
    return made


def marked(name: str, start: int, end: int) -> Event:
    return Event(name=name, start_ns=start, end_ns=end, kind="user_annotation")


def operator(start: int, end: int, sequence: int = -1) -> Event:
    return Event(name="aten::x", start_ns=start, end_ns=end, sequence=sequence)


def node(start: int, end: int, sequence: int) -> Event:
    return Event(
        name=f"{BACKWARD_NODE}XBackward0",
        start_ns=start,
        end_ns=end,
        sequence=sequence,
        forward_thread=1,
    )


def training(begin: int = 1_000_000) -> list[Event]:
    """A step of 1000 ns: forward to 400 (the network to 350), backward to 800, then optimizer."""
    events = [
        marked("bench step", 0, 1000),
        marked("bench forward", 10, 400),
        marked("layer net", 20, 350),
        marked("layer b", 50, 200),
        marked("layer c", 60, 150),
        operator(70, 140, 0),
        operator(160, 190, 1),
        marked("layer r", 250, 300),
        operator(260, 290, 2),
        marked("bench backward", 400, 800),
        node(450, 500, 2),
        node(510, 600, 1),
        node(610, 700, 0),
        marked("bench optimizer", 810, 990),
    ]
    return [
        Event(
            name=one.name,
            start_ns=begin + one.start_ns,
            end_ns=begin + one.end_ns,
            kind=one.kind,
            sequence=one.sequence,
            forward_thread=one.forward_thread,
        )
        for one in sorted(events, key=lambda event: (event.start_ns, -event.end_ns))
    ]


def tracks_of(events: list[Event], **more: Any) -> tuple[Tracks, Timeline]:
    made, owners = Tracks(CLOCK), timeline(events, ROWS)
    add_layers(made, events, owners, ranges(), **more)
    return made, owners


def trace_of(events: list[Event], **more: Any) -> Trace:
    return parse(tracks_of(events, **more)[0].events)


def shown(slices: list[Slice]) -> list[tuple[int, str, int, int]]:
    return [(len(one.around), one.name, one.start_ns, one.end_ns) for one in slices]


def test_a_layer_stands_inside_the_module_that_called_it() -> None:
    forward = [
        one
        for one in trace_of(training()).track("bench: phases", "layers")
        if one.args["phase"] == "forward" and one.start_ns < 400
    ]
    assert shown(forward) == [
        (0, "(outside the network)", 0, 20),
        (0, "(network)", 20, 350),
        (1, "block", 50, 200),
        (2, "block.conv", 60, 150),
        (1, "relu", 250, 300),
        (0, "(outside the network)", 350, 400),
    ]


def test_the_backward_of_a_layer_stands_inside_that_of_its_module() -> None:
    backward = [
        one
        for one in trace_of(training()).track("bench: phases", "layers")
        if one.args["phase"] == "backward"
    ]
    assert shown(backward) == [
        (0, "(autograd)", 400, 450),
        (0, "(network)", 450, 700),
        (1, "backward of relu", 450, 500),
        (1, "(autograd)", 500, 510),
        (1, "backward of block", 510, 700),
        (2, "(autograd)", 600, 610),
        (2, "backward of block.conv", 610, 700),
        (0, "(autograd)", 700, 800),
    ]


def test_the_layers_of_a_phase_add_up_to_it_and_to_the_tables() -> None:
    made, owners = tracks_of([*training(), *training(1_002_000)])
    trace = parse(made.events)
    layers = trace.track("bench: phases", "layers")
    for phase in trace.track("bench: phases", "phases"):
        outer = [one for one in layers if not one.around]
        ends = [(max(one.start_ns, phase.start_ns), min(one.end_ns, phase.end_ns)) for one in outer]
        covered_ns = sum(end - start for start, end in ends if end > start)
        assert covered_ns == phase.end_ns - phase.start_ns, phase.name
    for number, one in enumerate(layers):
        inside = [its for its in layers if its.around and its.around[-1] == number]
        rest_ns = one.end_ns - one.start_ns - sum(its.end_ns - its.start_ns for its in inside)
        assert 1000 * float(one.args["self_us"]) == pytest.approx(rest_ns)
    found: dict[tuple[str, str], float] = {}
    for one in layers:
        key = one.args["layer"], one.args["phase"]
        if own := 1000 * float(one.args["self_us"]):
            found[key] = found.get(key, 0) + own
    assert found == pytest.approx(dict(owners.within(1_000_000, 1_003_000)))


def test_phases_stand_inside_their_step_which_says_whether_it_counts() -> None:
    events = [*training(), *training(1_002_000)]
    found = trace_of(events, counted=[events[0]]).track("bench: phases", "phases")
    assert shown(found) == [
        (0, "step 0 (in the tables)", 0, 1000),
        (1, "forward", 10, 400),
        (1, "backward", 400, 800),
        (1, "optimizer", 810, 990),
        (0, "step 1", 2000, 3000),
        (1, "forward", 2010, 2400),
        (1, "backward", 2400, 2800),
        (1, "optimizer", 2810, 2990),
    ]


def test_an_arrow_leads_from_the_forward_of_a_layer_to_its_backward() -> None:
    found = trace_of(training())
    at = (LAYERS_PID, LAYERS_TID)
    assert sorted(found.arrows.values()) == [
        ((*at, 50), (*at, 510)),  # block
        ((*at, 60), (*at, 610)),  # block.conv
        ((*at, 250), (*at, 450)),  # relu
    ]


def test_a_checkpoint_computes_a_layer_again_inside_the_backward() -> None:
    events = training()
    again = marked("layer c", 1_000_620, 1_000_650)
    events = sorted([*events, again], key=lambda one: (one.start_ns, -one.end_ns))
    found = trace_of(events).track("bench: phases", "layers")
    assert [one.args["phase"] for one in found if 610 <= one.start_ns < 700] == ["backward"]


def kernel(start: int, end: int, launched: int) -> Work:
    event = Event(name="k", start_ns=start, end_ns=end, kind="device")
    return Work(event, launched, "aten::x")


def test_layers_on_the_device_reach_from_their_first_kernel_to_their_last() -> None:
    at = 1_000_000
    done = [
        kernel(at + 500, at + 600, launched=at + 70),  # block.conv
        kernel(at + 700, at + 800, launched=at + 80),  # block.conv
        kernel(at + 790, at + 900, launched=at + 260),  # relu, beside it
        kernel(at + 905, at + 910, launched=at + 5000),  # of no step
    ]
    found = trace_of(training(), done=done)
    assert shown(found.slices[LAYERS_PID, DEVICE_TID]) == [
        (0, "(network)", 500, 900),
        (1, "block", 500, 800),
        (2, "block.conv", 500, 800),
        (1, "relu", 800, 900),
    ]
    conv = found.slices[LAYERS_PID, DEVICE_TID][2]
    assert float(conv.args["self_us"]) == pytest.approx(0.2)  # without the gap


def memory_step(*changes: Change) -> MemoryStep:
    events, before = training(), {1: Block(1000, "parameters", "weight")}
    used = usage(before, list(changes), [], start_ns=1_000_000)
    owners = timeline(events, ROWS)
    return MemoryStep(usage=used, events=events, owners=owners, ranges=ranges())


def test_a_planted_allocation_is_in_the_counter_with_its_size_and_its_time() -> None:
    step = memory_step(
        Change(time_ns=1_000_300, address=2, bytes=4096),
        Change(time_ns=1_000_500, address=3, bytes=64, phase="optimizer"),
        Change(time_ns=1_000_600, address=2, bytes=-4096),
    )
    made = Tracks(CLOCK)
    add_memory(made, step, "cpu")
    found = parse(made.events)
    assert found.counter("memory by category") == [
        (0, {"parameters": 1000, "optimizer": 0, "temporary": 0}),
        (300, {"parameters": 1000, "optimizer": 0, "temporary": 4096}),
        (500, {"parameters": 1000, "optimizer": 64, "temporary": 4096}),
        (600, {"parameters": 1000, "optimizer": 64, "temporary": 0}),
        (1000, {"parameters": 1000, "optimizer": 64, "temporary": 0}),  # the end of the step
    ]
    assert [(at, its["bytes"]) for at, its in found.counter("memory in use")] == [
        (0, 1000),
        (300, 5096),
        (500, 5160),
        (600, 1064),
        (1000, 1064),
    ]


def test_of_several_changes_at_one_time_the_last_one_is_shown() -> None:
    step = memory_step(
        Change(time_ns=1_000_300, address=2, bytes=4096),
        Change(time_ns=1_000_300, address=2, bytes=-4096),
    )
    made = Tracks(CLOCK)
    add_memory(made, step, "cpu")
    found = parse(made.events).counter("memory in use")
    assert found == [(0, {"bytes": 1000}), (300, {"bytes": 1000}), (1000, {"bytes": 1000})]


def test_the_step_with_memory_events_shows_its_operators_but_not_the_labels() -> None:
    step = memory_step(Change(time_ns=1_000_300, address=2, bytes=4096))
    events = [*step.events, marked("bench seen 0", 1_000_995, 1_000_996)]
    made = Tracks(CLOCK)
    add_memory(
        made,
        MemoryStep(usage=step.usage, events=events, owners=step.owners, ranges=step.ranges),
        "cpu",
    )
    found = parse(made.events)
    names = {one.name for one in found.track("bench: memory of cpu", "operators of thread 1")}
    assert names == {"aten::x", f"{BACKWARD_NODE}XBackward0"}
    assert [one.name for one in found.track("bench: memory of cpu", "phases")] == [
        *("step 0", "forward", "backward", "optimizer")
    ]
