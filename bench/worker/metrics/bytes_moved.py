"""The least number of bytes that a call must move between memory and processor.

Inputs, outputs and parameters count once each.  In training their gradients count once each, and so
do the tensors of the forward that the backward reads again, and the reads and writes of the
optimizer.  A kernel per phase that keeps everything else in registers would move so many.  Real
traffic is larger: bytes/s from this number are a lower bound, and those of a light layer come close
to the speed of the memory.
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
    """Bytes moved by one call and by each of its phases."""

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
    """Return the bytes of one call; in training of `forward`, `backward` and `optimizer` (SGD).

    given:        the tree of inputs.
    output:       the result of the call.
    writes_input: the output is stored where the input was: read and written, so it counts twice.
    saved:        addresses of storages that autograd kept for the backward (`saved_by`).

    A module that only makes another view of its input (Flatten of a contiguous tensor) moves
    nothing.  A sparse or nested tensor counts as its component tensors.
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
    """Return the tensors that get a gradient; of sparse and nested tensors their values, not
    indices.
    """
    trained = (one for one in pytree.tensors(tree_) if one.requires_grad)
    return [one for one in _distinct(trained) if one.is_floating_point() or one.is_complex()]


def saved_by(call: Callable[[], object]) -> set[int]:
    """Return the addresses of the storages that autograd keeps during a call for its backward.

    An address is valid for what lies there while the call runs: inputs, outputs and parameters.
    """
    found: set[int] = set()

    def keep(tensor: Tensor) -> Tensor:
        found.update(address(piece) for piece in pieces.of(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        call()
    return found


def _of_storages(addresses: Collection[int], tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the tensors at these addresses; views of one storage count no more than
    it has.
    """
    held: dict[int, list[Tensor]] = {}
    for one in tensors:
        held.setdefault(address(one), []).append(one)
    return sum(
        min(sum(map(nbytes, _distinct(own))), own[0].untyped_storage().nbytes())
        for where, own in held.items()
        if where in addresses
    )


def address(tensor: Tensor) -> int:
    """Return the address of the tensor's storage, which all its views share."""
    return tensor.untyped_storage().data_ptr()


def _looked_up(module: nn.Module) -> dict[int, bool]:
    """Return the tables of which a call reads a few rows only: its inputs decide how many.

    By id of the table: whether its gradient has those rows only, too.
    """
    tables = (nn.Embedding, nn.EmbeddingBag)
    return {id(one.weight): one.sparse for one in module.modules() if isinstance(one, tables)}


def nbytes(tensor: Tensor) -> int:
    """Return the bytes of the numbers; an expanded tensor has fewer than its shape says."""
    sizes = (
        size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != 0
    )
    return math.prod(sizes) * tensor.element_size() if tensor.numel() else 0


def _distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Drop duplicates: attention gets one tensor as query, key and value, and reads it once."""
    seen: dict[object, Tensor] = {}
    for tensor in tensors:
        for piece in pieces.of(tensor):
            where = (piece.data_ptr(), tuple(piece.shape), piece.stride(), piece.dtype)
            seen.setdefault(where, piece)
    return list(seen.values())
