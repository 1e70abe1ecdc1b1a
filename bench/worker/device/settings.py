"""Apply settings to this process, by axis."""

from collections.abc import Callable, Mapping
from typing import cast

import torch

from bench.worker.device import cuda


def _set_threads(value: str) -> None:
    if value != "auto":
        torch.set_num_threads(int(value))


def _set_cudnn_benchmark(value: str) -> None:
    cuda.set_cudnn_benchmark(value == "on")


def _set_tf32(value: str) -> None:
    cuda.set_tf32(cast(cuda.Tf32, value))


# The axes whose values are switches of a process.  Others are applied to the module or to a call.
SET: Mapping[str, Callable[[str], None]] = {
    "threads": _set_threads,
    "cudnn_benchmark": _set_cudnn_benchmark,
    "tf32": _set_tf32,
}


def apply(values: Mapping[str, object]) -> None:
    """Set the switches of this process; None leaves a switch as it is.  Nothing is put back.

    values: by axis; axes without a switch are ignored.  For a case it is called before the subject
    is built, since cuDNN's mode has to stand before its first use.
    """
    for name, switch in SET.items():
        if (value := values.get(name)) is not None:
            switch(str(value))
