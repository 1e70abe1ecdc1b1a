"""Say why torch finds no GPU, or not all, and what to do.  Pure.

There are three reasons: the build of torch, the driver, and a variable that hides GPUs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

HIDING = ("CUDA_VISIBLE_DEVICES",)
# AMD's runtime and its HIP read these; HIP also reads the one of CUDA.
HIDING_HIP = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", *HIDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The build of torch.  cuda, hip: the version that it is built for; None: without it."""

    torch: str
    cuda: str | None
    hip: str | None


def why(build: Build, problem: str | None, count: int, variables: Mapping[str, str]) -> str | None:
    """Return why a GPU is not found, and what to do; None if there is no reason that is known.

    problem: in the words of torch (`torch.cuda.init`), why it can use no GPU.
    count:   number of GPUs that torch finds.
    """
    hider = hiding_variable(build, variables)
    if count:
        if hider is None:
            return None
        return f"{hider}={variables[hider]} shows torch {count} of the GPUs, numbered from 0"
    if build.cuda is None and build.hip is None:
        return (
            f"torch {build.torch} is built for the CPU alone: install a build for your GPU "
            "(pytorch.org/get-started)"
        )
    made_for = f"CUDA {build.cuda}" if build.hip is None else f"ROCm {build.hip}"
    said = (problem or "").lower()
    if "no nvidia driver" in said:
        return (
            f"torch {build.torch} is built for {made_for}, and no NVIDIA driver is loaded: install "
            "it until nvidia-smi lists the GPU, or start the container with its GPUs (--gpus all)"
        )
    if "too old" in said:
        return (
            f"the NVIDIA driver is too old for the {made_for} of torch {build.torch}: update it, "
            "or install a build of torch for an older CUDA (pytorch.org/get-started)"
        )
    if hider is not None:
        value = variables[hider]
        return f"{hider}={value or repr(value)} hides the GPU: unset it, or name a GPU that exists"
    words = f" ({problem})" if problem else ""
    return f"torch {build.torch} is built for {made_for} and can use no GPU{words}"


def hiding_variable(build: Build, variables: Mapping[str, str]) -> str | None:
    """Return the variable that says which GPUs torch may see, if one is set."""
    names = HIDING if build.hip is None else HIDING_HIP
    return next((name for name in names if name in variables), None)
