"""Copies of tensors in memory of their own, and tests for ordinary tensors."""

import mmap
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# glibc's mmap threshold at the start of a process; smaller blocks do not move it.
LARGE_BYTES = 128 * 2**10

Empty = Callable[..., Tensor]  # as torch.empty_strided


def twin(tensor: Tensor, empty: Empty = torch.empty_strided) -> Tensor:
    """Return a leaf with the same numbers, strides and `requires_grad`, in memory of its own.

    `clone` alone would pack a slice or unfold an expanded tensor, and the layer would get another
    layout than it has inside its network.

    empty: makes the memory.
    """
    with torch.no_grad():
        source = tensor.detach()
        result = _strided_twin(source, empty) if is_strided(source) else source.clone()
    return result.requires_grad_(tensor.requires_grad)


def apart(tensor: Tensor) -> Tensor:
    """Return a twin that is out of sight of the C library's allocator (`in_own_pages`)."""
    return twin(tensor, in_own_pages)


def apart_together(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return twins, out of sight of the allocator, that share memory as these tensors do.

    tensors: of one storage, which they fill mostly; none a conjugate.
    """
    with torch.no_grad():
        first = tensors[0].detach()
        whole = torch.empty(0, dtype=torch.uint8, device=first.device)
        copied = apart(whole.set_(first.untyped_storage())).untyped_storage()
        return [
            torch.empty(0, dtype=one.dtype, device=one.device).set_(
                copied, one.storage_offset(), one.size(), one.stride()
            )
            for one in tensors
        ]


def in_own_pages(
    size: Sequence[int], stride: Sequence[int], *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Make a tensor as `torch.empty_strided` does, out of sight of the C library's allocator.

    glibc takes memory from the kernel and returns it in larger pieces once a larger block was freed
    (mallopt(3), M_MMAP_THRESHOLD), and all later calls of a network are faster or slower.  So a
    block that only this suite frees must not go through it.
    """
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    bytes_ = (last + 1) * dtype.itemsize
    if device.type != "cpu" or bytes_ < LARGE_BYTES or 0 in size:
        return torch.empty_strided(size, stride, dtype=dtype, device=device)
    pages = torch.frombuffer(mmap.mmap(-1, bytes_), dtype=torch.uint8)
    return torch.empty(0, dtype=dtype, device=device).set_(pages.untyped_storage(), 0, size, stride)


def is_strided(tensor: Tensor) -> bool:
    """Return whether a tensor is not sparse, nested, quantised or of an own class."""
    ordinary = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    return ordinary and not tensor.is_nested and not tensor.is_quantized


def is_image(tensor: Tensor) -> bool:
    """Return whether it is 4-dimensional, (N, C, H, W): both memory formats exist."""
    return is_strided(tensor) and tensor.ndim == 4


def _strided_twin(source: Tensor, empty: Empty) -> Tensor:
    # a conjugate is a view: computed when it is read
    size, mirrored = source.size(), source.is_conj()
    source = source.conj() if mirrored else source
    for axis, stride in enumerate(source.stride()):
        if stride == 0 and source.size(axis) > 1:  # expanded: one copy of it is enough
            source = source.narrow(axis, 0, 1)
    try:
        result = empty(
            source.size(), source.stride(), dtype=source.dtype, device=source.device
        ).copy_(source)
    except RuntimeError:  # overlaps in another way (unfold): no other tensor can have its layout
        result = source.clone()
    if result.size() != size:
        result = result.expand(size)
    return result.conj() if mirrored else result
