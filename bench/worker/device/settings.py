"""Apply a case's settings to this process.  One process a case, so nothing is put back."""

from typing import cast

import torch

from bench.core.records import Case
from bench.worker.device import cuda


def apply(case: Case) -> None:
    """Before the subject is built: cuDNN's mode has to stand before its first use."""
    if case.threads is not None and case.threads != "auto":
        torch.set_num_threads(int(case.threads))
    if case.cudnn_benchmark is not None:
        cuda.set_cudnn_benchmark(case.cudnn_benchmark == "on")
    if case.tf32 is not None:
        cuda.set_tf32(cast(cuda.Tf32, case.tf32))
