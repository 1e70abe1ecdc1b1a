"""A plain script against the suite's own processes: how many times as long its calls take.

The suite sets the allocator of the C library by environment variables, so that figures can be
repeated.  A script without them can be slower.
"""

from collections.abc import Sequence

from bench.compare.groups import PLAIN_PROCESS, Direction, Group
from bench.core.axes import AS_PLAIN_PROCESS
from bench.host import allocators
from bench.insights.insight import Insight, factor, listed
from bench.insights.settings import Series, case_ids, evidence, series
from bench.results.results import Medians

HOW = "Set these environment variables before Python starts, and a script takes the time of plain:"


def insights(groups: Sequence[Group], medians: Medians) -> list[Insight]:
    """Return one insight for each subject that was measured as a plain process as well.

    The first of them that is slower has the variables that help.
    """
    found: list[Insight] = []
    for group in groups:
        own = [
            one
            for one in series(group, medians)
            if one.setting == PLAIN_PROCESS and one.device == "cpu"
        ]
        if own:
            told = any(one.command for one in found)
            found.append(_of(group, own, how=_slower(own) and not told))
    return found


def _slower(own: Sequence[Series]) -> bool:
    return any(one.direction is Direction.SLOWER for mode in own for one in mode.speedups)


def _of(group: Group, own: Sequence[Series], *, how: bool) -> Insight:
    speedups = [one for mode in own for one in mode.speedups]
    modes = [
        f"{mode.mode}: "
        + listed([f"{factor(one.span.inverse)} at N={one.batch}" for one in mode.speedups])
        for mode in own
    ]
    text = (
        f'A plain script runs {group.name} as the row "{AS_PLAIN_PROCESS}", at these multiples of '
        f"the time of plain: {'; '.join(modes)}."
    )
    return Insight(
        kind="process",
        text=f"{text} {HOW}" if how else text,
        evidence=evidence(speedups),
        case_ids=case_ids(speedups),
        command=allocators.exports() if how else "",
    )
