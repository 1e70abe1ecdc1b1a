"""A machine with two accelerators that behave: they queue work, and do it while the host goes on.

`install` puts it behind `torch.accelerator`, `torch.Event` and the two makers of tensors that
`bench.worker.device.device` calls, so that the very code runs that a GPU would run: the device,
real steps, the timer.  Modules compute on the CPU and submit what that would cost to the fake
queue.  The host's clock moves where the host launches or waits, and nowhere else.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from bench.worker.device import event_trial

NAME = "cuda:1"  # not the current device: who waits for that one waits for nothing
LAUNCH_S = 1e-5
# When an event is stamped, and what it tells: the device passes it; the host records it; a listener
# on the host hears of it; in microseconds; nothing at all; an error.
Stamps = Literal["device", "host", "listener", "microseconds", "zero", "raises"]
HEARD_AFTER_S = (2e-5, 9e-5, 4e-5, 1.3e-4, 3e-5)  # by a listener, in turn


@dataclass(slots=True)
class Queue:
    """One device: work in order, memory that is taken and given back when the work is done."""

    initialised: bool = False
    free_s: float = 0.0  # when all that was submitted will be done
    done_s: float = 0.0  # up to when the host has seen it done
    pending: list[tuple[float, int]] = field(default_factory=list)  # end, bytes held until then
    held: int = 0
    peak: int = 0
    reserved: int = 0
    reserved_peak: int = 0


@dataclass
class Machine:
    """Two devices, of which number 0 is the current one, and the clock of their host."""

    now_s: float = 50.0
    waits: int = 0
    queues: tuple[Queue, Queue] = field(default_factory=lambda: (Queue(), Queue()))

    def clock(self) -> float:
        return self.now_s

    def submit(self, work_s: float, bytes_: int = 0, index: int = 1) -> None:
        """Launch work that holds so much memory until it is done."""
        queue = self.queues[index]
        self.now_s += LAUNCH_S
        queue.free_s = max(queue.free_s, self.now_s) + work_s
        queue.pending.append((queue.free_s, bytes_))

    def synchronize(self, index: int | None = None) -> None:
        """Wait for this device, or for the current one; do nothing before its first use."""
        self.waits += 1
        queue = self.queues[0 if index is None else index]
        if not queue.initialised:
            return
        self.now_s = max(self.now_s, queue.free_s)
        queue.done_s = self.now_s
        for _, bytes_ in queue.pending:  # the memory of a kernel is taken when it runs
            queue.peak = max(queue.peak, queue.held + bytes_)
            queue.reserved = max(queue.reserved, queue.held + bytes_)
            queue.reserved_peak = max(queue.reserved_peak, queue.reserved)
        queue.pending.clear()

    def reset_peak(self, index: int = 0) -> None:
        queue = self.queues[index]
        queue.peak, queue.reserved_peak = queue.held, queue.reserved

    def empty_cache(self) -> None:
        for queue in self.queues:
            queue.reserved = queue.held

    def stats(self, index: int = 0) -> dict[str, int]:
        queue = self.queues[index]
        return {
            "allocated_bytes.all.peak": queue.peak,
            "reserved_bytes.all.peak": queue.reserved_peak,
        }

    def take(self, bytes_: int, index: int) -> None:
        queue = self.queues[index]
        queue.initialised = True
        queue.held += bytes_
        queue.peak = max(queue.peak, queue.held)


class NotDoneError(RuntimeError):
    """Error of torch for an event whose time is asked for too early."""


def install(patch: pytest.MonkeyPatch, stamps: Stamps = "device") -> Machine:
    """Put the machine in place of torch's."""
    machine = Machine()
    real_empty, real_ones = torch.empty, torch.ones

    def made(real: Callable[..., Tensor], *size: Any, device: Any = None, **more: Any) -> Tensor:
        if device is None or torch.device(device).type != "cuda":
            return real(*size, device=device, **more)
        machine.take(512, torch.device(device).index or 0)
        machine.submit(2e-6, index=torch.device(device).index or 0)
        return real(*size, **more)

    heard_after_s = itertools.cycle(HEARD_AFTER_S)

    def scans(name: str) -> Iterator[Callable[[], object]]:
        index = torch.device(name).index or 0
        for power in range(4):
            yield functools.partial(machine.submit, 2e-5 * 4**power, index=index)

    class Event:
        def __init__(self, _device: Any = None, *, enable_timing: bool = False) -> None:
            assert enable_timing, "an event without timing tells no time"
            if stamps == "raises":
                raise NotImplementedError("no events on this backend")
            self.at_s, self.index = 0.0, 0

        def record(self, stream: Any = None) -> None:
            self.index = 0 if stream is None else stream  # else the current device's stream
            self.at_s = max(machine.now_s, machine.queues[self.index].free_s)
            self.told_s = machine.now_s if stamps == "host" else self.at_s
            if stamps == "listener":
                self.told_s += next(heard_after_s)

        def elapsed_time(self, other: "Event") -> float:
            """Return milliseconds."""
            if other.at_s > machine.queues[other.index].done_s:
                raise NotDoneError("the event has not passed yet")
            unit = {"microseconds": 1e6, "zero": 0.0}.get(stamps, 1e3)
            return (other.told_s - self.told_s) * unit

    accelerator = torch.accelerator
    patch.setattr(accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    patch.setattr(accelerator, "device_count", lambda: 2)
    patch.setattr(accelerator, "synchronize", machine.synchronize)
    patch.setattr(accelerator, "current_stream", lambda index=0: index)
    patch.setattr(accelerator, "reset_peak_memory_stats", machine.reset_peak)
    patch.setattr(accelerator, "memory_stats", machine.stats)
    patch.setattr(accelerator, "empty_cache", machine.empty_cache)
    patch.setattr(torch, "Event", Event)
    patch.setattr(event_trial, "scans", scans)
    patch.setattr(event_trial, "wall_clock", machine.clock)
    patch.setattr(torch, "empty", lambda *size, **more: made(real_empty, *size, **more))
    patch.setattr(torch, "ones", lambda *size, **more: made(real_ones, *size, **more))
    return machine


class _Work(torch.autograd.Function):
    """Identity whose forward and backward take the given times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: "Layer") -> Tensor:
        ctx.layer = layer
        layer.launch(layer.forward_s)
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        ctx.layer.launch(ctx.layer.backward_s)
        return gradient[0], None


class Layer(nn.Module):
    """Layer (N, 4) → (N, 4), computed on the CPU; its cost lies on the fake device.

    slow_first_s: of the first call, on top: context, lazy modules, tuning.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        forward_s: float,
        backward_s: float = 0.0,
        slow_first_s: float = 0.0,
        bytes_: int = 0,
    ) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.machine = machine
        self.forward_s, self.backward_s = forward_s, backward_s
        self.slow_first_s, self.bytes_ = slow_first_s, bytes_

    def launch(self, work_s: float) -> None:
        self.machine.submit(work_s + self.slow_first_s, self.bytes_)
        self.slow_first_s = 0.0

    def forward(self, x: Tensor) -> Any:
        return _Work.apply(self.fc(x), self)  # type: ignore[no-untyped-call]
