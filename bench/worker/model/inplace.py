"""Finds out whether a call writes to its input: the second call would do other work than the first.

A real call shows it, on a copy of the input.  A call on torch's meta device would be faster, but
would leave tensors without numbers wherever a module keeps something outside itself: a table by
length in a cache of its file, a feature in a dict.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from bench.worker.device import torch_private
from bench.worker.model import pieces


def versions(tensors: Iterable[Tensor]) -> list[int]:
    """Return torch's counts of writes to tensors or views; inference tensors have none."""
    return [
        0 if one.is_inference() else torch_private.version(one) for one in pieces.all_of(tensors)
    ]


def changed(tensors: Iterable[Tensor], kept: Iterable[Tensor]) -> bool:
    """Return whether any number differs from that of the tensor at the same place in `kept`.

    numpy writes to a tensor, and a module to its `.data`, without a count.
    """
    pairs = zip(pieces.all_of(tensors), pieces.all_of(kept), strict=True)
    return not all(_same_bits(one, other) for one, other in pairs)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.is_quantized:
        one, other = one.int_repr(), other.int_repr()
    return torch.equal(_bits(one), _bits(other))  # compares bits: NaN equals itself


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
