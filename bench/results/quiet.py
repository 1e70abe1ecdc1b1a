"""Chooses the replicates of a case that count if other work disturbed some.  Pure functions.

A run measures further replicates of what was disturbed.  Those that count are chosen by how much
of the processor other work took, never by their times.
"""

import math
from collections.abc import Sequence

from bench.core.records import Entry, Measurement
from bench.core.subject import SubjectError, parse

Key = tuple[str, int]  # case id, replicate


def counted(entries: Sequence[Entry], asked: int) -> list[Entry]:
    """Return the entries without the most disturbed of more replicates than were requested.

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
    """Return the replicates of one network that do not count, the most disturbed first."""
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
    """Return the subject without its layer; a name that cannot be parsed stays as it is."""
    try:
        return parse(subject).whole
    except SubjectError:
        return subject


def _key(one: Measurement) -> Key:
    return one.case.case_id, one.replicate


def disturbed(one: Measurement) -> bool:
    return "contended" in one.flags


def _ratio(one: Measurement) -> float:
    """Return the time that other work took / that of the samples; infinite if unknown."""
    return one.metrics.get("contention_ratio", math.inf)
