"""Work of known size on the accelerators, timed as cases are.

`python -m bench.worker.selftest.known_devices` runs in a process of its own, because it
initialises the devices.  The answer is a JSON object: device name → its figures.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.core.protocol import Budget
from bench.core.text import error_line
from bench.host.interpreter import HERE
from bench.worker.device import device, nvidia
from bench.worker.device.gpu_monitor import GpuMonitor
from bench.worker.timing import call_timing, stopwatch

MATRIX, PRODUCTS = 4096, 8  # 1.1 TFLOP in float32: 20 ms on the fastest, 0.5 s on a small one
SMALLER = (256, 512, 1024, 2048)  # for devices that would take seconds
ENOUGH_S = 0.02  # of work behind the launches, or of launches: larger matrices make neither clearer
ALLOCATED_BYTES = 64 * 2**20  # whole pages of every allocator, so counted without rounding
LAUNCHES = 5
BESIDE = "--beside"
WATCHED_S = 2.5  # the driver samples its processes once a second, or more often

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
    """Return the suite's figures of an accelerator; one that it does not have is absent.

    work:     queues some milliseconds of work.
    allocate: allocates so many bytes on the device; they are in use as long as the result exists.
    """
    work()
    on.wait()
    found = medians(call_timing.measure(Forward(work), on, Budget(), clock))
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
        | ({"not_counted": _why_not(on)} if counted is None else {"counted_bytes": counted})
    )


def _why_not(on: device.Device) -> str:
    return on.memory_doubt or device.NOT_COUNTED


def side(
    work: Callable[[int], Callable[[], object]],
    wait: Callable[[], None],
    clock: Callable[[], float] = stopwatch.wall_clock,
) -> int:
    """Return the smallest of SMALLER that keeps the device busy long enough, else MATRIX.

    work: makes a function that queues the products of matrices of this side.
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
    """Return by how much the peak grows with ALLOCATED_BYTES; None if nothing counts it."""
    on.empty_cache()  # a larger block from the cache would count as a whole
    held = [allocate(2**20)]  # a peak of nothing is none
    on.reset_peak()
    before = on.peak_bytes()
    held.append(allocate(ALLOCATED_BYTES))
    after = on.peak_bytes()
    return None if before is None or after is None else after - before


def neighbour(
    monitor: Callable[[], GpuMonitor],
    work: Callable[[], object],
    beside: Callable[[], AbstractContextManager[object]],
) -> Figures:
    """Return whether the driver reports other work on the device: alone, and beside some.

    monitor: a fresh one of the device; what it does not know, the result does not hold.
    work:    keeps the device busy as long as a measurement, and waits for it.
    beside:  another process that computes on the device, as long as it is entered.
    """
    alone = _watched(monitor(), work)
    if alone is None:
        return {}
    # Its context is new to the first look; its work goes on before the second one.  A driver that
    # does not tell which process computes shows one or the other.
    newly = monitor()
    newly.start()
    with beside():
        work()
        newly.stop()
        found = [newly.contended(), _watched(monitor(), work)]
    if found == [None, None]:
        return {}
    return {"contended_alone": alone, "contended_beside": any(found)}


def _watched(monitor: GpuMonitor, work: Callable[[], object]) -> bool | None:
    monitor.start()
    work()
    monitor.stop()
    return monitor.contended()


@contextlib.contextmanager
def another_process(name: str) -> Iterator[None]:
    """Run a process that computes on the device until the block ends."""
    command = HERE.command("bench.worker.selftest.known_devices", BESIDE, name)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it is there, or has ended
        yield  # leaving closes its input, at which it ends


def _be_beside(name: str) -> None:
    on, held = device.open_device(name), torch.randn(MATRIX, MATRIX, device=name)
    product = torch.mm(held, held)
    on.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    reader = threading.Thread(target=sys.stdin.read, daemon=True)
    reader.start()
    while reader.is_alive():
        for _ in range(PRODUCTS):
            torch.mm(held, held, out=product)
        on.wait()


def medians(found: call_timing.Timing) -> Figures:
    """Return `latency_s`, `pipelined_s`, and `device_s` if there are events."""
    return {f"{one.kind}_s": statistics.median(one.times_s) for one in found.samples}


def _measure_accelerator(name: str) -> Figures:
    """Measure one accelerator.  An error becomes `error`: the others are still measured."""
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

            def work_long() -> None:
                start = stopwatch.wall_clock()
                while stopwatch.wall_clock() - start < WATCHED_S:
                    work()
                    on.wait()

            found |= neighbour(lambda: GpuMonitor(gpu), work_long, lambda: another_process(name))
        return found
    except (RuntimeError, device.DeviceError, stopwatch.ClockError) as error:
        return {"error": error_line(error, 200) or type(error).__name__}


def main() -> None:
    """Answer, or run as the process beside."""
    if BESIDE in sys.argv:
        _be_beside(sys.argv[2])
        return
    out = Path(json.loads(sys.stdin.read())["out"])
    answer(out, device.device_names()[1:], _measure_accelerator)


def answer(out: Path, names: Sequence[str], figures: Callable[[str], Figures]) -> None:
    """Write what is known after each device: one that takes too long does not lose the others."""
    found: dict[str, Figures] = {}
    beside = out.with_suffix(".tmp")
    beside.write_text("{}", encoding="utf-8")
    beside.rename(out)
    for name in names:
        found[name] = figures(name)
        beside.write_text(json.dumps(found), encoding="utf-8")
        beside.rename(out)
