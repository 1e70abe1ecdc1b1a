"""The reference of a case: float64 eager values, and the float32 eager error on the same input."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from bench.worker.checks import differences
from bench.worker.checks.rounding import EPS, FLOOR_EPS, GRADIENT_TOLERANCE, TOLERANCE
from bench.worker.checks.values import LABELS, NoReferenceError, Values, same_given


@dataclass(frozen=True, slots=True)
class Reference:
    """Values of float64 eager code, and how far float32 eager code is from them.

    rounding: norm of the difference of the two, by group.
    device:   that computed both.
    """

    values: Values
    rounding: Mapping[str, float]
    device: str = "cpu"


def of(exact: Values, single: Values, again: Values) -> Reference:
    """Build the reference from float64 eager, float32 eager, and float32 eager under another seed.

    Raises NoReferenceError where the seed alone decides the result (dropout and the like), or where
    two builds do not have the same weights.
    """
    same_given(again.given, single.given, "float32")
    rounding: dict[str, float] = {}
    for group in dict.fromkeys((*exact.groups, *single.groups)):
        wanted, got, other = (one.groups.get(group, ()) for one in (exact, single, again))
        if differences.shapes(got) != differences.shapes(wanted):
            raise NoReferenceError(f"{group} has other shapes in float64 than in float32")
        if differences.shapes(got) != differences.shapes(other):
            raise NoReferenceError(f"{group} has another shape with another seed")
        _same_under_another_seed(group, got, other)
        if group != LABELS:
            rounding[group] = differences.norm_of_difference(got, wanted)
    return Reference(exact, rounding)


def _same_under_another_seed(
    group: str, got: tuple[Tensor, ...], other: tuple[Tensor, ...]
) -> None:
    """Raise NoReferenceError where another seed gives another result."""
    if group == LABELS:
        moved = float(differences.labels_differ(got, other).sum())
        by = f"{moved:.0f} whole numbers"
    elif bool(differences.kinds_differ(got, other).any()):
        moved, by = math.inf, "where they are infinite"
    else:
        moved, size = differences.norm_of_difference(got, other), differences.norm(got)
        if moved <= FLOOR_EPS * EPS["float32"] * size:
            return
        by = f"{moved / size:.2g}" if size else f"{moved:.2g} where they were zero"
    if moved:
        raise NoReferenceError(
            f"{group} of one and the same call differ by {by} under another seed: the module "
            "draws random numbers (dropout?)"
        )


def rounding(made: Reference, group: str, size: float, used: str) -> float:
    """Return the allowed error: a multiple of the float32 error, and never zero."""
    tolerance = (GRADIENT_TOLERANCE if group == "gradients" else TOLERANCE)[used]
    seen = tolerance * made.rounding.get(group, 0.0)
    output = made.values.groups.get("output", ())
    count = sum(one.numel() for one in output)
    if group == "loss" and count:
        # A loss is one number and may be exact by chance; it moves as the outputs do from which it
        # is made.
        root_mean_square = differences.norm(output) / math.sqrt(count)
        relative = (
            made.rounding["output"] / differences.norm(output) if differences.norm(output) else 0.0
        )
        seen = max(seen, tolerance * relative * max(size, root_mean_square))
    return max(seen, FLOOR_EPS * EPS["float32"] * size) * EPS[used] / EPS["float32"]
