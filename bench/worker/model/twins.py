"""Copies of tensors in memory of their own, and tests for ordinary tensors."""

import torch
from torch import Tensor


def twin(tensor: Tensor) -> Tensor:
    """Return a leaf with the same numbers, strides and `requires_grad`, in memory of its own.

    `clone` alone would pack a slice or unfold an expanded tensor, and the layer would get another
    layout than it has inside its network.
    """
    with torch.no_grad():
        source = tensor.detach()
        result = _strided_twin(source) if is_strided(source) else source.clone()
    return result.requires_grad_(tensor.requires_grad)


def is_strided(tensor: Tensor) -> bool:
    """Return whether a tensor is not sparse, nested, quantised or of an own class."""
    ordinary = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    return ordinary and not tensor.is_nested and not tensor.is_quantized


def is_image(tensor: Tensor) -> bool:
    """Return whether it is 4-dimensional, (N, C, H, W): both memory formats exist."""
    return is_strided(tensor) and tensor.ndim == 4


def _strided_twin(source: Tensor) -> Tensor:
    # a conjugate is a view: computed when it is read
    size, mirrored = source.size(), source.is_conj()
    source = source.conj() if mirrored else source
    for axis, stride in enumerate(source.stride()):
        if stride == 0 and source.size(axis) > 1:  # expanded: one copy of it is enough
            source = source.narrow(axis, 0, 1)
    try:
        result = torch.empty_strided(
            source.size(), source.stride(), dtype=source.dtype, device=source.device
        ).copy_(source)
    except RuntimeError:  # overlaps in another way (unfold): no other tensor can have its layout
        result = source.clone()
    result = result.expand(size)
    return result.conj() if mirrored else result
