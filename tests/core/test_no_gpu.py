"""A GPU that is not found: the message says which of the reasons it is, and what to do."""

import pytest

from bench.core.no_gpu import Build, why

CPU = Build(torch="2.13.0+cpu", cuda=None, hip=None)
CUDA = Build(torch="2.13.0+cu130", cuda="13.0", hip=None)
HIP = Build(torch="2.13.0+rocm7.1", cuda=None, hip="7.1")
NO_DRIVER = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"
NO_GPUS = "No CUDA GPUs are available"
HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("build", "problem", "variables", "says"),
    [
        (
            CPU,
            None,
            HIDDEN,
            (
                "torch 2.13.0+cpu is built for the CPU alone: install a build for your GPU "
                "(pytorch.org/get-started)"
            ),
        ),
        (
            CUDA,
            NO_DRIVER,
            HIDDEN,
            (
                "torch 2.13.0+cu130 is built for CUDA 13.0, and no NVIDIA driver is loaded: "
                "install it until nvidia-smi lists the GPU, or start the container with its GPUs "
                "(--gpus all)"
            ),
        ),
        (
            CUDA,
            "The NVIDIA driver on your system is too old (found version 11040).",
            {},
            (
                "the NVIDIA driver is too old for the CUDA 13.0 of torch 2.13.0+cu130: update it, "
                "or install a build of torch for an older CUDA (pytorch.org/get-started)"
            ),
        ),
        (
            CUDA,
            NO_GPUS,
            HIDDEN,
            "CUDA_VISIBLE_DEVICES='' hides the GPU: unset it, or name a GPU that exists",
        ),
        (
            CUDA,
            NO_GPUS,
            {"CUDA_VISIBLE_DEVICES": "7", "HIP_VISIBLE_DEVICES": "0"},
            "CUDA_VISIBLE_DEVICES=7 hides the GPU: unset it, or name a GPU that exists",
        ),
        (
            HIP,
            "No HIP GPUs are available",
            {"ROCR_VISIBLE_DEVICES": "-1"},
            "ROCR_VISIBLE_DEVICES=-1 hides the GPU: unset it, or name a GPU that exists",
        ),
        (
            CUDA,
            NO_GPUS,
            {},
            (
                "torch 2.13.0+cu130 is built for CUDA 13.0 and can use no GPU (No CUDA GPUs are "
                "available)"
            ),
        ),
    ],
)
def test_the_reason_for_no_gpu_is_named_with_what_to_do(
    build: Build, problem: str | None, variables: dict[str, str], says: str
) -> None:
    assert why(build, problem, 0, variables) == says


def test_of_several_gpus_those_that_are_hidden_are_told() -> None:
    assert why(CUDA, None, 1, {}) is None
    assert why(CUDA, None, 1, {"CUDA_VISIBLE_DEVICES": "1"}) == (
        "CUDA_VISIBLE_DEVICES=1 shows torch 1 of the GPUs, numbered from 0"
    )
