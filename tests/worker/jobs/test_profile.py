"""A case under the profiler: its time goes to the layers that took it, and adds up."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.protocol import Budget, Request
from bench.worker.jobs import profile
from bench.worker.jobs.prepare import build
from bench.worker.process import limits
from bench.worker.profiler.events import of_kineto
from bench.worker.profiler.operators import costs
from bench.worker.profiler.ranges import NETWORK, Ranges
from bench.worker.timing import stopwatch
from tests.support.cases import case
from tests.support.fake_device import FakeDevice, FakeStep
from tests.support.trace_format import Slice, Trace, read

Profiled = Callable[..., dict[str, Any]]


def asked(folder: Path, **changes: Any) -> Request:
    return Request(
        job="profile",
        case=case(**{"batch": 2, "threads": str(torch.get_num_threads()), **changes}),
        replicate=0,
        calls=None,
        budget=Budget(),
        cache=str(folder / "cache"),
        out=str(folder / "case.profile.json"),
        log=str(folder / "log"),
        timeout_s=60.0,
    )


@pytest.fixture
def profiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profiled:
    monkeypatch.setattr(limits, "allow_writing", lambda: None)  # it is for a child that ends

    def of(subject: str, mode: str = "training", input_: str = "4", **more: Any) -> dict[str, Any]:
        request = asked(tmp_path, subject=subject, mode=mode, input=input_, **more)
        profile.run(request)
        found = (profile.folder_of(request.out) / profile.FOUND).read_text()
        return dict(json.loads(found))

    return of


def test_a_step_under_the_profiler_and_without_it_are_both_timed_until_the_device_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eleven times as long as the host needs to issue it."""

    class Accelerator(FakeDevice):
        type, name = "other", "other:0"

    device = Accelerator(launch_s=1e-3)
    step = FakeStep(device, {"forward": 10e-3})
    monkeypatch.setattr(stopwatch, "wall_clock", device.clock)
    built: Any = SimpleNamespace(step=step, device=device)
    assert profile.without_profiler(built)["whole_s"] == pytest.approx(11e-3)
    _, _, profiled_s = profile.traced(built, Ranges(None))
    assert profiled_s == pytest.approx(11e-3)


@pytest.mark.parametrize("has_events", [True, False])
def test_steps_back_to_back_are_timed_as_issued_and_as_done_and_between_events_if_any_are_used(
    monkeypatch: pytest.MonkeyPatch, has_events: bool
) -> None:
    """The device has as much to do as before, and the host hands it over in a millisecond."""
    device = FakeDevice(launch_s=1e-3, has_events=has_events)
    step = FakeStep(device, {"forward": 10e-3})
    monkeypatch.setattr(stopwatch, "wall_clock", device.clock)
    built: Any = SimpleNamespace(step=step, device=device)
    found = profile.without_profiler(built)
    assert found["host_s"] == pytest.approx(1e-3)
    assert found["done_s"] == pytest.approx((1e-3 + 10 * 10e-3) / 10)
    assert ("event_s" in found) == has_events


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["layer"]: row for row in found["layers"]}


def shares(found: dict[str, Any], key: str) -> dict[str, float]:
    all_ = sum(row[key] for row in found["layers"])
    return {row["layer"]: row[key] / all_ for row in found["layers"]}


def test_forward_and_backward_go_to_the_layers_that_took_them(profiled: Profiled) -> None:
    found = profiled("tests.subjects.profiled:Planted")
    assert shares(found, "forward_host_s")["slow"] > 0.7
    assert shares(found, "backward_host_s")["dear"] > 0.7
    assert shares(found, "forward_host_s")["dear"] < 0.2
    assert shares(found, "backward_host_s")["slow"] < 0.2


def test_a_layer_that_is_never_called_has_no_row_and_one_called_twice_has_two(
    profiled: Profiled,
) -> None:
    assert [row["layer"] for row in profiled("tests.subjects.profiled:Planted")["layers"]] == [
        NETWORK,
        "first",
        "slow",
        "between",
        "dear",
        "between#2",
        "last",
        "(outside the network)",
        "(autograd)",
        "(optimizer)",
    ]


