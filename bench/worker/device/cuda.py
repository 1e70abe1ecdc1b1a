"""Functions that only CUDA has (NVIDIA's, and AMD's ROCm under the same name in torch).

Importable, and its flags settable, on a machine without a GPU.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pynvml
import torch

from bench.core import no_gpu as why_no_gpu
from bench.core.text import error_line

# In torch's warning of a wait (`c10/cuda/CUDAFunctions.cpp`).
SYNCHRONIZES = "called a synchronizing CUDA operation"
Tf32 = Literal["default", "off", "on"]  # values of the axis
_backends: Any = torch.backends  # replaced at run time by objects that its annotations lack


OVERRIDE = "NVIDIA_TF32_OVERRIDE"  # 0 or 1 (NVIDIA, cuBLAS and cuDNN documentation)
PRODUCT = 512  # n × n: as in the controls, and large enough for tensor cores
MOST_WORDS = 160  # characters of an error of torch
TF32_ERROR = 1e-5  # relative, between what float32 and TF32 make


class CudaError(Exception):
    """A flag did not take the value that it was given."""


def has_tf32(index: int) -> bool:
    """Return whether a GPU has TensorFloat-32: NVIDIA's, from compute capability 8.0 (Ampere)."""
    if torch.version.hip is not None or not torch.cuda.is_available():
        return False
    return torch.cuda.get_device_capability(index) >= (8, 0)


def no_gpu(count: int) -> str | None:
    """Return why torch finds no GPU, or not all; None if no reason is known.

    count: number of GPUs that it finds.  May initialise the driver, so never before a fork.
    """
    build = why_no_gpu.Build(
        torch=torch.__version__, cuda=torch.version.cuda, hip=torch.version.hip
    )
    problem = None
    if not count and (build.cuda or build.hip):
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            problem = error_line(error, MOST_WORDS)
    return why_no_gpu.why(build, problem, count, os.environ)


def capability(device: str) -> tuple[int, int] | None:
    """Return the compute capability of an NVIDIA GPU, such as (9, 0); None for any other device."""
    type_, _, index = device.partition(":")
    if type_ != "cuda" or torch.version.hip is not None or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_capability(int(index or 0))


def set_cudnn_benchmark(on: bool) -> None:
    """Set cuDNN's benchmark mode.  Call it before the model is built.  Raises CudaError.

    cuDNN chooses algorithms once for each shape and process.
    """
    torch.backends.cudnn.benchmark = on
    if cudnn_benchmark() is not on:
        raise CudaError(f"cudnn_benchmark was set to {on} and reads {not on}")


def cudnn_benchmark() -> bool:
    """Return whether cuDNN's benchmark mode is on in this process."""
    return bool(torch.backends.cudnn.benchmark)


@contextlib.contextmanager
def untuned() -> Iterator[None]:
    """Make cuDNN choose algorithms without a search, and keep none of them for outside the block.

    It keeps them by shape and by `deterministic` (ConvolutionParams in ATen/native/cudnn).  So a
    call inside loads libraries, handles and kernels, and leaves the search of benchmark mode to
    the first call outside.
    """
    flags = torch.backends.cudnn
    before = flags.benchmark, flags.deterministic
    flags.benchmark, flags.deterministic = False, True
    try:
        yield
    finally:
        flags.benchmark, flags.deterministic = before


def l2_bytes(device: str) -> int | None:
    """Return the bytes of the L2 cache; None if unknown or on a device that is not CUDA."""
    type_, _, index = device.partition(":")
    if type_ != "cuda":
        return None
    properties = torch.cuda.get_device_properties(int(index or 0))
    return getattr(properties, "L2_cache_size", None) or None


def waits_for_device(device: str, call: Callable[[], object]) -> bool:
    """Return whether a call itself waits for its CUDA device, for example by `.item()`.

    It is False on other devices.  torch warns of most such waits
    (`torch.cuda.set_sync_debug_mode`).  The mode is put back.
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
    """Return the TF32 mode in force; `mixed` if the operations differ, which cannot be set."""
    used = {name for name, precision in tf32_precisions().items() if precision == "tf32"}
    states: dict[frozenset[str], Tf32] = {
        frozenset(): "off",
        frozenset({"conv", "rnn"}): "default",
        frozenset({"conv", "rnn", "matmul"}): "on",
    }
    return states.get(frozenset(used), "mixed")


def tf32_precisions() -> dict[str, str]:
    """Return the precision of each operation: `tf32`, `ieee` or `none` (not set, so IEEE)."""
    return {
        "conv": str(_backends.cudnn.conv.fp32_precision),
        "rnn": str(_backends.cudnn.rnn.fp32_precision),
        "matmul": str(_backends.cuda.matmul.fp32_precision),
    }


def tf32_in_products(device: str) -> Literal["off", "on"] | None:
    """Return whether a matrix product on this device uses TF32; None without room for one.

    NVIDIA_TF32_OVERRIDE overrules every flag inside cuBLAS and cuDNN, and no flag shows it.  Held
    against float64, float32 is off by 1e-7 of the product, and TF32, with a mantissa of 10 bits
    (NVIDIA, Ampere tuning guide), by 3e-4.
    """
    numbers = torch.Generator().manual_seed(0)  # the case's own random numbers are left alone
    try:
        one, other = (torch.randn(PRODUCT, PRODUCT, generator=numbers).to(device) for _ in range(2))
        with torch.inference_mode(), torch.autocast(device.partition(":")[0], enabled=False):
            exact = torch.mm(one.to(torch.float64), other.to(torch.float64))
            error = (torch.mm(one, other).to(torch.float64) - exact).norm() / exact.norm()
    except torch.OutOfMemoryError:
        return None
    return "on" if float(error) > TF32_ERROR else "off"


def tf32_override() -> str | None:
    """Return `NVIDIA_TF32_OVERRIDE=0`, which overrules the flags; None if it is not set."""
    value = os.environ.get(OVERRIDE)
    return None if value is None else f"{OVERRIDE}={value}"


def precisions() -> tuple[str | None, bool | None, dict[str, str]]:
    """Return the older settings (None: unreadable) and the newer, for `restore_precisions`."""
    older: tuple[str | None, bool | None]
    try:
        older = torch.get_float32_matmul_precision(), bool(torch.backends.cudnn.allow_tf32)
    except RuntimeError:  # set through the newer way, which the older does not read
        older = None, None
    return (*older, tf32_precisions())


def restore_precisions(stood: tuple[str | None, bool | None, dict[str, str]]) -> None:
    """Restore the settings that `precisions` returned, through the same interface of torch."""
    matmul, cudnn, by_operation = stood
    if precisions() == stood:
        return
    if matmul is not None and cudnn is not None:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn
    if tf32_precisions() != by_operation:
        _backends.cudnn.conv.fp32_precision = by_operation["conv"]
        _backends.cudnn.rnn.fp32_precision = by_operation["rnn"]
        _backends.cuda.matmul.fp32_precision = by_operation["matmul"]


def nvml_handle(uuid: str, nvml: Any = pynvml) -> Any | None:
    """Return NVML's handle of torch's device, or None.  NVML has to be initialised.

    By UUID: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER renumber torch's devices, not NVML's.
    torch leaves the prefix out (`torch.cuda.get_device_properties(0).uuid`).
    """
    for prefix in ("GPU-", "MIG-") if uuid else ():
        try:
            return nvml.nvmlDeviceGetHandleByUUID(prefix + uuid)
        except nvml.NVMLError:
            continue
    return None
