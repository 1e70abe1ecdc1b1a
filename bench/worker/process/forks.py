"""Tells whether forks of this process can use an accelerator: not after its driver was initialised.

torch knows what torch did itself, and includes a mere `torch.cuda.is_available()`: that leaves
`torch.cuda.is_initialized()` False, and yet calls cuInit.  A driver that another library has
initialised (cupy, triton, flash-attn) is unknown to torch, so the driver itself is asked.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.worker.device import torch_private

CUDA_LIBRARY = "libcuda.so.1"
NOT_INITIALIZED = 3  # CUDA_ERROR_NOT_INITIALIZED (cuda.h): also what cuInit answers in a bad fork


def driver_started() -> bool:
    """Return whether a driver was initialised in this process, so that its forks are bad.

    Initialises none.  Call it in the process that forks; a torch for AMD or Intel forks once.
    """
    return (
        _torch_started_a_driver()
        or _cuda_started()
        or any(_bad_in_a_fork(type_) for type_ in _types_that_a_fork_tells())
    )


def cannot_use(device: str) -> bool:
    """Return, in a forked child, whether it cannot use this device.  May initialise the driver."""
    type_ = device.partition(":")[0]
    if torch_private.in_bad_fork(type_):
        return True
    driver = _loaded(CUDA_LIBRARY) if type_ == "cuda" else None
    return driver is not None and driver.cuInit(0) == NOT_INITIALIZED


def _torch_started_a_driver() -> bool:
    return any(
        bool(getattr(getattr(torch, name, None), "is_initialized", lambda: False)())
        for name in ("cuda", "xpu")
    )


def _cuda_started() -> bool:
    """Return whether cuInit was called: before it every function of the driver fails.

    Without a GPU they fail after it as well: then no case needs one (CUDA Driver API,
    Initialization).
    """
    driver = _loaded(CUDA_LIBRARY)
    return driver is not None and driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) == 0


def _loaded(library: str) -> Any | None:
    """Return the library if it is loaded in this process; otherwise nothing has initialised it."""
    try:
        return ctypes.CDLL(library, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except (OSError, AttributeError):  # not loaded; not Linux
        return None


def _types_that_a_fork_tells() -> Sequence[str]:
    """Return the types of device about which torch is asked in a fork, because no driver tells."""
    version: Any = torch.version
    asked = (("cuda", "hip", "/dev/kfd"), ("xpu", "xpu", "/dev/dri"))
    return [
        type_
        for type_, build, there in asked
        if getattr(version, build, None) and Path(there).exists()
    ]


def _bad_in_a_fork(
    device_type: str, is_bad: Callable[[str], bool] = torch_private.in_bad_fork
) -> bool:
    """Ask torch in a fork that ends at once."""
    pid = os.fork()
    if pid == 0:
        code = 0
        with contextlib.suppress(BaseException):  # nothing of it may run on
            code = int(is_bad(device_type))
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
