"""Accelerators and work of known size on them, timed the way cases are.

`python -m bench.worker.selftest.devices OUT` in a process of its own, since looking at a device
initialises it.  OUT gets a JSON object: device name → its figures.
"""

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.core.protocol import Budget
from bench.host.interpreter import HERE
from bench.worker.device import device, nvidia
from bench.worker.timing import measure, stopwatch

MATRIX, PRODUCTS = 4096, 8  # 1.1 TFLOP in float32: 20 ms on the fastest, 0.5 s on a small one
SMALLER = (256, 512, 1024, 2048)  # for devices that would take seconds
ENOUGH_S = 0.02  # of work behind the launches, or of launches: larger matrices make neither clearer
ALLOCATED_BYTES = 64 * 2**20  # whole pages of every allocator, so counted without rounding
LAUNCHES = 5
BESIDE = "--beside"

Figures = dict[str, float | str]


@dataclass(frozen=True, slots=True)
class Forward:
    """A step of one phase that calls `work` and needs no inputs."""

    work: Callable[[], object]
    phases = ("forward",)
    whole = "forward"

    def prepare(self, calls: int) -> int:
        return calls

    def __call__(self, mark: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        self.work()


def accelerator(
    on: device.Device,
    work: Callable[[], object],
    allocate: Callable[[int], object],
    clock: Callable[[], float] = stopwatch.wall_clock,
) -> Figures:
    """What the suite makes of an accelerator; a figure that it does not have is absent.

    work:     queues some milliseconds of work.
    allocate: that many bytes on the device; they are held as long as the result is.
    """
    work()
    on.wait()
    found = medians(measure.measure(Forward(work), on, Budget(), clock))
    launches_s = []
    for _ in range(LAUNCHES):
        on.wait()
        start = clock()
        work()
        launches_s.append(clock() - start)
    on.wait()
    counted = counted_bytes(on, allocate)
    return (
        found
        | {"launch_s": statistics.median(launches_s)}
        | ({} if counted is None else {"counted_bytes": counted})
    )


def side(
    work: Callable[[int], Callable[[], object]],
    wait: Callable[[], None],
    clock: Callable[[], float] = stopwatch.wall_clock,
) -> int:
    """The smallest of SMALLER with which the device is busy long enough, else MATRIX.

    work: makes what queues the products of matrices of this side.
    """
    for one in SMALLER:
        products = work(one)
        products()  # its first call loads its kernel
        wait()
        start = clock()
        products()
        issued = clock()
        wait()
        if max(issued - start, clock() - issued) >= ENOUGH_S:
            return one
    return MATRIX


def counted_bytes(on: device.Device, allocate: Callable[[int], object]) -> int | None:
    """By how much the peak grows with ALLOCATED_BYTES; None where nothing counts it."""
    on.empty_cache()  # a larger block from the cache would count as a whole
    held = [allocate(2**20)]  # a peak of nothing is none
    on.reset_peak()
    before = on.peak_bytes()
    held.append(allocate(ALLOCATED_BYTES))
    after = on.peak_bytes()
    return None if before is None or after is None else after - before


def neighbour(
    foreign: Callable[[], int | None], beside: Callable[[], AbstractContextManager[object]]
) -> Figures:
    """How many other processes the driver sees, alone and beside one that is planted.

    foreign: asks the driver; where it does not know, so does the result not.
    beside:  another process that computes on the device, as long as it is entered.
    """
    alone = foreign()
    if alone is None:
        return {}
    with beside():
        with_it = foreign()
    return {"foreign_alone": alone, "foreign_beside": alone if with_it is None else with_it}


@contextlib.contextmanager
def another_process(name: str) -> Iterator[None]:
    """One that has computed on the device and keeps its context, until this is left."""
    command = HERE.command("bench.worker.selftest.devices", BESIDE, name)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it is there, or has ended
        yield  # leaving closes its input, at which it ends


def _be_beside(name: str) -> None:
    held = torch.randn(MATRIX, MATRIX, device=name)
    torch.mm(held, held)
    device.open_device(name).wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


def medians(found: measure.Timing) -> Figures:
    """`latency_s`, `pipelined_s`, and `device_s` where there are events."""
    return {f"{one.kind}_s": statistics.median(one.times_s) for one in found.samples}


def _measure_accelerator(name: str) -> Figures:
    """At one accelerator.  What it raises becomes `error`: the others are still worth a look."""
    try:
        on = device.open_device(name)

        def products(of: int) -> Callable[[], None]:
            one, other, product = (torch.randn(of, of, device=name) for _ in range(3))

            def work() -> None:
                for _ in range(PRODUCTS):
                    torch.mm(one, other, out=product)

            return work

        def allocate(size_bytes: int) -> object:
            return torch.empty(size_bytes, dtype=torch.uint8, device=name)

        work = products(side(products, on.wait))
        found = accelerator(on, work, allocate)
        if gpu := nvidia.gpu_of(name):
            found |= neighbour(
                lambda: nvidia.foreign_processes(gpu.snapshot()), lambda: another_process(name)
            )
        return found
    except (RuntimeError, device.DeviceError, stopwatch.ClockError) as error:
        return {"error": " ".join(str(error).split())[:200] or type(error).__name__}


def main() -> None:
    """Answer, or be the process beside."""
    if BESIDE in sys.argv:
        _be_beside(sys.argv[2])
        return
    found = {name: _measure_accelerator(name) for name in device.device_names()[1:]}
    Path(json.loads(sys.stdin.read())["out"]).write_text(json.dumps(found), encoding="utf-8")
