"""Checks that the results are finite numbers (rule 26).

NaN never passes, nor does an output without any finite number.  An infinity may be intended, as for
the logit of a forbidden move.  It passes here where the first output had an infinity at the same
place; the comparison with the reference decides whether it belongs there.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.worker.model import pieces, pytree

InfiniteMasks = tuple[
    Tensor | None, ...
]  # one mask per part of the output: where it is infinite, None where it is finite


def infinite_masks(output: Any) -> InfiniteMasks:
    """Return for each part of the output where it is infinite."""
    masks = (torch.isinf(part) for _, _, part in _parts(output))
    return tuple(mask if bool(mask.any()) else None for mask in masks)


def problems(output: Any, first: InfiniteMasks) -> list[str]:
    """Say which values must not be there, and name the first place.

    first: masks of the first output.
    """
    parts, infinite = list(_parts(output)), infinite_masks(output)
    for place, tensor, part in parts:
        if count := int(torch.isnan(part).sum()):
            return [_describe(place, tensor, count, "NaN")]
    for number, ((place, tensor, _), mask) in enumerate(zip(parts, infinite, strict=True)):
        if mask is None:
            continue
        before = first[number] if number < len(first) else None
        if before is None or (before.shape == mask.shape and bool((mask & ~before).any())):
            count = int((mask if before is None else mask & ~before).sum())
            return [_describe(place, tensor, count, "infinite, and were not in the first call")]
    if parts and not any(bool(torch.isfinite(part).any()) for _, _, part in parts):
        place, tensor, part = next((one for one in parts if one[2].numel()), parts[0])
        return [_describe(place, tensor, part.numel(), "infinite")] if part.numel() else []
    return []


def first_infinite(output: Any) -> str | None:
    """Name the first place where the output is infinite."""
    for (place, tensor, _), mask in zip(_parts(output), infinite_masks(output), strict=True):
        if mask is not None:
            return _describe(place, tensor, int(mask.sum()), "infinite")
    return None


def _parts(output: Any) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the index of a tensor, the tensor, and each part of it that has real or complex
    numbers.
    """
    for place, tensor in enumerate(pytree.tensors(output), start=1):
        for part in pieces.numbers(tensor):
            if part.is_floating_point() or part.is_complex():
                yield place, tensor, part


def _describe(place: int, tensor: Tensor, count: int, kind: str) -> str:
    numbers = sum(part.numel() for _, _, part in _parts(tensor))
    shape = "" if tensor.is_nested else f" {tuple(tensor.shape)}"
    what = f"{count} of {numbers} numbers of its tensor {place}{shape} are {kind}"
    return f"the output is not finite: {what}"
