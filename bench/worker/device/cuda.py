"""What CUDA alone has (NVIDIA's, and AMD's ROCm under the same name in torch).

Importable, and its flags settable, on a machine without a GPU.
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import pynvml
import torch

# In torch's warning of a wait (`c10/cuda/CUDAFunctions.cpp`).
SYNCHRONIZES = "called a synchronizing CUDA operation"
Tf32 = Literal["default", "off", "on"]  # values of the axis
_backends: Any = torch.backends  # replaced at run time by objects that its annotations lack


class CudaError(Exception):
    """A flag did not take the value that it was given."""


def has_tf32(index: int) -> bool:
    """TensorFloat-32 came with compute capability 8.0 (Ampere); torch's flag is NVIDIA's only."""
    if torch.version.hip is not None or not torch.cuda.is_available():
        return False
    return torch.cuda.get_device_capability(index) >= (8, 0)


def set_cudnn_benchmark(on: bool) -> None:
    """Before the model is built: cuDNN tunes once per shape and process.  Raises CudaError."""
    torch.backends.cudnn.benchmark = on
    if cudnn_benchmark() is not on:
        raise CudaError(f"cudnn_benchmark was set to {on} and reads {not on}")


def cudnn_benchmark() -> bool:
    """The state in force."""
    return bool(torch.backends.cudnn.benchmark)


def prime_cudnn(
    device: str, dtype: torch.dtype = torch.float32, *, channels_last: bool = False
) -> None:
    """Use cuDNN once, forward and backward, with a shape that no case has.

    Its handles and the kernels of this arithmetic are then loaded, so that the first call with the
    case's own shape shows the search of benchmark mode (`tuning_s`), and little else.  Who times
    that call waits for the device before.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    image = torch.zeros(1, 8, 11, 13, device=device, dtype=dtype).contiguous(memory_format=layout)
    kernel = torch.zeros(16, 8, 3, 3, device=device, dtype=dtype).contiguous(memory_format=layout)
    output = torch.nn.functional.conv2d(image.requires_grad_(), kernel.requires_grad_())
    output.sum().backward()


def l2_bytes(device: str) -> int | None:
    """Of the last cache before memory; None where the driver does not tell, or no CUDA device."""
    type_, _, index = device.partition(":")
    if type_ != "cuda":
        return None
    properties = torch.cuda.get_device_properties(int(index or 0))
    return getattr(properties, "L2_cache_size", None) or None


def waits_for_device(device: str, call: Callable[[], object]) -> bool:
    """Whether a call waits for its CUDA device itself, e.g. by `.item()`.  False on other devices.

    torch warns of most such waits (`torch.cuda.set_sync_debug_mode`).  The mode is put back.
    """
    if device.partition(":")[0] != "cuda":
        return False
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return any(SYNCHRONIZES in str(one.message) for one in said)


def set_tf32(setting: Tf32) -> None:
    """Set it for convolutions, recurrent layers and matrix products.  Raises CudaError.

    default: as torch comes, without matrix products.

    torch has an older and a newer way (`allow_tf32`, `fp32_precision`), and reading the older
    after setting the newer raises; Inductor reads both (`_inductor/codecache.py`,
    `_inductor/kernel/conv.py`).  The older setters keep both in step; what they inherit from is
    put back to torch's default first, so that nothing set before shows through.
    """
    _backends.fp32_precision = "none"
    _backends.cudnn.fp32_precision = "none"
    torch.set_float32_matmul_precision("high" if setting == "on" else "highest")
    torch.backends.cudnn.allow_tf32 = setting != "off"
    if tf32_state() != setting:
        raise CudaError(f"tf32 was set to {setting} and reads {tf32_precisions()}")


def tf32_state() -> Tf32 | Literal["mixed"]:
    """The state in force; `mixed` is none that can be set."""
    used = {name for name, precision in tf32_precisions().items() if precision == "tf32"}
    states: dict[frozenset[str], Tf32] = {
        frozenset(): "off",
        frozenset({"conv", "rnn"}): "default",
        frozenset({"conv", "rnn", "matmul"}): "on",
    }
    return states.get(frozenset(used), "mixed")


def tf32_precisions() -> dict[str, str]:
    """By operation, as torch resolves it: `tf32`, `ieee` or `none` (nobody asked: IEEE)."""
    return {
        "conv": str(_backends.cudnn.conv.fp32_precision),
        "rnn": str(_backends.cudnn.rnn.fp32_precision),
        "matmul": str(_backends.cuda.matmul.fp32_precision),
    }


def nvml_handle(uuid: str, nvml: Any = pynvml) -> Any | None:
    """NVML's handle of torch's device, or None.  NVML has to be initialised.

    By UUID: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER renumber torch's devices, not NVML's.
    torch leaves the prefix out (`torch.cuda.get_device_properties(0).uuid`).
    """
    for prefix in ("GPU-", "MIG-") if uuid else ():
        try:
            return nvml.nvmlDeviceGetHandleByUUID(prefix + uuid)
        except nvml.NVMLError:
            continue
    return None
