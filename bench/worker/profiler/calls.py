"""Details of each call of a module: what it is set to, what goes in and what comes out."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.worker.model import pytree

MOST_TEXT = 300  # characters of a module's settings
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
EITHER = "either"  # of a tensor whose order of bytes is that of both formats


@dataclass(slots=True)
class CallDetails:
    """One call of a module in one step; formats and dtypes are those of the first tensors."""

    row: str
    module: str
    type: str
    training: bool
    settings: str  # as the module prints them
    weights: str  # shapes and dtypes of its own parameters
    input_format: str = ""
    input_dtype: str = ""
    output_format: str = ""
    output_dtype: str = ""
    output_shape: str = ""


@dataclass(slots=True)
class CallRecorder:
    """Records the details of all calls, in the order in which they begin."""

    found: dict[str, CallDetails] = field(default_factory=dict)

    def begins(self, row: str, name: str, module: nn.Module, given: Any) -> None:
        """Note a call and its input.  given: the arguments."""
        one = _first(given)
        self.found[row] = CallDetails(
            row=row,
            module=name,
            type=type(module).__name__,
            training=module.training,
            settings=_settings(module),
            weights=_weights(module),
            input_format="" if one is None else memory_format(one),
            input_dtype="" if one is None else _dtype(one),
        )

    def ends(self, row: str, output: Any) -> None:
        one, seen = _first(output), self.found.get(row)
        if one is not None and seen is not None:
            seen.output_format, seen.output_dtype = memory_format(one), _dtype(one)
            with contextlib.suppress(RuntimeError):  # a nested tensor has none
                seen.output_shape = "x".join(map(str, one.shape))


def memory_format(tensor: Tensor) -> str:
    """Return `contiguous`, `channels_last`, `either` or `strided`; empty if it has no formats."""
    if tensor.layout is not torch.strided or tensor.ndim not in (4, 5):
        return ""
    last = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    is_last = tensor.is_contiguous(memory_format=last)
    match tensor.is_contiguous(), is_last:
        case True, True:
            return EITHER
        case True, False:
            return "contiguous"
        case False, True:
            return "channels_last"
    return "strided"


def _first(values: Any) -> Tensor | None:
    """Return the first tensor with numbers that are not integers, else the first one."""
    tensors = list(pytree.tensors(values))
    floating = (one for one in tensors if one.is_floating_point() or one.is_complex())
    return next(floating, tensors[0] if tensors else None)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _settings(module: nn.Module) -> str:
    """Return what the module prints about itself; a module of the user's may fail to."""
    try:
        text = module.extra_repr()
    except Exception:
        return ""
    # `<function f at 0x7f…>` has another address in each process, and is the same setting.
    return " ".join(_ADDRESS.sub("", str(text)).split())[:MOST_TEXT]


def _weights(module: nn.Module) -> str:
    own: Mapping[str, Tensor] = dict(module.named_parameters(recurse=False))
    shapes = (f"{name} {'x'.join(map(str, one.shape))} {_dtype(one)}" for name, one in own.items())
    return ", ".join(shapes)[:MOST_TEXT]
