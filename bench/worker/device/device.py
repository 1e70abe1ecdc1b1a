"""Wait for any device, mark events on it, and read its memory, through one interface.

Accelerators go through `torch.accelerator`, whatever their maker.  A device that cannot be
waited for is an error, never a number.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

import torch

from bench.core.text import first_line
from bench.worker.device import cuda, event_trial
from bench.worker.timing.stopwatch import Event, TimedDevice, wall_clock

NOT_COUNTED = "the device does not count its memory"


class DeviceError(Exception):
    """The device does not exist here or cannot be waited for; the message says what there is."""


class Device(TimedDevice, Protocol):
    """The part of a device that the worker needs."""

    @property
    def name(self) -> str:
        """`cpu`, `cuda:0`, …"""

    @property
    def type(self) -> str:
        """The type, such as `cpu` or `cuda`, as autocast and GradScaler expect it."""

    @property
    def events_doubt(self) -> str | None:
        """Return why its events cannot be used; None if they can, or if none are needed."""

    @property
    def trial_s(self) -> float:
        """Seconds that the trial of its events took."""

    @property
    def memory_doubt(self) -> str | None:
        """The error of the last query of its memory; None if there was no error or no query."""

    def reset_peak(self) -> None:
        """Set the peak to the memory that is held now."""

    def peak_bytes(self) -> int | None:
        """Return the most bytes that tensors had at once; None if they are not counted."""

    def reserved_peak_bytes(self) -> int | None:
        """Return the most bytes that the allocator reserved; None if they are not counted."""

    def empty_cache(self) -> None:
        """Give memory that no tensor uses back to the device."""


def device_names() -> tuple[str, ...]:
    """Return the CPU and every accelerator found: `("cpu", "cuda:0", "cuda:1")`, `("cpu", "mps")`.

    May initialise the accelerator's driver, so never before a fork.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ("cpu",)
    return ("cpu", *(_name(found.type, i) for i in range(torch.accelerator.device_count())))


def open_device(name: str) -> Device:
    """Initialise the device and wait until it is idle.  Raises DeviceError."""
    if name == "cpu":
        # No other device is looked at, because that would load an accelerator's driver into a
        # process whose memory is measured.
        return CpuDevice()
    there_is = f"there is: {', '.join(device_names())}"
    try:
        asked = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"device {name!r} is not the name of a device; {there_is}") from None
    index = asked.index or 0
    if _name(asked.type, index) not in device_names():
        gpus = sum(one.startswith("cuda:") for one in device_names())
        why = cuda.no_gpu(gpus) if asked.type == "cuda" else None
        because = f"; {why}" if why else ""
        raise DeviceError(f"device {name!r} does not exist here; {there_is}{because}")
    if asked.type == "cpu":  # `cpu:0`
        return CpuDevice()
    try:
        # Before the first use of a device `synchronize` returns at once (DeviceAccelerator.cpp).
        torch.empty(1, device=torch.device(asked.type, index))
        torch.accelerator.synchronize(index)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = first_line(error)
        raise DeviceError(f"device {name!r} cannot be waited for ({why}); {there_is}") from error
    return _tried(Accelerator(asked.type, index, has_events=True))


def _tried(device: "Accelerator") -> "Accelerator":
    """Return the device; its events are used only if a trial shows that they tell its time."""
    start_s = wall_clock()
    device.events_doubt = event_trial.doubt(device, event_trial.scans(device.name))
    device.trial_s = wall_clock() - start_s
    device.has_events = device.events_doubt is None
    return device


def memory_pressure(name: str, accelerator: Any = torch.accelerator) -> tuple[int, int]:
    """Return how often an accelerator's allocator gave its cache back to ask again, and failed.

    Both since the process began; 0 where nothing counts them, and on the CPU.
    """
    asked = torch.device(name)
    if asked.type == "cpu":
        return 0, 0
    try:
        stats: Mapping[str, int] = accelerator.memory_stats(asked.index or 0)
    except (RuntimeError, NotImplementedError):
        return 0, 0
    return stats.get("num_alloc_retries", 0), stats.get("num_ooms", 0)


