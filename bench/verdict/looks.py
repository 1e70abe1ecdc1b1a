"""How many pairs a comparison measures, when it looks at them, and how sure each look has to be.

A case that may be slower gets fresh pairs, and is looked at after 8, 12, 16, 28 and 40 of them.
The chance of a false alarm is split among the looks beforehand (weighted Bonferroni): the last
three get nearly all of it, since a case that is clear earlier is clear by a far smaller chance as
well.  A comparison that goes on beyond has a further look wherever its pairs have grown by two
fifths.
"""

import math
from dataclasses import dataclass
from typing import Literal

Stage = Literal["first", "fresh"]
STAGES: tuple[Stage, ...] = ("first", "fresh")
FIRST_PAIRS = 6
FIRST_LOOK = 4  # first pairs, after which what is clearly the same gets no more
FRESH_PAIRS = 40
LEAST_FRESH = 8  # that decide without the first ones
ALPHA = 0.02  # of all looks together
FIRST_ALPHA = 0.01  # where the second stage ended before a suspect had its fresh pairs


@dataclass(frozen=True, slots=True)
class Look:
    """At the fresh pairs of a case."""

    pairs: int
    share: float  # of ALPHA
    hopeless: float  # p of "slower" below which no more pairs are spent; makes no false alarms


# Later looks give up sooner: less is left that could turn them.  Replayed, no slowdown that these
# gave up would have been found, and identical cases on noisy pairs need a tenth fewer pairs.
LOOKS = (
    Look(8, 0.0005, 0.1),
    Look(12, 0.0005, 0.2),
    Look(16, 0.006, 0.4),
    Look(28, 0.006, 0.3),
    Look(40, 0.007, 0.3),
)
# Looks beyond share what the last one would have had: a half of it, a quarter, and so on.
GROWTH = 1.4
# A plan of more pairs needs more first ones as well: suspects are chosen by these.
FIRST_SHARE = FIRST_PAIRS / FRESH_PAIRS
MOST_PAIRS = 10_000


def first_pairs(fresh: int) -> int:
    """First pairs of a comparison whose suspects get at most so many fresh ones."""
    return max(FIRST_PAIRS, math.ceil(FIRST_SHARE * fresh))


def planned(most: int) -> list[Look]:
    """The looks up to `most` fresh pairs.

    Those of a larger plan come at the same pairs as those of a smaller one, so that pairs may be
    added; beyond LOOKS they share the chance of the last of these, and leave some of it to the
    end of the plan (`taken`).
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
    """The looks that so many fresh pairs of a case had.

    settled: it got no more because a look was clear.  Else something else ended it, the plan or the
             budget, and its last look has what is left of alpha.
    """
    looks = planned(fresh)
    if settled or fresh < LEAST_FRESH:
        return looks
    before = [look for look in looks if look.pairs < fresh]
    left = ALPHA - math.fsum(look.share for look in before)
    return [*before, Look(fresh, left, 0.0)]
