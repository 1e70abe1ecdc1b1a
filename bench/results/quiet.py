"""Which replicates of a case count where other work on the machine disturbed some.  Pure.

A run measures further replicates of what was disturbed.  Those that count are chosen by how much
of the processor other work took, never by their times.
"""

import math
from collections.abc import Sequence

from bench.core.records import Entry, Measurement


def counted(entries: Sequence[Entry], asked: int) -> list[Entry]:
    """The entries without the most disturbed replicates, where more were measured than asked for.

    A case keeps all its undisturbed replicates, and with them the least disturbed ones until it has
    as many as were asked for.
    """
    dropped: set[tuple[str, int]] = set()
    by_case: dict[str, list[Measurement]] = {}
    for one in entries:
        if isinstance(one, Measurement):
            by_case.setdefault(one.case.case_id, []).append(one)
    for case_id, own in by_case.items():
        worst_first = sorted(filter(disturbed, own), key=_ratio, reverse=True)
        dropped |= {(case_id, one.replicate) for one in worst_first[: max(0, len(own) - asked)]}
    return [
        one
        for one in entries
        if not (isinstance(one, Measurement) and (one.case.case_id, one.replicate) in dropped)
    ]


def disturbed(one: Measurement) -> bool:
    return "contended" in one.flags


def _ratio(one: Measurement) -> float:
    """Time that other work took, per time of the samples; unknown: the worst."""
    return one.facts.get("contention_ratio", math.inf)
