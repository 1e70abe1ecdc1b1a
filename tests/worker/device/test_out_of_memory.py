"""The many words for memory that ended, and those that only sound like it."""

import errno

import pytest
import torch

from bench.worker import case_process
from bench.worker.device import out_of_memory
from bench.worker.device.device import free_share

SAID_IN_FULL = """CUDA error: out of memory
Search for `cudaErrorMemoryAllocation' in the CUDA documentation for more information.
CUDA kernel errors might be asynchronously reported at some other API call.
"""


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cuSOLVER error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
        "Triton Error [CUDA]: out of memory",
        "HIP out of memory. Tried to allocate 20.00 MiB",
        "HIP error: hipErrorOutOfMemory",
        "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
        "miopenStatusAllocFailed",
        "XPU out of memory. Tried to allocate 8.00 GiB",
        "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "Native API failed. Native API returns: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
        "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES)",
        "MPS backend out of memory (MPS allocated: 9.00 GB, max allowed: 9.07 GB)",
        "Invalid buffer size: 300.00 GiB",
    ],
)
def test_every_library_has_its_own_words_for_memory_that_ended(text: str) -> None:
    assert case_process.describe(RuntimeError(text)) == ("oom", text)


def test_the_reason_is_the_line_that_says_it() -> None:
    error = torch.AcceleratorError(SAID_IN_FULL)
    assert case_process.describe(error) == ("oom", "CUDA error: out of memory")
    wrapped = RuntimeError("backend='inductor' raised:\nRuntimeError: CUDA error: out of memory\n")
    assert case_process.describe(wrapped) == ("oom", "RuntimeError: CUDA error: out of memory")


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered",
        "out of resource: shared memory, Required: 262144, Hardware limit: 232448",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_other_faults_of_a_device_stay_errors(text: str) -> None:
    assert case_process.describe(RuntimeError(text), lambda: True)[0] == "error"


@pytest.mark.parametrize(
    "text",
    [
        "Unable to find an engine to execute this computation",
        "GET was unable to find an engine to execute this computation",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    ],
)
def test_words_with_other_causes_mean_memory_only_where_it_is_nearly_full(text: str) -> None:
    assert case_process.describe(RuntimeError(text), lambda: True) == ("oom", text)
    assert case_process.describe(RuntimeError(text), lambda: False)[0] == "error"


def test_whether_memory_is_full_is_asked_only_where_it_matters() -> None:
    def asked() -> bool:
        raise AssertionError("the device may be beyond answering")

    assert case_process.describe(RuntimeError("shapes do not fit"), asked)[0] == "error"
    assert case_process.describe(RuntimeError("CUDA out of memory."), asked)[0] == "oom"


def test_a_call_of_the_host_that_finds_no_memory_is_known_by_its_number() -> None:
    assert out_of_memory.reason(OSError(errno.ENOMEM, "x"), "[Errno 12] x") == "[Errno 12] x"
    assert out_of_memory.reason(OSError(errno.ENOENT, "x"), "out of memory") is None


class Memory:
    """Stands for `torch.accelerator`: a device of 80 GB."""

    def __init__(self, free: int, reserved: int, allocated: int) -> None:
        self.free = free
        self.stats = {
            "reserved_bytes.all.current": reserved,
            "allocated_bytes.all.current": allocated,
        }

    def get_memory_info(self, index: int) -> tuple[int, int]:
        assert index == 1
        return self.free, 80

    def memory_stats(self, index: int) -> dict[str, int]:
        assert index == 1
        return self.stats


def test_memory_that_torch_keeps_unused_is_free() -> None:
    assert free_share("cuda:1", Memory(free=4, reserved=76, allocated=76)) == 0.05
    assert free_share("cuda:1", Memory(free=4, reserved=76, allocated=36)) == 0.55


def test_a_device_that_does_not_tell_its_memory_is_not_known_to_be_full() -> None:
    class Silent(Memory):
        def get_memory_info(self, index: int) -> tuple[int, int]:
            raise NotImplementedError(index)

    assert free_share("cuda:1", Silent(0, 0, 0)) is None
