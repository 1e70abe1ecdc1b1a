"""Recognize exceptions that mean out of memory; torch and its libraries word them differently."""

import errno
import re
from collections.abc import Callable

import torch

# torch's allocators, the C library, and the codes of libraries that allocate for themselves:
# cuBLAS, cuDNN, cuFFT, rocBLAS, MIOpen, CUDA, HIP, Level Zero and Unified Runtime.
WORDS = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory|std::bad_alloc"
    r"|_STATUS_ALLOC_FAILED|_(?:DEVICE|HOST)_ALLOCATION_FAILED|CUFFT_ALLOC_FAILED"
    r"|rocblas_status_memory_error|miopenStatusAllocFailed"
    r"|ErrorMemoryAllocation|hipErrorOutOfMemory|OUT_OF_(?:DEVICE_|HOST_)?MEMORY"
    r"|(?:UR_RESULT|PI)_ERROR_OUT_OF_RESOURCES|Invalid buffer size"
)
# These have other causes, too: a library found no room for its workspace or its handle only where
# memory is nearly full.
ONLY_IF_FULL = re.compile(
    r"unable to find an engine|CU(?:BLAS|DNN)_STATUS_NOT_INITIALIZED"
    r"|HIPBLAS_STATUS_NOT_INITIALIZED",
    re.IGNORECASE,
)


def reason(
    error: BaseException, text: str, nearly_full: Callable[[], bool] = lambda: False
) -> str | None:
    """Return the line of the text that says it; None: memory is not what ended.

    text:        of the error, as it says itself, lines and all.
    nearly_full: whether the device has hardly any memory left.
    """
    lines = [one for one in (" ".join(line.split()) for line in text.splitlines()) if one]
    first = lines[0] if lines else type(error).__name__
    told = next((line for line in lines if WORDS.search(line)), None)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return told or first
    if isinstance(error, OSError):
        return first if error.errno == errno.ENOMEM else None
    if not isinstance(error, RuntimeError | ValueError):
        return None
    if told is None:
        perhaps = next((line for line in lines if ONLY_IF_FULL.search(line)), None)
        return perhaps if perhaps and nearly_full() else None
    return told
