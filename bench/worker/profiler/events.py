"""Events of torch's profiler as plain records: the rest of the analysis needs no torch."""

from dataclasses import dataclass
from typing import Any

from bench.worker.device import torch_private

# Kineto's names of a device's activities (libkineto, ActivityType.h), the last two of HPU and MTIA;
# its annotations and the overhead of the profiler itself are no work.
DEVICE_WORK = frozenset(
    {"kernel", "concurrent_kernel", "gpu_memcpy", "gpu_memset", "hpu_op", "mtia_ccp_events"}
)
RUNTIME = ("runtime", "driver")  # cuda_runtime, cuda_driver, xpu_runtime, privateuse1_runtime, …
MEMCPY = "Memcpy"  # "Memcpy HtoD (Pageable -> Device)" (libkineto, CuptiActivity.cpp, memcpyName)
BACKWARD_NODE = "autograd::engine::evaluate_function: "
COMPILED_REGION = "Torch-Compiled Region: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a trace.  Host and device times are of one clock."""

    name: str
    start_ns: int
    end_ns: int
    kind: str = "cpu_op"  # cpu_op | user_annotation | runtime | device, or another of kineto's
    thread: int = 1
    # an operator's id, which `linked` of a kernel names; a launch and its kernel share one
    id: int = 0
    linked: int = 0
    sequence: int = -1  # of an autograd node: the forward operator that made it has the same number
    forward_thread: int = 0  # of a backward event: the thread of its forward operator; else 0

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns


def of_kineto(results: Any, device_index: int | None) -> list[Event]:
    """Return the events of a `_ProfilerResult` by start time, longer events first.

    device_index: of the accelerator whose work counts; None = no accelerator.
    """
    events = [
        Event(
            name=_name(one, kind),
            start_ns=one.start_ns(),
            end_ns=one.start_ns() + one.duration_ns(),
            kind=kind,
            thread=one.start_thread_id(),
            id=one.correlation_id(),
            linked=one.linked_correlation_id(),
            sequence=one.sequence_nr(),
            # a range has the leftover number of another event: no range is a backward one
            forward_thread=0 if one.is_user_annotation() else one.fwd_thread_id(),
        )
        for one in results.events()
        if (kind := _kind(one, device_index)) is not None
    ]
    return sorted(events, key=lambda event: (event.start_ns, -event.end_ns))


def _name(event: Any, kind: str) -> str:
    """Return the name of an event; that of each copy of a device begins as CUDA's do."""
    name: str = event.name()
    copies = kind == "device" and torch_private.activity(event) == torch_private.COPY
    return f"{MEMCPY} {name}" if copies and not name.startswith(MEMCPY) else name


def _kind(event: Any, device_index: int | None) -> str | None:
    """Return the kind of an event, or None where it does not count."""
    activity = torch_private.activity(event)
    if torch_private.device_type(event) == "CPU":
        if activity == "cpu_instant_event":
            return None
        return "runtime" if activity.endswith(RUNTIME) else activity
    own = device_index is not None and event.device_index() == device_index
    return "device" if own and activity in DEVICE_WORK else None
