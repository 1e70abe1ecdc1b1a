"""The tensors that a tensor is made of: those with strides, whose memory can be asked for.

A sparse tensor has no strides and no storage; it holds its numbers and their places in tensors that
have.  So does a nested one.
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
    """Itself, where it has strides; none of a lazy one that no call has given a shape yet."""
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
    """Plain tensors that together are all there is to it, without its graph.

    Its pieces, but that indices of a sparse one that stand there twice are summed, quantised
    numbers are the real ones, and oneDNN's own layout is laid out in full.
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
    """Those of all, in order."""
    return (piece for tensor in tensors for piece in of(tensor))


def stored(tensor: Tensor) -> int:
    """How many numbers a tensor holds: of a sparse one those that it names."""
    if tensor.layout is torch.sparse_coo:
        return torch_private.coo_parts(tensor)[1].numel()
    return tensor.numel() if tensor.layout is torch.strided else tensor.values().numel()


def _of_nested(tensor: Any) -> tuple[Tensor, ...]:
    if tensor.layout is not torch.jagged:
        return tuple(one.detach() for one in tensor.unbind())
    return tuple(torch_private.jagged_parts(tensor))
