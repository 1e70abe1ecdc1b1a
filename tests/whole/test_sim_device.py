"""The whole suite on an accelerator of no maker that it knows: a backend of torch in C++.

`tests/support/sim_device` is what a maker of hardware writes for torch.  Its times are set, so
what comes back from a run is known before.  Each test starts processes of its own: torch can have
one such backend, and it cannot be unloaded.
"""

import csv
import json
import os
import shutil
import textwrap
from pathlib import Path

import pytest

from tests.support.sim_device import build
from tests.support.sim_device.running import (
    KERNEL_S,
    LAUNCH_S,
    SUBJECT,
    TIMES,
    bench,
    project,
    said,
    table,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler"
    ),
]

SWEEP = """
[run]
replicates = 2
max_replicates = 2
samples_s = 0.05
warmup_s = 0.05

[[sweep]]
subject = "net.py:Net"
input = "3,8,8"
batch = 2
device = ["cpu", "sim:0"]
mode = ["inference", "training"]
allocator = "retained"

[[sweep]]
subject = "net.py:Net"
input = "3,8,8"
batch = 2
device = "sim:1"
mode = "training"
amp = "float16"
"""


@pytest.fixture(scope="module")
def site() -> Path:
    """The folder of the installed backend, for PYTHONPATH."""
    return build.installed()


@pytest.fixture(scope="module")
def run(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both modes on the CPU and on the device, and half precision on the other device."""
    folder = project(tmp_path_factory.mktemp("project"), SWEEP)
    done = bench(folder, site, "run", "--out", "run", **TIMES)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def row(run: Path, device: str, mode: str, phase: str) -> dict[str, str]:
    (found,) = [
        one
        for one in table(run / "measurements.csv")
        if (one["device"], one["mode"], one["phase"]) == (device, mode, phase)
    ]
    return found


TRAIN = """
import torch
from torch import nn

def net(device):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    ).to(device)

