"""The operators that a kernel of compiled code computes, from made-up graphs."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.worker.profiler.device import Work
from bench.worker.profiler.events import Event
from bench.worker.profiler.fused import Recorder, dotted

ATEN = torch.ops.aten


def node(original: Any, module: str, sequence: int, *, backward: bool = False) -> Any:
    key = "fwd_nn_module_stack" if backward else "nn_module_stack"
    stack = {"": ("L['self']", "Net"), "m": (f"L['self'].{module}", "Module")}
    meta = {"original_aten": original, key: stack, "seq_nr": sequence}
    return SimpleNamespace(op="call_function", name="n", meta=meta)


def ranged(name: str, start: int, end: int, kind: str = "user_annotation") -> Event:
    return Event(name=name, start_ns=start, end_ns=end, kind=kind)


def recorded() -> Recorder:
    made = Recorder()
    norm = [node(ATEN.native_batch_norm.default, "layer1[1]", 1) for _ in range(3)]
    made.saw("cpp_fused_0", [*norm, node(ATEN.relu.default, "layer1[2]", 2)], False, False)
    made.saw("cpp_fused_0", [node(ATEN.mul.Tensor, "fc", 3, backward=True)], True, False)
    made.saw("extern_kernels.mm", [node(ATEN.mm.default, "fc", 3)], False, True)
    made.saw("extern_kernels.mm", [node(ATEN.mm.default, "head", 4)], False, True)
    return made


STEP = ranged("bench step", 0, 1000)
EVENTS = [
    STEP,
    ranged("bench forward", 0, 400),
    ranged("graph_0_cpp_fused_0", 100, 150, "cpu_op"),
    ranged("graph_0_cpp_fused_0", 200, 230, "cpu_op"),
    ranged("bench backward", 400, 900),
    ranged("graph_1_cpp_fused_0", 500, 600, "cpu_op"),
]


def test_an_operator_that_became_several_nodes_is_one_and_phases_are_apart() -> None:
    found = recorded().rows([STEP], EVENTS, [[]])
    assert found == [
        {
            "kernel": "cpp_fused_0",
            "phase": "backward",
            "kind": "single",
            "calls": 1,
            "time_s": pytest.approx(100e-9),
            "operators": ["aten::mul"],
            "layers": ["fc"],
        },
        {
            "kernel": "cpp_fused_0",
            "phase": "forward",
            "kind": "fused",
            "calls": 2,
            "time_s": pytest.approx(80e-9),
            "operators": ["aten::native_batch_norm", "aten::relu"],
            "layers": ["layer1.1", "layer1.2"],
        },
        {
            "kernel": "extern_kernels.mm",
            "phase": "forward",
            "kind": "library",
            "calls": 2,
            "time_s": None,
            "operators": ["aten::mm", "aten::mm"],
            "layers": ["fc", "head"],
        },
    ]


def test_a_kernel_of_triton_has_the_time_of_the_device_in_the_phase_of_its_launch() -> None:
    made = Recorder(shown=lambda name: f"net.{name}")
    relu = node(ATEN.relu.default, "act", 1, backward=True)
    made.saw("triton_poi_fused_relu_0", [relu, node(ATEN.add.Tensor, "act", 2)], True, False)
    kernel = Event(name="triton_poi_fused_relu_0", start_ns=2000, end_ns=2050, kind="device")
    (row,) = made.rows([STEP], EVENTS, [[Work(kernel, 450, None)]])
    assert (row["phase"], row["calls"], row["time_s"]) == ("backward", 1, pytest.approx(50e-9))
    assert (row["kind"], row["layers"]) == ("fused", ["net.act"])


def test_a_kernel_of_triton_counts_once_beside_its_launch_and_its_event_in_the_trace() -> None:
    made = Recorder()
    made.saw("triton_poi_fused_relu_0", [node(ATEN.relu.default, "act", 1)], False, False)
    launch = ranged("triton_poi_fused_relu_0", 100, 180, "cpu_op")
    kernel = Event(name="triton_poi_fused_relu_0", start_ns=150, end_ns=170, kind="device")
    (row,) = made.rows([STEP], [*EVENTS, launch, kernel], [[Work(kernel, 120, None)]])
    assert (row["calls"], row["time_s"]) == (1, pytest.approx(20e-9))


def test_nodes_without_an_operator_of_eager_code_are_left_out() -> None:
    made = Recorder()
    bare = SimpleNamespace(op="call_function", name="n", meta={})
    put_in = SimpleNamespace(op="placeholder", name="x", meta={"original_aten": ATEN.mm.default})
    made.saw("cpp_fused_0", [bare, put_in], False, False)
    assert made.rows([STEP], EVENTS, [[]]) == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("L['self']", ""),
        ("L['self'].layer1[0]", "layer1.0"),
        ("L['self'].layer1.0", "layer1.0"),
        ("L['self']._modules['layer1']._modules['0']", "layer1.0"),
        ("L['fn']._orig_mod.fc", "fc"),
        ("self.blocks[3].mlp", "blocks.3.mlp"),
    ],
)
def test_a_module_has_the_name_that_torch_gives_it(path: str, name: str) -> None:
    assert dotted(path) == name
