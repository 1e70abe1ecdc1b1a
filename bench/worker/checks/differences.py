"""Differences of two results, as norms and as masks.  Pure functions of tensors."""

import math

import torch
from torch import Tensor


def shapes(tensors: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of the tensors in one text, separated by commas."""
    return [tuple(one.shape) for one in tensors]


def labels_differ(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> Tensor:
    """Return where two whole numbers differ: bool, flat."""
    return _flat([one != other for one, other in zip(got, wanted, strict=True)])


def kinds_differ(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> Tensor:
    """Return where one value is infinite and the other is finite, or infinite with the other sign.

    The mask is flat and of type bool.
    """
    return _flat([_kind(one) != _kind(other) for one, other in zip(got, wanted, strict=True)])


def _kind(tensor: Tensor) -> Tensor:
    return torch.isposinf(tensor).char() - torch.isneginf(tensor).char()


def _flat(masks: list[Tensor]) -> Tensor:
    return (
        torch.cat([one.flatten() for one in masks]) if masks else torch.zeros(0, dtype=torch.bool)
    )


def first_nan(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> str | None:
    """Say how many numbers of which tensor are NaN where the other has a number."""
    for place, (one, other) in enumerate(zip(got, wanted, strict=True), start=1):
        count = int((torch.isnan(one) & ~torch.isnan(other)).sum())
        if count:
            shape = tuple(one.shape)
            return f"{count} of {one.numel()} numbers of its tensor {place} {shape} are"
    return None


def describe_labels(differ: Tensor) -> str:
    return (
        f"labels: {int(differ.sum())} of {differ.numel()} whole numbers of the output are others "
        "than in float64 eager code"
    )


def describe_infinities(group: str, got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> str:
    """Say where the first infinities are that the reference does not have at the same place."""
    for place, (one, other) in enumerate(zip(got, wanted, strict=True), start=1):
        differ = _kind(one) != _kind(other)
        more = int((differ & torch.isinf(one)).sum())
        shape = tuple(one.shape)
        if more:
            return (
                f"{group}: {more} of {one.numel()} numbers of its tensor {place} {shape} are "
                "infinite, and not so in float64 eager code"
            )
        if bool(differ.any()):
            return (
                f"{group}: {int(differ.sum())} of {one.numel()} numbers of its tensor {place} "
                f"{shape} are finite, and infinite in float64 eager code"
            )
    return f"{group}: infinite at other places than in float64 eager code"


def norm(tensors: tuple[Tensor, ...]) -> float:
    """Return the norm of all finite numbers of the tensors together."""
    return math.hypot(*(float(finite(one).norm()) for one in tensors))


def norm_of_difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    """Return ‖one - other‖ over pairs of tensors, at the places where both are finite."""
    return norm(tuple(a - b for a, b in zip(one, other, strict=True)))


def flat_difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(finite(a - b).flatten() for a, b in zip(one, other, strict=True))


def finite(tensor: Tensor) -> Tensor:
    return torch.where(torch.isfinite(tensor), tensor, 0.0)