def train(device, amp=None):
    model = net(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    torch.manual_seed(1)
    x, y = torch.randn(4, 3, 16, 16).to(device), torch.arange(4).to(device)
    scaler = torch.amp.GradScaler(device, 256.0, enabled=amp is not None)
    for _ in range(5):
        optimizer.zero_grad()
        with torch.autocast(device, amp, enabled=amp is not None):
            output = model(x)
            loss = nn.functional.cross_entropy(output, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    return output, [p.detach().cpu() for p in model.parameters()]
"""


def test_a_training_step_on_the_device_has_the_values_of_the_cpu(site: Path) -> None:
    code = """
    (_, here), (output, there) = train("cpu"), train("sim")
    assert output.device == torch.device("sim:0")
    assert torch.sim.is_initialized()
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b)
    print("same")
    """
    assert said(site, TRAIN + textwrap.dedent(code)) == "same\n"


def test_a_callable_without_inputs_is_waited_for_on_the_device_that_it_uses(site: Path) -> None:
    """It holds a tensor there, or makes one and puts out nothing."""
    code = """
    import bench
    import torch

    one = torch.ones(2, 2, device="sim:1")

    def holds():
        return one + one

    def makes():
        torch.ones(2, 2, device="sim:1").add_(1)

    for function in (holds, makes):
        found = bench.measure(function, samples_s=0.02, warmup_s=0.0)
        print(found.device, found.latency.median > 0.0024, found.first_call_s > 0.0024)
    found = bench.compare({"makes": makes, "holds": holds}, samples_s=0.02, warmup_s=0.0)
    print(found.device, all(time_s.median > 0.0024 for time_s in found.times.values()))
    """
    expected = "sim:1 True True\nsim:1 True True\nsim:1 True\n"
    assert said(site, code, **TIMES) == expected


def test_autocast_and_the_gradient_scaler_work_in_half_precision(site: Path) -> None:
    code = """
    (_, here) = train("cpu", amp=torch.float16)
    (output, there) = train("sim", amp=torch.float16)
    assert output.dtype == torch.float16
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-2)  # float16: 3 digits
    print("close")
    """
    assert said(site, TRAIN + textwrap.dedent(code)) == "close\n"


def test_recurrent_layers_have_the_gradients_of_the_cpu(site: Path) -> None:
    code = """
    import torch
    from torch import nn
    x = torch.randn(2, 3, 4)
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        for bias in (True, False):
            here = kind(4, 5, batch_first=True, bias=bias)
            there = kind(4, 5, batch_first=True, bias=bias).to("sim")
            there.load_state_dict(here.state_dict())
            here(x)[0].square().sum().backward()
            there(x.to("sim"))[0].square().sum().backward()
            for a, b in zip(here.parameters(), there.parameters(), strict=True):
                torch.testing.assert_close(a.grad, b.grad.cpu())
            print(kind.__name__, bias)
    """
    assert said(site, code).split("\n")[:-1] == [
        f"{kind} {bias}" for kind in ("LSTM", "GRU", "RNN") for bias in (True, False)
    ]


def test_events_tell_the_time_of_the_device_and_a_wait_waits(site: Path) -> None:
    code = """
    import time, torch
    from sim_device import kernels
    device = torch.device("sim:1")
    a, out = torch.ones(8, 8, device=device), torch.empty(8, 8, device=device)
    torch.mm(a, a, out=out)
    stream = torch.accelerator.current_stream(1)
    first, last = (torch.Event(device, enable_timing=True) for _ in range(2))
    torch.accelerator.synchronize(1)
    before = kernels()
    torch.mm(a, a, out=out)  # the events' times begin behind it
    first.record(stream)
    for _ in range(10):
        torch.mm(a, a, out=out)
    last.record(stream)
    assert not last.query()
    start = time.perf_counter()
    torch.accelerator.synchronize(1)
    waited = time.perf_counter() - start
    assert last.query()
    print(kernels() - before, round(first.elapsed_time(last), 6), waited > 0.02)
    """
    # Ten kernels of 20 ms while the host launches in 1 ms; the device is busy all the time.
    found = said(site, code, SIM_LAUNCH_US=1000, SIM_KERNEL_US=20000, SIM_KERNEL_NS_PER_KIB=0)
    assert found == "11 200.0 True\n"


def test_a_stream_waits_for_an_event_of_another(site: Path) -> None:
    code = """
    import torch
    device = torch.device("sim:0")
    a = torch.ones(8, 8, device=device)
    one, other = torch.Stream(device), torch.Stream(device)
    done, last = (torch.Event(device, enable_timing=True) for _ in range(2))
    torch.accelerator.synchronize()
    with one:
        a @ a
        done.record(one)
    other.wait_event(done)
    with other:
        a @ a
        last.record(other)
    torch.accelerator.synchronize()
    print(round(done.elapsed_time(last), 6))
    """
    assert said(site, code, SIM_KERNEL_US=50000, SIM_KERNEL_NS_PER_KIB=0) == "50.0\n"


def test_the_allocator_counts_caches_and_ends(site: Path) -> None:
    code = """
    import torch
    from torch import accelerator as on
    device = torch.device("sim:0")
    held = torch.empty(2**20, dtype=torch.uint8, device=device)
    on.reset_peak_memory_stats()
    more = torch.empty(2**21, dtype=torch.uint8, device=device)
    del more
    stats = on.memory_stats()
    print(stats["allocated_bytes.all.peak"], stats["allocated_bytes.all.current"])
    print(stats["reserved_bytes.all.current"])
    on.empty_cache()
    print(on.memory_stats()["reserved_bytes.all.current"])
    try:
        torch.empty(2**23, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError as error:
        print(str(error).split(".")[0])
    print(torch.ones(3).pin_memory().is_pinned(), torch.ones(3).is_pinned())
    """
    assert said(site, code, SIM_MEMORY_BYTES=2**23).split("\n")[:-1] == [
        f"{3 * 2**20} {2**20}",
        f"{3 * 2**20}",
        f"{2**20}",
        "sim out of memory",
        "True False",
    ]


def test_a_process_forked_after_the_first_use_cannot_use_it(site: Path) -> None:
    code = """
    import os, torch
    assert torch.accelerator.device_count() == 2
    for used in (False, True):
        if used:
            torch.ones(1, device="sim")
        if not os.fork():
            try:
                torch.ones(1, device="sim")
                print(torch.sim._is_in_bad_fork(), "works", flush=True)
            except RuntimeError as error:
                print(torch.sim._is_in_bad_fork(), str(error)[:26], flush=True)
            os._exit(0)
        os.wait()
    """
    assert said(site, code) == "False works\nTrue Cannot re-initialize sim i\n"


def test_every_case_of_a_sweep_on_the_device_has_its_row(run: Path) -> None:
    rows = table(run / "measurements.csv")
    assert {one["status"] for one in rows} == {"ok"}
    cases = {(one["device"], one["mode"], one["amp"]) for one in rows}
    assert cases == {
        ("cpu", "inference", "off"),
        ("cpu", "training", "off"),
        ("sim:0", "inference", "off"),
        ("sim:0", "training", "off"),
        ("sim:1", "training", "float16"),
    }


def test_counted_figures_are_those_of_the_cpu(run: Path) -> None:
    for mode, phase in (("inference", "forward"), ("training", "step")):
        here, there = (row(run, device, mode, phase) for device in ("cpu", "sim:0"))
        for name in ("flops", "bytes_moved", "parameters"):
            assert there[name] == here[name], name
        assert float(there["relative_error"]) < 1e-5
        assert int(there["peak_bytes"]) > 0


def test_half_precision_on_the_device_has_an_error_of_its_own_size(run: Path) -> None:
    error = float(row(run, "sim:1", "training", "step")["relative_error"])
    assert 1e-5 < error < 1e-1


@pytest.mark.alone
def test_latency_has_one_launch_more_than_calls_back_to_back(run: Path) -> None:
    found = row(run, "sim:0", "inference", "forward")
    # Convolution, batch norm, ReLU, pooling (index and value are one), linear.  A call alone waits
    # for its first launch; behind others it is hidden.  Other work only makes a time longer.
    alone_s, behind_s = LAUNCH_S + 5 * KERNEL_S, 5 * KERNEL_S
    assert alone_s <= float(found["latency_min_s"]) < 1.1 * alone_s
    assert behind_s <= float(found["pipelined_s"])


def test_out_of_memory_in_the_middle_of_a_sweep_is_a_row(site: Path, tmp_path: Path) -> None:
    sweep = (
        SWEEP.partition("[[sweep]]")[0]
        + """
[[sweep]]
subject = "net.py:Net"
input = "3,8,8"
batch = [2, 100000, 4]
device = "sim:0"
mode = "training"
"""
    )
    folder = project(tmp_path, sweep)
    done = bench(folder, site, "run", "--out", "run", SIM_MEMORY_BYTES=2**26)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(one) for one in (folder / "run/journal.jsonl").read_text().splitlines()]
    outcomes = [
        (one["case"]["batch"], one.get("status", "ok"))
        for one in lines
        if one["kind"] in ("measurement", "failure")
    ]
    assert set(outcomes) == {(2, "ok"), (4, "ok"), (100000, "oom")}
    ended = [at for at, one in enumerate(outcomes) if one == (100000, "oom")]
    assert any(status == "ok" for _, status in outcomes[ended[0] + 1 :])


def test_devices_are_measured_at_the_same_time_if_that_is_asked_for(
    site: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(SUBJECT)
    chosen = ["--device", "sim:0", "--device", "sim:1", "--input", "3,8,8", "--batch", "2"]
    run = [
        "--mode",
        "inference",
        "--amp",
        "off",
        "--memory-format",
        "contiguous",
        "--compile",
        "off",
    ]
    found = bench(
        tmp_path, site, "run", "net.py:Net", *chosen, *run, "--replicates", "2", "--quick",
        "--parallel-devices", "--out", "r", **TIMES,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    rows = list(csv.DictReader((tmp_path / "r" / "measurements.csv").open()))
    wholes = [one for one in rows if one["phase"] == "forward"]
    assert {one["device"] for one in wholes} == {"sim:0", "sim:1"}
    assert all("parallel" in one["flags"] for one in wholes)
    assert all(one["status"] == "ok" for one in wholes)


def test_speedups_by_device_hold_the_device_against_the_cpu(run: Path, site: Path) -> None:
    done = bench(run.parent, site, "compare", "run", "--by", "device")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sim:0" in done.stdout
    assert "inference" in done.stdout
    assert "training" in done.stdout


def test_the_page_of_a_run_names_the_devices(run: Path, site: Path) -> None:
    done = bench(run.parent, site, "report", "run", "--out", "page")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (run.parent / "page" / "report.html").read_text(encoding="utf-8")
    assert "sim:0" in page
    assert "sim:1" in page


@pytest.mark.alone
def test_a_pair_on_the_device_sees_the_kernels_of_autocast(site: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(SUBJECT)
    case = ("--subject", "net.py:Net", "--input", "3,8,8", "--batch", "2", "--device", "sim:0")
    # As many pairs as fit: the test asks for the times of both sides, not for a verdict.
    asked = (
        "ab",
        "amp=off",
        "amp=float16",
        *case,
        "--mode",
        "inference",
        "--budget",
        "30",
        "--out",
        "ab",
    )
    done = bench(tmp_path, site, *asked, **TIMES)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    # The input, two weights and two biases are each converted by a kernel: five more than five.
    (found,) = (
        one
        for one in table(tmp_path / "ab" / "ab.csv")
        if (one["phase"], one["figure"]) == ("forward", "time_s")
    )
    plain_s, amp_s = LAUNCH_S + 5 * KERNEL_S, LAUNCH_S + 10 * KERNEL_S
    assert float(found["ratio"]) == pytest.approx(amp_s / plain_s, rel=0.1)


STEP = """
import json, statistics, torch
from torch import nn
from bench.core.protocol import Budget
from bench.worker.device import device
from bench.worker.model.loss import FixedGradient
from bench.worker.model.step import TrainingStep
from bench.worker.timing import call_timing

on = device.open_device("sim:1")
assert on.has_events, on.events_doubt
model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).to(on.name).train()
x = torch.zeros(2, 4, device=on.name)
step = TrainingStep(model, (x,), {}, loss=FixedGradient(scaled=False), device_type="sim")
call_timing.first_call(step, on)
found = call_timing.measure(step, on, Budget(warmup_s=0.1, samples_s=0.5))
print(json.dumps({f"{one.phase} {one.kind}": min(one.times_s) for one in found.samples}))
"""


@pytest.mark.alone
def test_the_phases_between_events_add_up_to_the_step(site: Path) -> None:
    found = json.loads(said(site, STEP, **TIMES))
    phases = sum(found[f"{one} device"] for one in ("forward", "backward", "optimizer"))
    assert phases == pytest.approx(found["step device"], rel=0.05)
    assert found["step device"] == pytest.approx(found["step latency"], rel=0.05)
    # Two products, an activation: the first launch is on the device's time as well.
    assert found["forward device"] == pytest.approx(LAUNCH_S + 3 * KERNEL_S, rel=0.1)


FAULTS = """
from bench.selftest import devices
for name, figures in sorted(devices.look().items()):
    print(name, *(one.verdict for one in devices.accelerator(figures)))
