"""`bench profile` on a backend outside torch that gives its kernels to torch's profiler.

Each kernel takes the time that the test sets, and so does each launch: what the tables, the
sentences and the trace should say is known before.
"""

import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.sim_device import build
from tests.support.sim_device.running import KERNEL_S, TIMES, bench, project, said, table
from tests.support.trace_format import Trace, read

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler"
    ),
]
CASE = ("--subject", "net.py:Net", "--input", "3,8,8", "--batch", "2", "--device", "sim:0")


@pytest.fixture(scope="module")
def blind() -> Path:
    """The folder of the installed backend, whatever torch's profiler can see of it."""
    return build.installed()


@pytest.fixture(scope="module")
def site(blind: Path) -> Path:
    """The folder of the installed backend, in a torch to whose profiler it can give its kernels."""
    if not build.has_profiler():
        pytest.skip("this torch has no place for the profiler of a backend outside it")
    return blind


def profiled(
    folder: Path, site: Path, *arguments: str, **settings: object
) -> tuple[Path, dict[str, Any], str]:
    """The folder of one case, its profile.json, and what was printed, in one line."""
    done = bench(folder, site, "profile", *arguments, "--out", "profile", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    (summary,) = folder.glob("profile/*/profile.json")
    return summary.parent, json.loads(summary.read_text()), " ".join(done.stdout.split())


def seconds(rows: Sequence[dict[str, str]], name: str, column: str) -> dict[str, float]:
    """The cells of a column that are not 0, by the first column of their rows."""
    return {row[name]: float(row[column]) for row in rows if float(row[column] or 0) > 0}


def test_torchs_own_profiler_has_each_kernel_with_its_time_and_its_operator(site: Path) -> None:
    code = """
    import torch
    from torch.profiler import ProfilerActivity, profile
    a = torch.ones(8, 8, device="sim:1")
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.PrivateUse1]) as prof:
        torch.relu(a @ a)
    events = prof.profiler.kineto_results.events()
    operators = {one.correlation_id(): one.name() for one in events if "::" in one.name()}
    for one in events:
        if one.activity_type() == "kernel":
            operator = operators[one.linked_correlation_id()]
            print(one.name(), one.device_index(), one.duration_ns(), operator)
    """
    found = said(site, code, SIM_KERNEL_US=700, SIM_KERNEL_NS_PER_KIB=0)
    assert found.splitlines() == ["sim_mm 1 700000 aten::mm", "sim_relu 1 700000 aten::relu"]


@pytest.fixture(scope="module")
def training(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, str]:
    """A training step of the net, whose launches hide behind its kernels."""
    folder = project(tmp_path_factory.mktemp("training"))
    return profiled(folder, site, *CASE, "--mode", "training", **TIMES)


def test_the_time_of_each_operator_on_the_device_is_that_of_its_kernels(training: Any) -> None:
    folder, _, _ = training
    kernels = table(folder / "kernels.csv")
    for row in kernels:
        assert float(row["device_s"]) == pytest.approx(int(row["calls"]) * KERNEL_S, rel=0.01)
    launched = Counter[str]()
    for row in kernels:
        launched[row["operator"]] += int(row["calls"])
    assert launched["aten::convolution_overrideable"] == 1
    assert launched["aten::convolution_backward_overrideable"] == 1
    found = seconds(table(folder / "operators.csv"), "operator", "self_device_s")
    assert found == pytest.approx({name: n * KERNEL_S for name, n in launched.items()}, rel=0.01)


def test_the_time_of_each_layer_on_the_device_is_that_of_its_kernels(training: Any) -> None:
    folder, _, _ = training
    rows = [row for row in table(folder / "layers.csv") if row["kind"] == "layer"]
    forward = seconds(rows, "type", "forward_device_s")
    kernels = {"Conv2d": 1, "BatchNorm2d": 2, "ReLU": 1, "MaxPool2d": 1, "Linear": 1}
    # Batch norm counts its batches as well; Flatten is a view.
    assert forward == pytest.approx({one: n * KERNEL_S for one, n in kernels.items()}, rel=0.01)
    backward = seconds(rows, "type", "backward_device_s")
    assert backward["Conv2d"] >= KERNEL_S * 0.99
    assert all(
        time_s / KERNEL_S == pytest.approx(round(time_s / KERNEL_S), rel=0.01)
        for time_s in backward.values()
    )


def test_all_layers_together_are_the_time_in_which_the_device_worked(training: Any) -> None:
    folder, summary, _ = training
    kernels = sum(int(row["calls"]) for row in table(folder / "kernels.csv"))
    layers = table(folder / "layers.csv")
    assert summary["device"]["busy_s"] == pytest.approx(kernels * KERNEL_S, rel=0.01)
    assert sum(float(row["device_s"]) for row in layers) == pytest.approx(
        summary["device"]["busy_s"], rel=1e-6
    )


def test_the_device_has_the_share_of_each_layer_and_no_note_on_what_is_unseen(
    training: Any,
) -> None:
    _, _, printed = training
    assert "21 % of the device's time in the step is in 5, 16 % in its backward" in printed
    assert "the slowest operators, device time per step" in printed
    assert "cannot be seen" not in printed


def test_the_trace_has_the_kernels_on_the_track_of_their_stream_and_by_layer(training: Any) -> None:
    folder, summary, _ = training
    trace = read(folder / "trace.json.gz")
    kernels = trace.track("sim:0", "stream 0")
    assert {round((one.end_ns - one.start_ns) / 1e9 / KERNEL_S, 2) for one in kernels} == {1.0}
    steps = sum(one.name.startswith("step") for one in trace.track("bench: phases", "phases"))
    counted = sum(int(row["calls"]) for row in table(folder / "kernels.csv"))
    assert len(kernels) == steps * counted
    own = trace.track("bench: phases", "layers on the device")
    self_s = sum(float(one.args["self_us"]) for one in own) / 1e6
    assert self_s == pytest.approx(steps * summary["device"]["busy_s"], rel=0.01)
    calls = [
        one for slices in trace.slices.values() for one in slices if one.name == "simLaunchKernel"
    ]
    assert len(calls) == len(kernels)
    ends = {end for (kind, _, _), (_, end) in trace.arrows.items() if kind == "ac2g"}
    assert {end_ns for *_, end_ns in ends} == {one.start_ns for one in kernels}


TURNS = """
from torch import nn

class Item(nn.Module):
    def forward(self, x):
        for _ in range(3):
            x = x.relu()
            x.flatten()[0].item()
        return x

class Copy(nn.Module):
    def forward(self, x):
        for _ in range(3):
            x = x.relu()
            x.cpu()
        return x

class Chain(nn.Module):
    def forward(self, x):
        for _ in range(6):
            x = x.relu()
        return x
"""


def of_turns(
    folder: Path, site: Path, subject: str, **settings: object
) -> tuple[dict[str, Any], Trace]:
    """What profile.json has of the device, and the trace.  Other work makes times longer only."""
    (folder / "turns.py").write_text(TURNS)
    case = ("--subject", f"turns.py:{subject}", "--input", "8", "--batch", "2")
    mode = ("--device", "sim:1", "--mode", "inference")
    files, summary, _ = profiled(folder, site, *case, *mode, SIM_KERNEL_NS_PER_KIB=0, **settings)
    copies = [row["kernel"] for row in table(files / "kernels.csv") if "host" in row["kernel"]]
    assert copies == (["Memcpy sim_to_host"] if subject == "Copy" else [])
    return summary["device"], read(files / "trace.json.gz")


@pytest.mark.alone
def test_a_device_that_always_has_work_is_what_bounds_the_step(site: Path, tmp_path: Path) -> None:
    found, _ = of_turns(tmp_path, site, "Chain", SIM_LAUNCH_US=500, SIM_KERNEL_US=15000)
    assert found["bound_by"] == "device"
    assert found["busy_s"] == pytest.approx(6 * 15e-3, rel=0.01)
    assert found["busy_s"] / found["done_s"] == pytest.approx(1.0, abs=0.05)
    assert found["host_s"] < 0.5 * found["done_s"]


@pytest.mark.alone
def test_launches_that_take_three_times_as_long_as_kernels_leave_the_device_idle_two_thirds(
    site: Path, tmp_path: Path
) -> None:
    found, trace = of_turns(tmp_path, site, "Chain", SIM_LAUNCH_US=9000, SIM_KERNEL_US=3000)
    assert found["bound_by"] == "launches"
    assert found["busy_s"] == pytest.approx(6 * 3e-3, rel=0.01)
    assert found["busy_s"] / found["done_s"] < 1 / 3 + 0.01
    assert found["waited_s"] == 0.0
    kernels = trace.track("sim:1", "stream 0")
    gaps = [after.start_ns - before.end_ns for before, after in itertools.pairwise(kernels)]
    assert min(gaps) == pytest.approx(6e6, rel=0.05)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("subject", "call"), [("Item", "simStreamSynchronize"), ("Copy", "simCopy")]
)
def test_a_host_that_waits_after_every_second_kernel_waits_a_third_of_the_step(
    site: Path, tmp_path: Path, subject: str, call: str
) -> None:
    """Launch, launch, wait: each takes 8 ms, and the device works in the last two."""
    found, trace = of_turns(tmp_path, site, subject, SIM_LAUNCH_US=8000, SIM_KERNEL_US=8000)
    assert found["bound_by"] == "waits"
    assert found["busy_s"] == pytest.approx(6 * 8e-3, rel=0.01)
    assert found["busy_s"] / found["done_s"] < 2 / 3 + 0.01
    assert found["waited_s"] > 3 * 8e-3 * 0.95
    waits = [one for own in trace.slices.values() for one in own if one.name == call]
    assert min(one.end_ns - one.start_ns for one in waits) == pytest.approx(8e6, rel=0.05)


