"""Whose moment each moment of a step is, from made-up traces."""

from bench.worker.profiler.events import BACKWARD_NODE, Event
from bench.worker.profiler.owners import (
    AUTOGRAD,
    OPTIMIZER,
    OUTSIDE,
    Owner,
    Span,
    Timeline,
    middle,
    steps,
    timeline,
)

A, B = Owner("a", "forward"), Owner("b", "forward")
LAYERS = {"layer conv": "conv", "layer relu": "relu", "layer net": "(network)"}


def marked(name: str, start: int, end: int) -> Event:
    return Event(name=name, start_ns=start, end_ns=end, kind="user_annotation")


def operator(start: int, end: int, sequence: int, thread: int = 1) -> Event:
    return Event(name="aten::x", start_ns=start, end_ns=end, sequence=sequence, thread=thread)


def node(start: int, end: int, sequence: int, *, thread: int = 1, forward: int = 1) -> Event:
    return Event(
        name=f"{BACKWARD_NODE}XBackward0",
        start_ns=start,
        end_ns=end,
        sequence=sequence,
        thread=thread,
        forward_thread=forward,
    )


def training(*more: Event) -> list[Event]:
    """A step of 100 ns: forward to 40 (the network to 30), backward to 80, optimizer to 100."""
    events = [
        marked("bench step", 0, 100),
        marked("bench forward", 0, 40),
        marked("layer net", 0, 30),
        marked("layer conv", 5, 15),
        operator(6, 14, 0),
        marked("layer relu", 20, 28),
        operator(21, 27, 1),
        operator(31, 39, 2),
        marked("bench backward", 40, 80),
        marked("bench optimizer", 80, 100),
        *more,
    ]
    return sorted(events, key=lambda event: (event.start_ns, -event.end_ns))


def test_of_spans_that_overlap_the_latest_begun_owns_the_moment() -> None:
    line = Timeline.of([Span(0, 10, A), Span(4, 6, B)])
    assert list(line.spans) == [Span(0, 4, A), Span(4, 6, B), Span(6, 10, A)]
    assert line.within(0, 10) == {A: 8, B: 2}


def test_spans_that_begin_together_belong_to_the_inner_one() -> None:
    assert Timeline.of([Span(0, 5, B), Span(0, 10, A)]).within(0, 10) == {B: 5, A: 5}


def test_a_span_that_ends_after_the_one_around_it_keeps_its_moments() -> None:
    assert Timeline.of([Span(0, 5, A), Span(3, 9, B)]).within(0, 20) == {A: 3, B: 6}


def test_where_nothing_is_open_nobody_owns_the_moment() -> None:
    line = Timeline.of([Span(0, 5, A), Span(8, 9, B)])
    assert [line.at(time) for time in (-1, 0, 4, 5, 8, 9)] == [None, A, A, None, B, None]


def test_a_window_cuts_the_spans_at_its_ends() -> None:
    assert Timeline.of([Span(0, 10, A), Span(10, 20, B)]).within(7, 12) == {A: 3, B: 2}


def test_a_backward_node_belongs_to_the_layer_whose_forward_made_it() -> None:
    events = training(node(41, 44, 2), node(45, 55, 1), node(56, 76, 0))
    assert timeline(events, LAYERS).within(0, 100) == {
        Owner("(network)", "forward"): 12,
        Owner("conv", "forward"): 10,
        Owner("relu", "forward"): 8,
        Owner(OUTSIDE, "forward"): 10,
        Owner(OUTSIDE, "backward"): 3,  # the loss'
        Owner("relu", "backward"): 10,
        Owner("conv", "backward"): 20,
        Owner(AUTOGRAD, "backward"): 7,
        Owner(OPTIMIZER, "optimizer"): 20,
    }


def test_all_owners_together_are_the_step() -> None:
    events = training(node(41, 44, 2), node(45, 55, 1, thread=2), node(50, 99, 0, thread=2))
    assert sum(timeline(events, LAYERS).within(0, 100).values()) == 100


def test_nodes_on_the_engines_own_thread_own_the_time_in_which_the_caller_waits() -> None:
    found = timeline(training(node(45, 75, 0, thread=7)), LAYERS).within(0, 100)
    assert found[Owner("conv", "backward")] == 30
    assert found[Owner(AUTOGRAD, "backward")] == 10


def test_a_node_that_no_forward_operator_made_is_autograds_own() -> None:
    gradients = node(45, 50, -1, forward=1)  # AccumulateGrad has no sequence number
    found = timeline(training(gradients), LAYERS).within(0, 100)
    assert found[Owner(AUTOGRAD, "backward")] == 40


def test_an_equal_number_of_another_thread_is_not_the_same_node() -> None:
    found = timeline(training(node(45, 50, 0, forward=9)), LAYERS).within(0, 100)
    assert Owner("conv", "backward") not in found


def test_operators_of_two_threads_may_bear_one_number() -> None:
    other = operator(31, 33, 0, thread=9)
    found = timeline(training(other, node(45, 50, 0)), LAYERS).within(0, 100)
    assert found[Owner("conv", "backward")] == 5


def test_of_operators_with_one_number_the_latest_made_the_node() -> None:
    early = operator(16, 18, 1)  # made no node; the next operator got its number
    found = timeline(training(early, node(45, 50, 1)), LAYERS).within(0, 100)
    assert found[Owner("relu", "backward")] == 5


def test_a_layer_that_is_computed_again_in_the_backward_owns_that_time_there() -> None:
    again = [node(42, 70, 2), marked("layer conv", 50, 60)]  # as checkpointing does
    found = timeline(training(*again), LAYERS).within(0, 100)
    assert found[Owner("conv", "backward")] == 10
    assert found[Owner("conv", "forward")] == 10


def test_a_compiled_graph_is_a_row_of_its_own_with_its_backward() -> None:
    events = [
        marked("bench step", 0, 100),
        marked("bench forward", 0, 40),
        Event(name="Torch-Compiled Region: 0/0", start_ns=5, end_ns=35),
        Event(name="CompiledFunction", start_ns=6, end_ns=30, sequence=4),
        marked("bench backward", 40, 100),
        node(50, 90, 4),
    ]
    found = timeline(events, {}).within(0, 100)
    assert found[Owner("(compiled graph 0/0)", "forward")] == 30
    assert found[Owner("(compiled graph 0/0)", "backward")] == 40


def test_a_range_of_the_subjects_own_is_no_step_and_no_layer() -> None:
    events = training(marked("mine", 6, 12), Event(name="bench step", start_ns=1, end_ns=2))
    assert len(steps(events)) == 1
    assert timeline(events, LAYERS).within(0, 100)[Owner("conv", "forward")] == 10


def test_the_middle_steps_are_those_of_median_length_in_their_order() -> None:
    windows = [
        marked("bench step", start, start + long)
        for start, long in ((0, 9), (100, 5), (200, 80), (300, 6), (400, 1))
    ]
    assert [one.start_ns for one in middle(windows, 3)] == [0, 100, 300]
    assert middle(windows[:2], 3) == windows[:2]
