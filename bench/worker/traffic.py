"""The least that a call must move between memory and processor.

Inputs, outputs and parameters once each, and in training their gradients once each: what a
kernel would move that keeps all else in registers.  Real traffic is larger, so bytes/s made of
it are a lower bound, and those of a light layer come close to the memory's speed.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from bench.worker import tree


@dataclass(slots=True)
class Traffic:
    """Of one call, and of its phases, in bytes."""

    total: int
    by_phase: dict[str, int] = field(default_factory=dict)


def least(
    module: nn.Module,
    given: Any,
    output: Any,
    *,
    training: bool,
    writes_input: bool = False,
) -> Traffic:
    """Bytes of one call; in training of `forward` and `backward` (the optimizer's left out).

    given:  the tree of inputs; output: what came of it.
    writes_input: the output stands where the input stood: read and written, so it counts twice.

    A module that only looks at its input in another way (Flatten of a contiguous tensor) moves
    nothing.
    """
    inputs = _distinct(list(tree.tensors(given)))
    outputs = _distinct(list(tree.tensors(output)))
    parameters = list(module.parameters())
    tables = _looked_up(module)
    storages = {one.untyped_storage().data_ptr() for one in inputs}
    views = [one.untyped_storage().data_ptr() in storages for one in outputs]
    if not parameters and not writes_input and views and all(views):
        phases = ("forward", "backward") if training else ("forward",)
        return Traffic(total=0, by_phase=dict.fromkeys(phases, 0))
    read = [one for one in parameters if id(one) not in tables]
    forward = sum(map(nbytes, (*inputs, *outputs, *read)))
    if not training:
        return Traffic(total=forward, by_phase={"forward": forward})
    gradients = (
        *(one for one in (*inputs, *parameters) if one.requires_grad),
        *(one for one in outputs if one.requires_grad),
    )
    backward = sum(map(nbytes, gradients))
    return Traffic(total=forward + backward, by_phase={"forward": forward, "backward": backward})


def _looked_up(module: nn.Module) -> set[int]:
    """Tables of which a call reads a few rows alone; how many, its inputs say, not its shapes."""
    tables = (nn.Embedding, nn.EmbeddingBag)
    return {id(one.weight) for one in module.modules() if isinstance(one, tables)}


def nbytes(tensor: Tensor) -> int:
    """Of its numbers; an expanded tensor has fewer in memory than its shape says."""
    sizes = (
        size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0
    )
    return math.prod(sizes) * tensor.element_size() if tensor.numel() else 0


def _distinct(tensors: list[Tensor]) -> list[Tensor]:
    """Attention is given one tensor as query, key and value: it is read once."""
    seen: dict[object, Tensor] = {}
    for tensor in tensors:
        where = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        seen.setdefault(where, tensor)
    return list(seen.values())
