"""Which replicates of a case count where other work on the machine disturbed some.  Pure.

A run measures further replicates of what was disturbed.  Those that count are chosen by how much
of the processor other work took, never by their times.
"""

import math
from collections.abc import Sequence

from bench.core.records import Entry, Measurement
from bench.core.subject import SubjectError, parse

Key = tuple[str, int]  # case id, replicate


def counted(entries: Sequence[Entry], asked: int) -> list[Entry]:
    """The entries without the most disturbed replicates, where more were measured than asked for.

    A case keeps all its undisturbed replicates, and with them the least disturbed ones until it has
    as many as were asked for.  Ratios are paired by replicate, so two cases of a network also keep
    as many in common.
    """
    measured = [one for one in entries if isinstance(one, Measurement)]
    by_network: dict[str, list[Measurement]] = {}
    for one in measured:
        by_network.setdefault(_network(one.case.subject), []).append(one)
    dropped = {key for own in by_network.values() for key in _dropped(own, asked)}
    return [one for one in entries if not (isinstance(one, Measurement) and _key(one) in dropped)]


def _dropped(measured: Sequence[Measurement], asked: int) -> list[Key]:
    """Of one network, the worst first."""
    kept: dict[str, set[int]] = {}
    for one in measured:
        kept.setdefault(one.case.case_id, set()).add(one.replicate)
    found = []
    for one in sorted(filter(disturbed, measured), key=_ratio, reverse=True):
        case_id, replicate = _key(one)
        left = kept[case_id] - {replicate}
        others = (own for other, own in kept.items() if other != case_id and replicate in own)
        if len(left) >= asked and all(
            len(own & left) >= min(asked, len(own & kept[case_id])) for own in others
        ):
            kept[case_id] = left
            found.append((case_id, replicate))
    return found


def _network(subject: str) -> str:
    """The subject without its layer; a name that is none stands for itself."""
    try:
        return parse(subject).whole
    except SubjectError:
        return subject


def _key(one: Measurement) -> Key:
    return one.case.case_id, one.replicate


def disturbed(one: Measurement) -> bool:
    return "contended" in one.flags


def _ratio(one: Measurement) -> float:
    """Time that other work took, per time of the samples; unknown: the worst."""
    return one.facts.get("contention_ratio", math.inf)