def test_all_calls_of_a_module_name_it(profiled: Profiled) -> None:
    found = rows(profiled("tests.subjects.profiled:Planted", "inference"))
    assert found["between"]["module"] == found["between#2"]["module"] == "between"
    assert found[NETWORK]["module"] == NETWORK


def test_what_the_network_does_itself_is_no_layers_time(profiled: Profiled) -> None:
    found = profiled("tests.subjects.profiled:OwnCode", "inference")
    assert shares(found, "host_s")[NETWORK] > 0.7
    assert rows(found)[NETWORK]["kind"] == "module"
    assert rows(found)["fc"]["kind"] == "layer"


def test_the_loss_is_outside_the_network(profiled: Profiled) -> None:
    found = profiled("tests.subjects.profiled:HeavyLoss")
    assert shares(found, "host_s")["(outside the network)"] > 0.7


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_layers_and_residual_of_the_convnet_are_the_whole(profiled: Profiled, mode: str) -> None:
    found = profiled("convnet", mode, "3,224,224", batch=8)
    whole_s = found["host"]["whole_s"]
    assert sum(row["host_s"] for row in found["layers"]) == pytest.approx(whole_s, rel=1e-9)
    own_s = sum(row["self_host_s"] for row in found["operators"])
    assert 0.5 * whole_s < own_s <= whole_s
    layers = {row["layer"] for row in found["layers"] if row["kind"] == "layer"}
    assert layers == {
        *("conv1", "bn1", "relu1", "pool1", "conv2", "bn2", "relu2", "pool2", "flatten", "fc")
    }
    for row in found["layers"]:
        phases_s = sum(row[f"{phase}_host_s"] for phase in profile.PHASES)
        assert row["host_s"] == pytest.approx(phases_s)
        if row["kind"] == "layer" and mode == "training":
            assert row["backward_host_s"] > 0, row["layer"]


def test_a_layer_that_is_computed_again_shows_it_in_the_backward(profiled: Profiled) -> None:
    found = rows(profiled("tests.subjects.profiled:Checkpointed"))
    assert found["fc"]["forward_host_s"] > 0
    assert found["fc#2"]["forward_host_s"] == 0
    assert found["fc#2"]["backward_host_s"] > 0


def test_a_layer_that_raises_inside_the_network_is_closed(profiled: Profiled) -> None:
    found = rows(profiled("tests.subjects.profiled:CatchesErrors"))
    assert found["wrong"]["kind"] == found["right"]["kind"] == "layer"
    assert found["right"]["backward_host_s"] > 0


def test_the_fused_path_of_a_transformer_layer_is_profiled_as_it_is_timed(
    profiled: Profiled,
) -> None:
    found = profiled("tests.subjects.models:Text", "inference", "own")
    assert rows(found)["encoder"]["kind"] == "layer"
    names = {row["operator"] for row in found["operators"]}
    assert "aten::_transformer_encoder_layer_fwd" in names
    assert sum(found["flops"].values()) > 0  # of the other layers
    said = "FLOPs of aten::_transformer_encoder_layer_fwd are not known, as these hide their work"
    assert said in found["notes"]
    assert found["counted"]["flops"] is None  # a part of them is not the number of the step


def test_a_step_without_products_has_zero_flops(profiled: Profiled) -> None:
    assert profiled("torch.nn:ReLU", "inference")["counted"]["flops"] == 0


@pytest.mark.parametrize(
    ("subject", "input_", "layers"),
    [
        ("tests.subjects.networks:ResNet", "3,32,32", {"layer1.0.relu", "layer1.0.relu#2"}),
        ("tests.subjects.networks:Transformer", "own", {"blocks.0.attention", "blocks.1.mlp.1"}),
        ("tests.subjects.networks:LanguageModel", "own", {"lstm", "lstm#2", "head"}),
    ],
)
def test_real_networks_add_up(
    profiled: Profiled, subject: str, input_: str, layers: set[str]
) -> None:
    found = profiled(subject, "training", input_)
    assert layers <= set(rows(found))
    total_s = sum(row["host_s"] for row in found["layers"])
    assert total_s == pytest.approx(found["host"]["whole_s"], rel=1e-9)
    memory = found["memory"]
    for place in range(len(memory["times_s"])):
        assert sum(values[place] for values in memory["bytes"].values()) <= memory["peak_bytes"]


