"""Two simulated accelerators, `sim:0` and `sim:1`: importing this module registers them with torch.

Environment variables set them, `configure` does so later: SIM_LAUNCH_US, SIM_KERNEL_US,
SIM_KERNEL_NS_PER_KIB, SIM_FIRST_US, SIM_PAGEABLE_NS_PER_KIB, SIM_PINNED_NS_PER_KIB,
SIM_MEMORY_BYTES (csrc/timeline.h says what each is), and SIM_FAULT, with commas between:

- host_stamps: events tell when the host recorded them
- half_time_events: events tell half of the time
- no_events: there are none
- no_wait: a wait for the device returns at once
- no_synchronize: a wait for the device raises
- no_counters: the allocator counts nothing (only at the start)
- zero_counters: it counts, and tells 0
- no_profiler: torch's profiler gets nothing from the device (only at the start; torch 2.11 has no
  place for its profiler, so there it is always so)
"""

import ctypes
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.utils import backend_registration

NAME = "sim"
_library = ctypes.CDLL(str(Path(__file__).with_name("sim.so")), mode=ctypes.RTLD_GLOBAL)
_library.sim_kernels.restype = ctypes.c_int64
_library.sim_set.argtypes = (ctypes.c_char_p, ctypes.c_double)
_library.sim_set_faults.argtypes = (ctypes.c_char_p,)


class SimError(Exception):
    """Error of a setting that does not exist."""


def configure(*, fault: str | None = None, **settings: float) -> None:
    """Set this process up from now on: `configure(kernel_us=100, fault="no_wait")`.

    Raises SimError.
    """
    if fault is not None:
        _library.sim_set_faults(fault.encode())
    for name, value in settings.items():
        if _library.sim_set(name.encode(), value):
            raise SimError(f"there is no setting {name!r}")


def kernels() -> int:
    """Return the number of launches so far, copies included."""
    return int(_library.sim_kernels())


class _Sim(ModuleType):
    """The module `torch.sim` with the functions that torch needs of a backend."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return bool(_library.sim_is_initialized())

    @staticmethod
    def device_count() -> int:
        return int(_library.sim_device_count())

    @staticmethod
    def current_device() -> int:
        return torch.accelerator.current_device_index()

    @staticmethod
    def set_device(device: Any) -> None:
        torch.accelerator.set_device_index(device)

    @staticmethod
    def synchronize(device: Any = None) -> None:
        torch.accelerator.synchronize(device)

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return bool(_library.sim_in_bad_fork())

    @staticmethod
    def manual_seed_all(_seed: int) -> None:
        """Random numbers come from the CPU's generator, which torch has seeded."""

    @staticmethod
    def get_rng_state(_device: Any = None) -> torch.Tensor:
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, _device: Any = None) -> None:
        torch.set_rng_state(state)


backend_registration.rename_privateuse1_backend(NAME)
torch._register_device_module(NAME, _Sim("torch.sim"))
backend_registration.generate_methods_for_privateuse1_backend()


def autoload() -> None:
    """The entry point `torch.backends`: its import has done all."""
