"""Peak memory of a call: three figures with three meanings, none measured while timing.

allocated: most that the allocator had given out at once; on the CPU torch has no such counter,
           so it is computed from the memory in use before and the allocations of one call;
reserved:  most that the allocator held from the device (accelerators only);
process:   most physical memory of the process, with the interpreter and torch's libraries.
"""

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from bench.worker.device import torch_private
from bench.worker.model import pieces, pytree
from bench.worker.model.build import Prepared
from bench.worker.model.step import Step

MEMORY_EVENT = "[memory]"  # torch.autograd.profiler_util.MEMORY_EVENT_NAME
_CPU_TYPES = ("CPU", "MKLDNN", "IDEEP")
_PROCESS = Path("/proc/self")


class MemoryCountError(RuntimeError):
    """The system does not count this; the message says what is missing."""


def alive_bytes(module: nn.Module, *trees: Any) -> int:
    """Return the bytes behind a module's weights, buffers, other tensors and these trees, each
    once.
    """
    own = (pytree.tensors(list(vars(inner).values())) for inner in module.modules())
    every = (
        *module.parameters(),
        *module.buffers(),
        *(tensor for tensors in own for tensor in tensors),
        *pytree.tensors(trees),
    )
    return storage_bytes(every)


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the storages: views share one, a sparse or nested tensor has several."""
    storages = {}
    for piece in pieces.all_of(tensors):
        storage = piece.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def allocated_peak_bytes(call: Callable[[], object]) -> int:
    """Return the most that one call had allocated on the CPU at once, above the memory in use
    before.

    It comes from the profiler's allocation events.  These do not show memory that was allocated
    before the profiler began and freed after: call this when nothing is left over from the last
    call.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        call()
    results = torch_private.recorded(prof)
    if results is None:
        raise MemoryCountError("torch's profiler recorded nothing")
    events = [
        event
        for event in results.events()
        if event.name() == MEMORY_EVENT and torch_private.device_type(event) in _CPU_TYPES
    ]
    now = peak = 0
    # stable: events of the same time stay in order
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def process_peak_bytes(call: Callable[[], object], process: Path = _PROCESS) -> int:
    """Return the most physical memory of this process during one call (VmHWM).

    Freed memory that the C library keeps is given back first, so that earlier work does not count.
    Linux only.  Raises MemoryCountError.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
    try:
        (process / "clear_refs").write_text("5")  # proc(5): resets the peak to the memory held now
    except OSError as error:
        raise MemoryCountError(f"the process' peak cannot be reset ({error.strerror})") from None
    call()
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024  # "kB" there means 1024
    raise MemoryCountError("/proc/self/status has no VmHWM")


def drop_gradients(module: nn.Module, *trees: Any) -> None:
    """Remove gradients and outputs, as at the start of a step."""
    for tensor in (*module.parameters(), *pytree.tensors(trees)):
        if tensor.is_leaf:
            tensor.grad = None


def begin_call(step: Step, prepared: Prepared) -> None:
    """Begin a call: no gradients, inputs restored, no output left over."""
    forgetful: Any = step  # read-only to all others
    forgetful.output = None
    step.prepare(1)
    drop_gradients(prepared.module, prepared.args, prepared.kwargs)