def trace_of(folder: Path) -> Trace:
    return read(folder / "case.profile.files" / profile.TRACE)


def own_ns(found: Sequence[Slice]) -> Iterator[tuple[Slice, int]]:
    for number, one in enumerate(found):
        inside = [its for its in found if its.around and its.around[-1] == number]
        yield one, one.end_ns - one.start_ns - sum(its.end_ns - its.start_ns for its in inside)


def test_the_trace_is_valid_whatever_the_layers_are_called(
    profiled: Profiled, tmp_path: Path
) -> None:
    found = profiled("tests.subjects.profiled:HostileNames")
    assert len([row for row in found["layers"] if row["kind"] == "layer"]) == 5
    trace = trace_of(tmp_path)
    names = {one.name for its in trace.slices.values() for one in its}
    assert {"bench step", "bench backward", "layer a??b", "layer a??b'"} <= names
    assert {'a"\\b', "backward of <b>\x1b[31m", "line\nbreak"} <= names  # on their own tracks
    assert not any("trace" in note for note in found["notes"])


def test_a_range_of_the_subject_that_breaks_the_json_is_in_the_trace_with_its_name(
    profiled: Profiled, tmp_path: Path
) -> None:
    found = profiled("tests.subjects.profiled:OddRange")
    names = [one.name for its in trace_of(tmp_path).slices.values() for one in its]
    assert names.count('say "hi", {"ph": "X"}') == 7  # six steps, and the one with memory events
    assert not any("trace" in note for note in found["notes"])


def test_a_layer_in_a_thread_of_the_network_is_named_as_unseen(
    profiled: Profiled, tmp_path: Path
) -> None:
    found = profiled("tests.subjects.profiled:OwnThread")
    (said,) = [note for note in found["notes"] if "thread" in note]
    assert said.startswith("there ran in a thread that torch's profiler does not see")
    assert rows(found)[NETWORK]["kind"] == "module"
    assert trace_of(tmp_path).track("bench: phases and layers", "layers")


def test_the_layers_of_the_trace_are_those_of_the_table(profiled: Profiled, tmp_path: Path) -> None:
    found = profiled("convnet", "training", "3,224,224", batch=2)
    trace = trace_of(tmp_path)
    counted = [
        one
        for one in trace.track("bench: phases and layers", "phases")
        if one.name.endswith("(in the tables)")
    ]
    assert len(counted) == found["steps"] == profile.MIDDLE_STEPS
    total = dict.fromkeys((name, phase) for name in rows(found) for phase in profile.PHASES)
    times_ns = dict.fromkeys(total, 0)
    for one, ns in own_ns(trace.track("bench: phases and layers", "layers")):
        if any(step.start_ns <= one.start_ns < step.end_ns for step in counted):
            times_ns[one.args["layer"], one.args["phase"]] += ns
    for (name, phase), ns in times_ns.items():
        expected_s = rows(found)[name][f"{phase}_host_s"]
        assert ns / 1e9 / len(counted) == pytest.approx(expected_s, abs=1e-12), (name, phase)


