"""The tensors of which a tensor consists: those with strides, whose storage has an address.

A sparse tensor has no strides and no storage; tensors inside it hold its numbers and indices.  The
same is true of a nested one.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from bench.worker.device import torch_private

_ROWS = (torch.sparse_csr, torch.sparse_bsr)
_COLUMNS = (torch.sparse_csc, torch.sparse_bsc)


def of(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the tensor itself where it has strides; nothing for a lazy one without a shape."""
    if is_lazy(tensor):
        return ()
    if tensor.is_nested:
        return _of_nested(tensor)
    if tensor.layout is torch.sparse_coo:
        return torch_private.coo_parts(tensor)
    if tensor.layout in _ROWS:
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in _COLUMNS:
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    if hasattr(tensor, "__tensor_flatten__"):  # a class of its own that wraps others
        names, _ = tensor.__tensor_flatten__()
        return tuple(all_of(getattr(tensor, name) for name in names))
    return (tensor,)


def numbers(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return plain tensors that together hold all numbers, without the graph.

    They are the pieces with these exceptions: repeated indices of a sparse tensor are summed,
    quantised numbers become the real ones, and oneDNN's own layout is converted.
    """
    one = tensor.detach()
    if one.is_quantized and not one.is_nested:
        return (one.dequantize(),)
    if one.is_nested or one.layout in (*_ROWS, *_COLUMNS):
        return of(one)
    if one.layout is torch.sparse_coo:
        return of(one.coalesce())
    return (one,) if one.layout is torch.strided else (one.to_dense(),)


def all_of(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Return the pieces of all tensors, in order."""
    return (piece for tensor in tensors for piece in of(tensor))


def stored(tensor: Tensor) -> int:
    """Return how many numbers a tensor holds: a sparse one holds those that it names."""
    if tensor.layout is torch.sparse_coo:
        return torch_private.coo_parts(tensor)[1].numel()
    return tensor.numel() if tensor.layout is torch.strided else tensor.values().numel()


def _of_nested(tensor: Any) -> tuple[Tensor, ...]:
    if tensor.layout is not torch.jagged:
        return tuple(one.detach() for one in tensor.unbind())
    return tuple(torch_private.jagged_parts(tensor))
