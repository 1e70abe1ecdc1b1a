"""Compares two results that differ in their number of rows: finds the rows that both have.

Detectors keep the boxes above a threshold, and rounding decides whether a score next to it is kept.
The rows of both results are compared as sets, because rounding may change their order as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.worker.checks import stability

MOST_ROWS = 4096  # every row is compared with every other
Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Matched:
    """The number of rows without an equal on the other side, and whether rounding explains it."""

    unmatched: int
    rows: int  # of both results together
    allowed: float  # share of the rows that rounding explains
    explained: bool
    few: bool
    unstable: bool

    @property
    def share(self) -> float:
        return self.unmatched / self.rows if self.rows else 0.0


def rows(
    got: Tensors, wanted: Tensors, others: Sequence[Tensors], *, near: float
) -> Matched | None:
    """Match the rows.  Return None where more than the size of one axis differs, or rows are too
    many.

    others: results of the witnesses.
    near:   how far equal rows may lie apart, relative to their usual norm.
    """
    same = [one for one in (got, *others) if len(one) == len(wanted)]
    axes = [_row_axis(tensor, [one[place] for one in same]) for place, tensor in enumerate(wanted)]
    found = [_unmatched(one, wanted, axes, near) for one in (got, *others)]
    own, *by_witnesses = found
    if own is None:
        return None
    known = [one[0] for one in by_witnesses if one is not None]
    unmatched, count = own
    explanation = stability.of_rows(unmatched, known, count)
    allowed = explanation.most / count if count else 0.0
    return Matched(
        unmatched, count, allowed, explanation.explained, explanation.few, explanation.unstable
    )


def _row_axis(wanted: Tensor, others: Sequence[Tensor]) -> int:
    """Return the axis in which the numbers of rows differ: the first in which any other result
    differs.
    """
    sizes = [one.shape for one in others if one.ndim == wanted.ndim]
    differ = (
        axis for size in sizes for axis in range(wanted.ndim) if size[axis] != wanted.size(axis)
    )
    return next(differ, 0)


def _unmatched(
    got: Tensors, wanted: Tensors, axes: Sequence[int], near: float
) -> tuple[int, int] | None:
    """Return the number of unmatched rows of all tensors, and the number of rows."""
    if len(got) != len(wanted):
        return None
    unmatched = count = 0
    for one, other, axis in zip(got, wanted, axes, strict=True):
        pair = _as_rows(one, other, axis)
        if pair is None or max(len(pair[0]), len(pair[1])) > MOST_ROWS:
            return None
        unmatched += _count_unmatched(*pair, near)
        count += len(pair[0]) + len(pair[1])
    return unmatched, count


def _as_rows(one: Tensor, other: Tensor, axis: int) -> tuple[Tensor, Tensor] | None:
    """Return both as (rows, numbers of a row), or None where they differ in another axis."""
    if one.ndim != other.ndim or one.ndim == 0:
        return None
    if any(one.size(at) != other.size(at) for at in range(one.ndim) if at != axis):
        return None
    first, second = (
        torch.nan_to_num(tensor.double().movedim(axis, 0)).reshape(tensor.size(axis), -1)
        if tensor.numel()
        else torch.zeros(tensor.size(axis), 1, dtype=torch.float64)
        for tensor in (one, other)
    )
    if first.shape[1] != second.shape[1]:  # one of the two is empty
        width = max(first.shape[1], second.shape[1])
        first, second = (
            tensor if tensor.shape[1] == width else torch.zeros(len(tensor), width).double()
            for tensor in (first, second)
        )
    return first, second


def _count_unmatched(one: Tensor, other: Tensor, near: float) -> int:
    if not len(one) or not len(other):
        return len(one) + len(other)
    usual = float(other.norm(dim=1).square().mean().sqrt())
    apart = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
    close = apart <= near * usual
    return int((~close.any(1)).sum()) + int((~close.any(0)).sum())