def test_the_mark_of_a_layer_encloses_its_operators_on_torchs_own_track(
    profiled: Profiled, tmp_path: Path
) -> None:
    profiled("convnet", "training", "3,224,224", batch=2)
    trace = trace_of(tmp_path)
    layers = trace.track("bench: phases and layers", "layers")
    for layer, operator, calls in (
        ("conv1", "aten::conv2d", 6),
        ("bn2", "aten::batch_norm", 6),
        ("backward of pool1", "aten::max_pool2d_with_indices_backward", 6),
        ("(optimizer)", "Optimizer.step#SGD.step", 6),
    ):
        marks = [one for one in layers if one.name == layer]
        operators = [
            one
            for (pid, _), its in trace.slices.items()
            if pid == os.getpid()
            for one in its
            if one.name == operator
        ]
        enclosed = [
            one
            for one in operators
            if any(m.start_ns <= one.start_ns and one.end_ns <= m.end_ns for m in marks)
        ]
        assert len(enclosed) == calls, layer


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_planted_allocation_is_in_the_memory_counter_of_the_trace(
    profiled: Profiled, tmp_path: Path, mode: str
) -> None:
    """The layer holds 3 000 000 numbers of four bytes while it works, and no longer."""
    found = profiled("tests.subjects.profiled:Allocates", mode)
    trace = trace_of(tmp_path)
    process = "bench: memory of cpu"
    (mark,) = [
        one
        for one in trace.track(process, "layers")
        if one.name == "large" and one.args["phase"] == "forward"
    ]
    used = [(at, its["bytes"]) for at, its in trace.counter("memory in use")]
    inside = [size for at, size in used if mark.start_ns <= at < mark.end_ns]
    outside = [size for at, size in used if not mark.start_ns <= at < mark.end_ns]
    assert max(inside) - max(outside) == pytest.approx(12_000_000, rel=0.01)
    by = trace.counter("memory by category")
    assert max(its["temporary"] for _, its in by) == pytest.approx(12_000_000, rel=0.01)
    assert max(size for _, size in used) == found["memory"]["peak_bytes"]
    (step,) = [one for one in trace.track(process, "phases") if one.name == "step 0"]
    assert step.start_ns <= mark.start_ns < mark.end_ns <= step.end_ns


def test_operators_are_those_of_torchs_own_table() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    x = torch.randn(2, 3, 8, 8)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as prof:
        module(x).sum().backward()
    assert prof.profiler is not None
    events = of_kineto(prof.profiler.kineto_results, None)
    found = costs(events, [])
    table = {row.key: row for row in prof.key_averages()}
    assert found.keys() == table.keys()
    for name, cost in found.items():
        assert cost.calls >= table[name].count  # torch leaves out an operator inside itself
        assert cost.self_host_ns / 1e3 == pytest.approx(table[name].self_cpu_time_total, abs=0.01)


def test_the_call_of_modules_is_put_back_even_after_an_error() -> None:
    before = nn.Module.__call__
    with pytest.raises(ZeroDivisionError), Ranges(nn.Linear(1, 1)).on():
        raise ZeroDivisionError
    assert nn.Module.__call__ is before


def test_a_wrong_state_is_found_before_anything_is_profiled(tmp_path: Path) -> None:
    request = asked(
        tmp_path, subject="tests.subjects.hostile:GoesToEval", mode="training", input="4"
    )
    with pytest.raises(Exception, match=r"training"):
        profile.run(request)
    assert build(request).case.mode == "training"


@pytest.mark.slow
def test_compiled_code_is_one_row_a_graph_and_says_so(profiled: Profiled) -> None:
    found = profiled("tests.subjects.networks:ResNet", "training", "3,32,32", compile="default")
    (graph,) = [row for row in found["layers"] if row["kind"] == "graph"]
    # torch numbers the graphs of a process, and other tests of it may have compiled some
    assert re.fullmatch(r"\(compiled graph \d+/0\)", graph["layer"])
    assert graph["host_s"] > 0.3 * found["host"]["whole_s"]
    assert graph["backward_host_s"] > 0.2 * graph["host_s"]
    assert any("inside a graph there are no layers" in note for note in found["notes"])


@pytest.mark.slow
def test_compiled_code_names_the_operators_that_were_fused_into_a_kernel(
    profiled: Profiled,
) -> None:
    found = profiled("tests.subjects.profiled:Fusible", "training", "3,8,8", compile="default")
    forward = [row for row in found["fused"] if row["phase"] == "forward"]
    (convolution,) = [row for row in forward if "aten::convolution" in row["operators"]]
    assert convolution["layers"] == ["block.0"]
    (norm,) = [row for row in forward if "aten::relu" in row["operators"]]
    assert norm["kind"] == "fused"
    assert any("batch_norm" in name for name in norm["operators"])
    assert {"block.1", "block.2"} <= set(norm["layers"])
    assert norm["calls"] >= 1
    assert 0 < norm["time_s"] < found["host"]["whole_s"]
    backward = [row for row in found["fused"] if row["phase"] == "backward"]
    assert any("aten::threshold_backward" in row["operators"] for row in backward)


def test_eager_code_has_no_fused_kernels(profiled: Profiled) -> None:
    assert profiled("tests.subjects.profiled:Planted", "inference")["fused"] == []
