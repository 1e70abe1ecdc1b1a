"""Copies of tensors in memory of their own, and whether one is an ordinary tensor."""

import torch
from torch import Tensor


def twin(tensor: Tensor) -> Tensor:
    """A leaf with the same numbers, strides and `requires_grad`, in memory of its own.

    `clone` alone would pack a slice or unfold an expanded tensor, and the layer would be given
    another layout than it has inside its network.
    """
    with torch.no_grad():
        source = tensor.detach()
        result = _strided_twin(source) if is_strided(source) else source.clone()
    return result.requires_grad_(tensor.requires_grad)


def is_strided(tensor: Tensor) -> bool:
    """An ordinary tensor: neither sparse, nested, quantised nor of a class of its own."""
    ordinary = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    return ordinary and not tensor.is_nested and not tensor.is_quantized


def is_image(tensor: Tensor) -> bool:
    """4-dimensional, (N, C, H, W) as a rule: it may lie as contiguous or as channels_last."""
    return is_strided(tensor) and tensor.ndim == 4


def _strided_twin(source: Tensor) -> Tensor:
    size, mirrored = source.size(), source.is_conj()  # a conjugate is a view: computed where read
    source = source.conj() if mirrored else source
    for axis, stride in enumerate(source.stride()):
        if stride == 0 and source.size(axis) > 1:  # expanded: one copy of it is enough
            source = source.narrow(axis, 0, 1)
    try:
        result = torch.empty_strided(
            source.size(), source.stride(), dtype=source.dtype, device=source.device
        ).copy_(source)
    except RuntimeError:  # overlaps in another way (unfold): no other tensor can look like it
        result = source.clone()
    result = result.expand(size)
    return result.conj() if mirrored else result
