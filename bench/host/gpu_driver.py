"""Keep the driver of NVIDIA GPUs loaded while a command measures.

Without persistence mode the driver leaves a GPU when its last process ends, and starts it again
for the next one, which takes 1 to 3 s (NVIDIA, Driver Persistence).  Each case is a process of its
own.  A handle of NVML keeps it there, makes no context of CUDA, and so leaves forks alone.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any


@contextlib.contextmanager
def kept_loaded(devices: Iterable[str], nvml: Any = None) -> Iterator[None]:
    """Keep the driver loaded inside the block, if a `cuda` device is given and NVML exists.

    nvml: the bindings; None: the real ones.
    """
    if not any(name.partition(":")[0] == "cuda" for name in devices):
        yield
        return
    library = nvml or _bindings()
    held = library is not None and _hold(library)
    try:
        yield
    finally:
        if held:
            with contextlib.suppress(library.NVMLError):
                library.nvmlShutdown()


def _bindings() -> Any:
    """Return the bindings of NVML, or None if they do not load."""
    try:
        import pynvml  # it takes 20 ms, which commands without a GPU save
    except ImportError:
        return None
    return pynvml


def _hold(nvml: Any) -> bool:
    """Open NVML for all GPUs, because torch numbers them differently.  Return whether it opened."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return False
    with contextlib.suppress(nvml.NVMLError):
        for index in range(nvml.nvmlDeviceGetCount()):
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlDeviceGetHandleByIndex(index)  # not before this the GPU is started
    return True