"""
KNOWN = {"SIM_LAUNCH_US": 100, "SIM_KERNEL_US": 30000}


@pytest.mark.alone
def test_the_system_check_finds_the_devices_right(site: Path) -> None:
    lines = said(site, FAULTS, **KNOWN).split("\n")
    for name, line in zip(("sim:0", "sim:1"), lines, strict=False):
        found = line.split()
        assert found[0] == name
        assert found[1::2] == ["ok", "ok"]  # launches, memory
        assert found[2] in ("ok", "skipped")  # events: used where they are proven
        assert found[4] == "skipped"  # no driver tells of other processes


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fault", "launch", "memory"),
    [
        ("no_wait", "FAILED", "ok"),
        ("no_synchronize", "FAILED", "FAILED"),  # it cannot be opened
        ("no_counters", "ok", "skipped"),
        ("zero_counters", "ok", "skipped"),
    ],
)
def test_the_system_check_sees_a_device_that_does_not_do_what_it_should(
    fault: str, launch: str, memory: str, site: Path
) -> None:
    found = said(site, FAULTS, SIM_FAULT=fault, **KNOWN).split("\n")[0].split()
    assert (found[1], found[3]) == (launch, memory)


@pytest.mark.parametrize("fault", ["host_stamps", "half_time_events", "no_events"])
def test_events_that_do_not_tell_the_time_of_the_device_are_not_used(
    fault: str, site: Path
) -> None:
    code = """
    from bench.worker.device.device import open_device
    print(open_device("sim:0").has_events)
    """
    assert said(site, code, SIM_FAULT=fault) == "False\n"


def test_float64_that_takes_the_cpu_long_is_computed_on_the_device(site: Path) -> None:
    code = """
    import dataclasses
    import torch
    from bench.worker.jobs import reference
    from bench.worker.model.build import prepare
    from tests.support.cases import case

    reference.ON_CPU_S = 0.0
    for subject in ("convnet", "convnet/conv1"):
        for mode in ("inference", "training"):
            one = case(subject=subject, mode=mode, batch=2, device="sim:0")
            twin = dataclasses.replace(one, device="cpu")
            made, other = prepare(one), prepare(twin)
            whole = made.layer is None
            there = reference.of_whole(one) if whole else reference.of_layer(one, made)
            here = reference.of_whole(twin) if whole else reference.of_layer(twin, other)
            for group, tensors in here.values.groups.items():
                for a, b in zip(tensors, there.values.groups[group], strict=True):
                    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
            others = reference.witnesses(one, made, "float32", ["output"], there.device)
            moved = max(
                float((a - b).abs().max())
                for witness in others
                for a, b in zip(
                    witness.groups["output"], here.values.groups["output"], strict=True
                )
            )
            print(here.device, there.device, len(others), 0 < moved < 1e-3)
    """
    assert said(site, code) == "cpu sim:0 5 True\n" * 4
