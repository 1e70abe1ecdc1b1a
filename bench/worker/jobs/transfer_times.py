"""Times the copies of a case's inputs to an accelerator, and of its outputs back.

They are phases of their own, outside the step, whose data is on the device already.  Ordinary host
memory (pageable) is copied by the driver through a buffer of its own.  From pinned memory the
device copies by itself (`Tensor.pin_memory`, `non_blocking=True`).  They are timed as steps are:
alone with an idle device before and after, and back to back with one wait at the end.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from bench.core.protocol import Budget
from bench.core.records import TRANSFER_PHASES, Samples
from bench.worker.device.device import Device
from bench.worker.model import pytree
from bench.worker.timing import call_timing, stopwatch

# A copy does the same each time, and needs neither a long warm-up nor many samples.
INPUT, INPUT_PINNED, OUTPUT, OUTPUT_PINNED = TRANSFER_PHASES
BUDGET = Budget(warmup_s=0.02, warmup_cap_s=0.2, samples_s=0.06, max_samples=50)


SHARE = 0.2  # of the time for the samples of the case that those of one copy take at most


def budget(of_case: Budget) -> Budget:
    """Return the budget of each copy: a short run of a case has short ones."""
    samples_s = min(BUDGET.samples_s, SHARE * of_case.samples_s)
    return replace(BUDGET, samples_s=samples_s, warmup_s=min(BUDGET.warmup_s, samples_s / 3))


@dataclass(frozen=True, slots=True)
class Copies:
    """One way to copy the data, as a step of one phase."""

    name: str
    work: Callable[[], object]
    bytes_: int

    @property
    def phases(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def whole(self) -> str:
        return self.name

    def prepare(self, calls: int) -> int:
        return calls

    def __call__(self, mark: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        self.work()


@dataclass(frozen=True, slots=True)
class Moved:
    """The results of the transfers."""

    samples: tuple[Samples, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)  # bytes by phase
    left_out: Mapping[str, str] = field(default_factory=dict)  # phase → why memory was too small
    timed_s: float = 0.0  # warm-up and samples of all copies
    warmup_s: float = 0.0  # of that, the warm-up


def copies(inputs: Any, outputs: Any, device_name: str) -> list[Copies]:
    """Return the copies of all tensors in the two trees, which lie on the device.

    inputs, outputs: tuples, lists or dicts of tensors; nothing in `outputs` is no phase.
    Pinned ones are left out where torch cannot pin memory for this device.
    """
    found = []
    sent = [one.detach() for one in pytree.tensors(inputs)]
    hosts = [one.to("cpu") for one in sent]
    if hosts:
        found.append(_copies(INPUT, hosts, _sender(hosts, device_name)))
        if pinned := _pinned(hosts):
            found.append(_copies(INPUT_PINNED, pinned, _sender(pinned, device_name)))
    received = [one.detach() for one in pytree.tensors(outputs)]
    if received:
        found.append(_copies(OUTPUT, received, lambda: [one.to("cpu") for one in received]))
        if targets := _pinned([torch.empty_like(one, device="cpu") for one in received]):
            found.append(_copies(OUTPUT_PINNED, received, _fetcher(received, targets)))
    return found


def _copies(name: str, tensors: Sequence[Tensor], work: Callable[[], object]) -> Copies:
    return Copies(name, work, sum(one.numel() * one.element_size() for one in tensors))


def _sender(hosts: Sequence[Tensor], device_name: str) -> Callable[[], object]:
    # Asynchronous where the memory is pinned; torch copies other memory synchronously anyhow.
    return lambda: [one.to(device_name, non_blocking=True) for one in hosts]


def _fetcher(received: Sequence[Tensor], targets: Sequence[Tensor]) -> Callable[[], object]:
    def fetch() -> None:
        for target, one in zip(targets, received, strict=True):
            target.copy_(one, non_blocking=True)

    return fetch


def _pinned(hosts: Sequence[Tensor]) -> list[Tensor]:
    """Return copies in page-locked memory; none if the backend has none, or no more of it."""
    try:
        return [one.pin_memory() for one in hosts]
    except (RuntimeError, NotImplementedError):
        return []


def measure(
    every: Iterable[Copies],
    device: Device,
    clock: Callable[[], float] = stopwatch.wall_clock,
    *,
    budget: Budget = BUDGET,
    resolution_s: float | None = None,
    why_no_memory: Callable[[Exception], str | None] = lambda _: None,
) -> Moved:
    """Return the samples of every copy, and the bytes that each moves, as metrics of its phase.

    why_no_memory: why an exception means that memory ended; None: it means something else.  A
                   phase without room is left out: the case itself has been timed by then.
    """
    samples: list[Samples] = []
    metrics: dict[str, float] = {}
    left_out: dict[str, str] = {}
    timed_s = warmup_s = 0.0
    for copy in every:
        try:
            copy()  # the first allocates
            taken = call_timing.measure(copy, device, budget, clock, resolution_s=resolution_s)
        except Exception as error:
            why = why_no_memory(error)
            if why is None:
                raise
            left_out[copy.name] = why
            continue
        samples += taken.samples
        timed_s += taken.timed_s
        warmup_s += taken.warmup_s
        metrics[f"bytes_moved:{copy.name}"] = copy.bytes_
    return Moved(tuple(samples), metrics, left_out, timed_s, warmup_s)