def wait_for(name: str, accelerator: Any = torch.accelerator) -> None:
    """Wait for an accelerator that is in use already, without opening it."""
    accelerator.synchronize(torch.device(name).index or 0)


def free_share(name: str, accelerator: Any = torch.accelerator) -> float | None:
    """Return the share of the device's memory that is free or unused by torch; None if unknown."""
    try:
        index = torch.device(name).index or 0
        free, total = accelerator.get_memory_info(index)
        stats: Mapping[str, int] = accelerator.memory_stats(index)
    except (RuntimeError, NotImplementedError, AttributeError, AssertionError):
        return None
    kept = stats.get("reserved_bytes.all.current", 0) - stats.get("allocated_bytes.all.current", 0)
    return float(free + kept) / total if total else None


def _name(type_: str, index: int) -> str:
    """Return the name of a device; CPU and MPS are always one device and get no index."""
    return type_ if type_ in ("cpu", "mps") and index == 0 else f"{type_}:{index}"


class CpuDevice:
    """The CPU, on which a call has done its work when it returns."""

    name = type = "cpu"
    synchronous = True
    has_events = False
    events_doubt: str | None = None
    trial_s = 0.0  # of the events
    memory_doubt: str | None = (
        None  # the process is asked instead (`bench.worker.metrics.peak_memory`)
    )

    def wait(self) -> None:
        pass

    def event(self) -> Event:
        raise DeviceError("the CPU has no events: read the clock, its calls are synchronous")

    def reset_peak(self) -> None:
        pass

    def peak_bytes(self) -> int | None:
        return None  # torch has no such counter on the CPU

    def reserved_peak_bytes(self) -> int | None:
        return None

    def empty_cache(self) -> None:
        pass


class Accelerator:
    """A device behind `torch.accelerator`."""

    synchronous = False

    def __init__(
        self, type_: str, index: int, *, has_events: bool, accelerator: Any = torch.accelerator
    ) -> None:
        self.name = _name(type_, index)
        self.type = type_
        self.has_events = has_events
        self.events_doubt: str | None = None
        self.trial_s = 0.0
        self.memory_doubt: str | None = None
        self._index = index
        self._accelerator = accelerator

    def wait(self) -> None:
        # torch waits for the current device if it gets no index.
        self._accelerator.synchronize(self._index)

    def event(self) -> "AcceleratorEvent":
        made = AcceleratorEvent(
            torch.Event(torch.device(self.type, self._index), enable_timing=True),
            # Without a stream, an event goes to the current stream of the *current* device.
            lambda: self._accelerator.current_stream(self._index),
        )
        made.record()
        return made

    def reset_peak(self) -> None:
        try:
            self._accelerator.reset_peak_memory_stats(self._index)
        except (RuntimeError, NotImplementedError) as error:
            # The peak is one since the start: not what was asked for.
            self.memory_doubt = first_line(error)

    def peak_bytes(self) -> int | None:
        return self._peak("allocated_bytes.all.peak")

    def reserved_peak_bytes(self) -> int | None:
        return self._peak("reserved_bytes.all.peak")

    def empty_cache(self) -> None:
        # Some allocators cannot return memory ("Allocator for X is not a DeviceAllocator").
        with contextlib.suppress(RuntimeError, NotImplementedError):
            self._accelerator.empty_cache()

    def _peak(self, counter: str) -> int | None:
        """Return the counter itself, because `max_memory_allocated` is 0 for a missing counter.

        Opening the device allocated there, so a peak of 0 is no peak but a counter that does
        not count.
        """
        if self.memory_doubt is not None:
            return None
        try:
            stats: Mapping[str, int] = self._accelerator.memory_stats(self._index)
        except (RuntimeError, NotImplementedError) as error:
            self.memory_doubt = first_line(error)
            return None
        return stats.get(counter) or None


class AcceleratorEvent:
    """A torch.Event, in seconds."""

    def __init__(self, event: torch.Event, stream: Callable[[], torch.Stream]) -> None:
        self._event, self._stream = event, stream

    def record(self) -> None:
        self._event.record(self._stream())

    def seconds_until(self, later: Self) -> float:
        """Return the seconds to another event; both must be done.  torch counts in milliseconds."""
        return float(self._event.elapsed_time(later._event)) / 1e3
