"""torch.compile without inductor: graphs, guards and counters are dynamo's, the code is eager."""

from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from bench.worker.model import torch_compile


def install(patch: pytest.MonkeyPatch) -> None:
    """In place of the compiler, as in a process that has compiled nothing."""

    def compile_module(module: nn.Module, mode: str, _device_type: str) -> Any:
        if mode == torch_compile.OFF:
            return module
        return torch.compile(module, backend="eager", dynamic=False)

    patch.setattr(torch_compile, "compile_module", compile_module)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        patch.setenv(name, "")  # a case sets them: so that they are put back
    torch._dynamo.reset()
    counters.clear()
