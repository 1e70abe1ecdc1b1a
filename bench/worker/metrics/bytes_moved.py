"""The least that a call must move between memory and processor.

Inputs, outputs and parameters once each; in training their gradients once each, those of the
former that backward needs again, and what the optimizer reads and writes: what a kernel a phase
would move that keeps all else in registers.  Real traffic is larger, so bytes/s made of it are a
lower bound, and those of a light layer come close to the memory's speed.
"""

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.worker.model import pieces, pytree


@dataclass(slots=True)
class BytesMoved:
    """Of one call, and of its phases, in bytes."""

    total: int
    by_phase: dict[str, int] = field(default_factory=dict)


def lower_bound(
    module: nn.Module,
    given: Any,
    output: Any,
    *,
    training: bool,
    writes_input: bool = False,
    saved: Collection[int] = (),
) -> BytesMoved:
    """Bytes of one call; in training of `forward`, `backward` and `optimizer`, SGD's.

    given:  the tree of inputs; output: what came of it.
    writes_input: the output stands where the input stood: read and written, so it counts twice.
    saved:  what autograd kept for the backward, as addresses of storages (`saved_by`).

    A module that only looks at its input in another way (Flatten of a contiguous tensor) moves
    nothing.  A sparse or nested tensor counts as those that it is made of.
    """
    inputs = _distinct(pytree.tensors(given))
    outputs = _distinct(pytree.tensors(output))
    parameters = list(pieces.all_of(module.parameters()))
    tables = _looked_up(module)
    storages = {address(one) for one in inputs}
    views = [address(one) in storages for one in outputs]
    if not parameters and not writes_input and views and all(views):
        phases = ("forward", "backward") if training else ("forward",)
        return BytesMoved(total=0, by_phase=dict.fromkeys(phases, 0))
    read = [one for one in parameters if id(one) not in tables]
    forward = sum(map(nbytes, (*inputs, *outputs, *read)))
    if not training:
        return BytesMoved(total=forward, by_phase={"forward": forward})
    dense = [one for one in parameters if one.requires_grad and not tables.get(id(one))]
    gradients = (*dense, *_with_gradients(given), *_with_gradients(output))
    again = _of_storages(saved, (*inputs, *outputs, *read))
    by_phase = {"forward": forward, "backward": sum(map(nbytes, gradients)) + again}
    if any(one.requires_grad for one in parameters):
        by_phase["optimizer"] = 3 * sum(map(nbytes, dense))  # reads both, writes the parameter
    return BytesMoved(total=sum(by_phase.values()), by_phase=by_phase)


def _with_gradients(tree_: Any) -> list[Tensor]:
    """The numbers, of a sparse or nested tensor not their places, that a gradient is made for."""
    trained = (one for one in pytree.tensors(tree_) if one.requires_grad)
    return [one for one in _distinct(trained) if one.is_floating_point() or one.is_complex()]


def saved_by(call: Callable[[], object]) -> set[int]:
    """What autograd keeps during a call for the backward in it, as addresses of storages.

    An address means what lies there while the call runs: its inputs, outputs and parameters.
    """
    found: set[int] = set()

    def keep(tensor: Tensor) -> Tensor:
        found.update(address(piece) for piece in pieces.of(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        call()
    return found


def _of_storages(addresses: Collection[int], tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors that lie there; of views of one storage no more than that has."""
    held: dict[int, list[Tensor]] = {}
    for one in tensors:
        held.setdefault(address(one), []).append(one)
    return sum(
        min(sum(map(nbytes, _distinct(own))), own[0].untyped_storage().nbytes())
        for where, own in held.items()
        if where in addresses
    )


def address(tensor: Tensor) -> int:
    """Of its storage, which all views of it share."""
    return tensor.untyped_storage().data_ptr()


def _looked_up(module: nn.Module) -> dict[int, bool]:
    """Tables of which a call reads a few rows alone; how many, its inputs say, not its shapes.

    By id of the table, whether its gradient is of those rows, too.
    """
    tables = (nn.Embedding, nn.EmbeddingBag)
    return {id(one.weight): one.sparse for one in module.modules() if isinstance(one, tables)}


def nbytes(tensor: Tensor) -> int:
    """Of its numbers; an expanded tensor has fewer in memory than its shape says."""
    sizes = (
        size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0
    )
    return math.prod(sizes) * tensor.element_size() if tensor.numel() else 0


def _distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Attention is given one tensor as query, key and value: it is read once."""
    seen: dict[object, Tensor] = {}
    for tensor in tensors:
        for piece in pieces.of(tensor):
            where = (piece.data_ptr(), tuple(piece.shape), piece.stride(), piece.dtype)
            seen.setdefault(where, piece)
    return list(seen.values())
