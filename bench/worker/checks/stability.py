"""Checks whether rounding explains a difference, by witnesses: runs that differ in rounding alone.

Rounding moves a result at places where a choice depends on it: the nearest of many codes, the
larger of two scores, a threshold.  A right result may differ by a whole step at such places and
nowhere else.  The witnesses show the places: a result is right if it agrees with the reference
where no witness differs, and if it differs no more in all than the witnesses do.  Each witness is
compared with the others in the same way, which tells how many such places they miss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Times the difference of the witnesses.  They round coarser than the case by two bits, to find the
# places (bench.worker.checks.witness); tests/worker/checks/test_stability.py counts the verdicts on
# right results.
TOLERANCE_FACTOR = 3.0  # of counts; norms grow with the root of a count
# The result is neither right nor wrong if at most this many places differ that no witness knew, and
# they are few of many.
FEW, FEW_OF_ALL = 3, 0.1
# share of what is compared; above it, so much depends on rounding that a comparison says little
UNSTABLE = 0.5


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result of the witnesses for one difference."""

    explained: bool
    few: bool = False  # not explained, but so little that it may be chance
    unstable: bool = False  # nearly every place depends on rounding
    most: float = 0.0  # how large a difference would have been explained: a norm, or a count


def of_numbers(
    own: Tensor, witnesses: Sequence[Tensor], exact: Tensor, *, bound: float
) -> Explanation:
    """Explain differences from the reference: flat tensors.

    own:   of the case.
    exact: the reference itself.
    bound: norm that rounding explains in any case.
    """
    leaves = 4 * bound / math.sqrt(max(1, own.numel()))  # a place that differs by more has moved
    moved = [one.abs() > leaves for one in witnesses]
    stable = ~_union(moved, own)
    missed = [
        float(one[~_union(moved[:place] + moved[place + 1 :], own)].norm())
        for place, one in enumerate(witnesses)
    ]
    most = max(
        bound,
        math.sqrt(TOLERANCE_FACTOR) * max((float(one.norm()) for one in witnesses), default=0.0),
    )
    where = max(bound, math.sqrt(TOLERANCE_FACTOR) * max(missed, default=0.0))
    unstable = float(exact[stable].norm()) ** 2 < (1 - UNSTABLE) * float(exact.norm()) ** 2
    explained = float(own.norm()) <= most and float(own[stable].norm()) <= where
    return Explanation(explained, unstable=unstable, most=most)


def of_choices(own: Tensor, witnesses: Sequence[Tensor]) -> Explanation:
    """Explain places (bool, flat) where a whole number differs or a value became infinite."""
    stable = ~_union(witnesses, own)
    missed = [
        int((one & ~_union([*witnesses[:place], *witnesses[place + 1 :]], own)).sum())
        for place, one in enumerate(witnesses)
    ]
    most = TOLERANCE_FACTOR * max((int(one.sum()) for one in witnesses), default=0)
    there, where = int((own & stable).sum()), TOLERANCE_FACTOR * max(missed, default=0)
    explained = int(own.sum()) <= most and there <= where
    few = there <= where + FEW and int(own.sum()) <= max(most, FEW_OF_ALL * own.numel())
    unstable = int(stable.sum()) < (1 - UNSTABLE) * own.numel()
    return Explanation(explained, few=few, unstable=unstable, most=most)


def of_rows(unmatched: int, by_witnesses: Sequence[int], rows: int) -> Explanation:
    """Explain results of different numbers of rows, from the number of rows without a partner."""
    most = TOLERANCE_FACTOR * max(by_witnesses, default=0)
    few = unmatched <= most + FEW and unmatched <= max(most, FEW_OF_ALL * rows)
    return Explanation(unmatched <= most, few=few, unstable=most > UNSTABLE * rows, most=most)


def _union(masks: Sequence[Tensor], like: Tensor) -> Tensor:
    found = torch.zeros(like.shape, dtype=torch.bool)
    for one in masks:
        found = found | one
    return found
