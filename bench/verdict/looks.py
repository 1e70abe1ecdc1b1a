"""The plan of a comparison: how many pairs it measures, and when it looks at them.

A suspect gets fresh pairs and is looked at after 8, 12, 16, 28 and 40 of them.  The chance of a
false alarm is divided among the looks beforehand (weighted Bonferroni).  The last three looks get
nearly all of it, because an early look that decides a case mostly has a very small p-value.  A
larger plan has a further look each time the number of pairs has grown by two fifths.
"""

import math
from dataclasses import dataclass
from typing import Literal

Stage = Literal["first", "fresh"]
STAGES: tuple[Stage, ...] = ("first", "fresh")
FIRST_PAIRS = 6
FIRST_LOOK = 4  # after so many first pairs, a case that is clearly the same gets no more
FRESH_PAIRS = 40
LEAST_FRESH = 8  # so many fresh pairs decide without the first ones
ALPHA = 0.02  # the chance of a false alarm over all looks
FIRST_ALPHA = 0.01  # the same, for a suspect that did not get its fresh pairs


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the fresh pairs of a case."""

    pairs: int  # the look comes after so many fresh pairs
    share: float  # the part of ALPHA that this look has
    # The case gets no more pairs if p of "slower by the threshold or more" is below this.  Giving
    # up makes no false alarms.
    hopeless: float


# Later looks give up sooner, because fewer pairs are left that could change the result.  In a
# replay, no slowdown that was given up would have been found, and identical cases with noisy pairs
# needed a tenth fewer pairs.
LOOKS = (
    Look(8, 0.0005, 0.1),
    Look(12, 0.0005, 0.2),
    Look(16, 0.006, 0.4),
    Look(28, 0.006, 0.3),
    Look(40, 0.007, 0.3),
)
# Further looks share what the last look would have had: the first gets a half, the next a quarter.
GROWTH = 1.4
# A larger plan needs more first pairs as well, because these choose the suspects.
FIRST_SHARE = FIRST_PAIRS / FRESH_PAIRS
MOST_PAIRS = 10_000


def first_pairs(fresh: int) -> int:
    """Return the number of first pairs for a plan with at most `fresh` fresh pairs."""
    return max(FIRST_PAIRS, math.ceil(FIRST_SHARE * fresh))


def planned(most: int) -> list[Look]:
    """Return the looks of a plan with at most `most` fresh pairs.

    The looks of a larger plan come after the same pairs as those of a smaller one, so that pairs
    can be added.  The looks beyond LOOKS share the chance of the last one, and a part of it is
    left for the end of the plan (`taken`).
    """
    looks = [look for look in LOOKS if look.pairs <= most]
    last = LOOKS[-1]
    if most <= last.pairs:
        return looks
    after, share = last.pairs, last.share / 2
    looks[-1] = Look(after, share, last.hopeless)
    while (after := math.ceil(GROWTH * after)) <= most:
        share /= 2
        looks.append(Look(after, share, last.hopeless))
    return looks


def taken(fresh: int, *, settled: bool) -> list[Look]:
    """Return the looks at a case that has `fresh` fresh pairs.

    settled: a look decided the case, so it got no more pairs.  Otherwise the plan or the budget
             ended it, and its last look has the rest of ALPHA.
    """
    looks = planned(fresh)
    if settled or fresh < LEAST_FRESH:
        return looks
    before = [look for look in looks if look.pairs < fresh]
    left = ALPHA - math.fsum(look.share for look in before)
    return [*before, Look(fresh, left, 0.0)]
