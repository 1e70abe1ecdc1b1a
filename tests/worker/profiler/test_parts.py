"""The parts of a step, from made-up traces: they add up, and each has its operator."""

from bench.worker.profiler import parts
from bench.worker.profiler.device import Work
from bench.worker.profiler.events import BACKWARD_NODE, Event
from bench.worker.profiler.owners import Owner, timeline
from bench.worker.profiler.parts import BETWEEN, IDLE, Part

LAYERS = {"layer net": "(network)", "layer conv": "conv"}


def marked(name: str, start: int, end: int) -> Event:
    return Event(name=name, start_ns=start, end_ns=end, kind="user_annotation")


def operator(name: str, start: int, end: int, **more: int) -> Event:
    return Event(name=name, start_ns=start, end_ns=end, **more)  # type: ignore[arg-type]


STEP = [
    marked("bench step", 0, 100),
    marked("bench forward", 0, 50),
    marked("layer net", 0, 48),
    marked("layer conv", 10, 40),
    operator("aten::conv2d", 12, 38, sequence=7),
    operator("aten::mkldnn_convolution", 14, 36, sequence=7),
    marked("bench backward", 50, 100),
    operator(f"{BACKWARD_NODE}ConvolutionBackward0", 60, 90, sequence=7, forward_thread=1),
    operator("aten::copy_", 62, 70),
    operator("aten::convolution_backward", 70, 88),
]


def found(*more: Event, done: tuple[Work, ...] = ()) -> dict[Part, parts.PartCost]:
    events = sorted((*STEP, *more), key=lambda one: (one.start_ns, -one.end_ns))
    return parts.of_window(events, timeline(events, LAYERS), STEP[0], done)


def test_all_parts_together_are_the_step() -> None:
    assert sum(cost.host_ns for cost in found().values()) == 100


def test_the_innermost_operator_has_the_time_and_knows_the_outermost() -> None:
    cost = found()[Part("conv", "forward", "aten::mkldnn_convolution")]
    assert (cost.host_ns, cost.calls, cost.within) == (22, 1, "aten::conv2d")
    assert found()[Part("conv", "forward", "aten::conv2d")].host_ns == 4


def test_time_in_which_no_operator_runs_is_between_operators_of_its_layer() -> None:
    assert found()[Part("conv", "forward", BETWEEN)].host_ns == 4
    assert found()[Part("(network)", "forward", BETWEEN)].host_ns == 18


def test_operators_of_the_backward_belong_to_the_layer_of_the_forward() -> None:
    costs = found()
    assert costs[Part("conv", "backward", "aten::copy_")].host_ns == 8
    assert costs[Part("conv", "backward", "aten::convolution_backward")].within == (
        "aten::convolution_backward"
    )


def test_an_operator_that_calls_a_layer_does_not_get_the_time_of_that_layer() -> None:
    outer = operator("CheckpointFunction", 5, 45)
    costs = found(outer)
    assert costs[Part("conv", "forward", BETWEEN)].host_ns == 4
    assert sum(cost.host_ns for cost in costs.values()) == 100


def test_a_layers_own_range_is_an_event_that_costs_time() -> None:
    events = [*STEP]
    owners = timeline(events, LAYERS)
    costs = parts.of_window(events, owners, STEP[0], (), [(STEP[3], "conv")])
    assert costs[Part("conv", "forward", BETWEEN)].events == 1


def kernel(name: str, start: int, end: int, launched: int, operator_: str = "aten::conv2d") -> Work:
    event = Event(name=name, start_ns=start, end_ns=end, kind="device")
    return Work(event, launched, operator_)


def test_a_device_that_waits_for_a_launch_idles_for_the_layer_that_launches() -> None:
    done = (kernel("gemm", 20, 40, 15), kernel("relu", 55, 60, 45, "aten::relu"))
    costs = found(done=done)
    assert costs[Part("conv", "forward", IDLE)].device_ns == 20
    assert costs[Part("(network)", "forward", IDLE)].device_ns == 15
    assert costs[Part("conv", "forward", "aten::conv2d")].kernels == {"gemm": (1, 20)}
    assert sum(cost.device_ns for cost in costs.values()) == 60


def test_kernels_that_run_side_by_side_count_once() -> None:
    costs = found(done=(kernel("a", 20, 40, 15), kernel("b", 30, 50, 16)))
    assert costs[Part("conv", "forward", "aten::conv2d")].kernels == {"a": (1, 20), "b": (1, 10)}


def test_the_order_has_the_outermost_operators_alone() -> None:
    order = parts.in_order(STEP, timeline(STEP, LAYERS))
    assert order == {
        Owner("conv", "forward"): ["aten::conv2d"],
        Owner("conv", "backward"): ["aten::copy_", "aten::convolution_backward"],
    }
