"""Fake of torch.compile without inductor: dynamo's graphs, guards and counters, eager code."""

from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from bench.worker.model import torch_compile


def install(patch: pytest.MonkeyPatch) -> None:
    """Put the fake in place of the compiler, as in a process that has compiled nothing."""

    def compile_module(module: nn.Module, mode: str, _device_type: str) -> Any:
        if mode == torch_compile.OFF:
            return module
        return torch.compile(module, backend="eager", dynamic=False)

    patch.setattr(torch_compile, "compile_module", compile_module)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        patch.setenv(name, "")  # a case sets them: so that they are put back
    torch._dynamo.reset()
    counters.clear()
