"""Find nodes that are not like the others of their kind, by the controls.  Pure."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from bench.core.records import Entry, Measurement
from bench.results.aggregate import UNSTEADY_CONTROLS
from bench.stats.intervals import t_quantile

LEAST_OTHERS = 2  # nodes: with one other nobody can say which of the two is odd
LEAST_SHARE = 0.05  # machines of one kind differ by this without being odd


def level(entries: Iterable[Entry]) -> float | None:
    """Return the mean logarithm of the controls of a unit; None if it has none."""
    logs = [
        statistics.fmean(math.log(statistics.median(times_s)) for times_s in steady)
        for one in entries
        if isinstance(one, Measurement)
        and (
            steady := [
                times_s
                for name, times_s in one.controls.items()
                if name not in UNSTEADY_CONTROLS and times_s and min(times_s) > 0
            ]
        )
    ]
    return statistics.fmean(logs) if logs else None


def odd(levels: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Return the nodes outside of the 95 % prediction interval of the others, with the reason.

    levels: of the units of each node, as `level` returns them.
    """
    means = {node: statistics.fmean(own) for node, own in levels.items() if own}
    found: dict[str, tuple[float, str]] = {}
    for node, mean in means.items():
        others = [other for name, other in means.items() if name != node]
        if len(others) < LEAST_OTHERS:
            continue
        spread = statistics.stdev(others) * math.sqrt(1 + 1 / len(others))
        reach = max(t_quantile(len(others) - 1) * spread, math.log1p(LEAST_SHARE))
        distance = mean - statistics.fmean(others)
        if abs(distance) > reach:
            slower = "slower" if distance > 0 else "faster"
            share = 100 * abs(math.expm1(distance))
            why = (
                f"its controls are {share:.0f} % {slower} than those of the other "
                f"{len(others)} machines of its kind, which agree within {100 * reach:.0f} %"
            )
            found[node] = (abs(distance), why)
    if not found:
        return {}
    worst = max(found, key=lambda one: found[one][0])  # the others may look odd because of it
    return {worst: found[worst][1]}
