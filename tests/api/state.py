"""Everything of a process and of models that a measurement must leave as it was."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.worker.checks import state
from bench.worker.device import cuda


def of_process() -> dict[str, Any]:
    """Switches and random state, comparable by ==."""
    return {
        **state.switches(),
        "cudnn_benchmark": cuda.cudnn_benchmark(),
        "precisions": cuda.precisions(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "python": random.getstate(),
        "numpy": repr(np.random.get_state()),
        "cuda": _of_cuda(),
    }


def _of_cuda() -> list[bytes]:
    """Random state of each device, where there is one that was used."""
    if not torch.cuda.is_initialized():
        return []
    return [one.numpy().tobytes() for one in torch.cuda.get_rng_state_all()]


def of_module(module: nn.Module) -> dict[str, Any]:
    """Numbers bit for bit, addresses, versions, gradients, modes, hooks and attributes."""
    found: dict[str, Any] = {}
    for name, one in (*module.named_parameters(), *module.named_buffers()):
        gradient = one.grad
        found[name] = (
            id(one),
            one.data_ptr(),
            one.stride(),
            one._version,
            one.requires_grad,
            one.detach().cpu().contiguous().numpy().tobytes(),
            id(gradient),
            None if gradient is None else gradient.cpu().numpy().tobytes(),
        )
    for name, inner in module.named_modules():
        found[f"{name} attributes"] = {
            key: (id(value), repr(value) if isinstance(value, dict | list | set | int) else None)
            for key, value in vars(inner).items()
            if key not in ("_parameters", "_buffers", "_modules")
        }
    return found


def unchanged(call: Callable[[], object], *modules: nn.Module) -> object:
    """Return the result of a call.  Fail if it changed the process or one of these modules."""
    before = of_process(), [of_module(one) for one in modules]
    try:
        return call()
    finally:
        assert of_process() == before[0]
        assert [of_module(one) for one in modules] == before[1]
