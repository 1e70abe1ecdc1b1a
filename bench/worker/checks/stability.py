"""Whether rounding explains a difference, by witnesses: runs that differ by rounding alone.

Rounding may move a result at places where a choice hangs on it: the nearest of many codes, the
larger of two scores, a threshold.  There a right result differs by a whole step, and elsewhere it
does not.  The witnesses show the places: a result is right if it keeps to the truth wherever no
witness leaves it, and if it differs no more in all than they do.  As each witness is held against
the others in the same way, it is known how much such places are missed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Times what the witnesses do.  They round coarser than the case by two bits, so that they find the
# places (bench.worker.checks.witness); tests/worker/checks/test_stability.py counts the verdicts on
# right results.
TOLERANCE_FACTOR = 3.0  # of counts; norms grow with the root of a count
# So many places of which no witness knew are neither right nor wrong, where they are few of many.
FEW, FEW_OF_ALL = 3, 0.1
UNSTABLE = 0.5  # of what is compared: more of it hangs on rounding, and a comparison says little


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the witnesses say of one difference."""

    explained: bool
    few: bool = False  # not explained, and so little that it may be chance
    unstable: bool = False  # hardly any place does not hang on rounding
    most: float = 0.0  # how large a difference would have been explained: a norm, or a count


def of_numbers(
    own: Tensor, witnesses: Sequence[Tensor], exact: Tensor, *, bound: float
) -> Explanation:
    """Of differences from the truth, flat.

    own:   of the case; exact: the truth itself; bound: norm that rounding explains anyway.
    """
    leaves = 4 * bound / math.sqrt(max(1, own.numel()))  # beyond it a place counts as moved
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
    """Of places (bool, flat) where a whole number is another one, or infinite where it was not."""
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
    """Of rows of which there are more or fewer, by how many have no partner on the other side."""
    most = TOLERANCE_FACTOR * max(by_witnesses, default=0)
    few = unmatched <= most + FEW and unmatched <= max(most, FEW_OF_ALL * rows)
    return Explanation(unmatched <= most, few=few, unstable=most > UNSTABLE * rows, most=most)


def _union(masks: Sequence[Tensor], like: Tensor) -> Tensor:
    found = torch.zeros(like.shape, dtype=torch.bool)
    for one in masks:
        found = found | one
    return found