@pytest.mark.alone
def test_a_difference_is_told_by_the_kernels_that_are_new(site: Path, tmp_path: Path) -> None:
    done = bench(
        project(tmp_path), site, "profile", "amp=off", "amp=float16", *CASE, "--mode", "inference",
        "--rounds", "3", "--out", "pair", **TIMES,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = table(tmp_path / "pair" / "difference.csv")
    new = [row for row in rows if row["operator"] == "aten::_to_copy" or "copy" in row["operator"]]
    assert new, rows
    # The input, two weights and two biases are each converted by a kernel.
    more_s = sum(float(row["b_s"]) - float(row["a_s"]) for row in new)
    assert more_s == pytest.approx(5 * KERNEL_S, rel=0.05)


def test_without_a_profiler_of_its_backend_the_device_has_event_times_and_the_host_operators(
    blind: Path, tmp_path: Path
) -> None:
    times = {**TIMES, "SIM_KERNEL_US": 12000}  # far above all that the host does for a kernel
    folder, summary, printed = profiled(
        project(tmp_path), blind, *CASE, "--mode", "training", SIM_FAULT="no_profiler", **times
    )
    said_once = (
        "note: kernels of sim:0 cannot be seen, as its backend gives torch's profiler none: "
        "layers and operators have host times, and "
    )
    assert printed.count(said_once) == 1
    assert "the slowest operators, host time per step" in printed
    assert not (folder / "kernels.csv").exists()
    assert {row["device_s"] for row in table(folder / "layers.csv")} == {""}
    operators = table(folder / "operators.csv")
    assert {row["self_device_s"] for row in operators} == {""}
    assert seconds(operators, "operator", "self_host_s")["aten::convolution_overrideable"] > 0
    device = summary["device"]
    assert (device["busy_s"], device["waited_s"]) == (None, None)
    assert device["bound_by"] == "device"
    assert device["done_s"] > 19 * 12e-3 * 0.99
    # Both until the device is done, which takes six times as long as the launches.
    assert 0.5 < summary["unprofiled_s"] / summary["profiled_s"] < 2


def test_without_events_either_there_are_host_times_alone(blind: Path, tmp_path: Path) -> None:
    faults = "no_profiler,no_events"
    _, summary, printed = profiled(
        project(tmp_path), blind, *CASE, "--mode", "inference", SIM_FAULT=faults, **TIMES
    )
    assert "layers and operators have host times, and the host's clock times the step" in printed
    device = summary["device"]
    assert device["event_s"] is None
    assert device["done_s"] > 5 * KERNEL_S * 0.99
