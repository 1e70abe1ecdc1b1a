"""The speedup of each setting over the plain one, its costs, and when they are paid back.

Every insight says what was compared and how certain the result is.  Rows that are flagged as
faster than possible are left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.compare.groups import PLAIN_PROCESS, Direction, Group, Setting, flags, label
from bench.compare.setting_speedup import SettingSpeedup, against_plain, faster_than
from bench.core import units
from bench.core.text import number_of
from bench.insights.costs import SAME_MEMORY, call_s, costs, paybacks
from bench.insights.insight import Insight, Kind, compared, factor, first_few, listed
from bench.results.results import Medians
from bench.stats.intervals import LEVEL

MOST_RIVALS = 2  # that are named


@dataclass(frozen=True, slots=True)
class Series:
    """One setting of one mode and device, over the batch sizes."""

    mode: str
    device: str
    setting: Setting
    speedups: tuple[SettingSpeedup, ...]  # by batch


def series(group: Group, medians: Medians) -> list[Series]:
    """Return one series for every setting but the plain one.

    Implausible rows are left out, and so are those that are launch-bound: a faster device would not
    have made them faster.  Settings of torch.compile stay: they may issue fewer launches.
    """
    found: dict[tuple[str, str, Setting], list[SettingSpeedup]] = {}
    for one in against_plain(group, medians):
        doubts = {flag for row in one.rows for flag in row.flag_names}
        of_host = "launch-bound" in doubts and "compile" not in dict(one.setting)
        if "implausible" not in doubts and not of_host:
            found.setdefault((one.mode, one.device, one.setting), []).append(one)
    return [
        Series(*key, tuple(sorted(speedups, key=lambda one: one.batch)))
        for key, speedups in found.items()
    ]


def speedups(group: Group, medians: Medians) -> list[Insight]:
    """Return one insight for each setting, mode and device; the largest speedup comes first.

    The plain process has insights of its own (`plain_process`).
    """
    chosen = [one for one in series(group, medians) if one.setting != PLAIN_PROCESS]
    ordered = sorted(chosen, key=lambda one: -max(s.span.value for s in one.speedups))
    return [_of_series(group, one) for one in ordered]


@dataclass(frozen=True, slots=True)
class Contest:
    """All settings of one mode and device against the plain one.

    speedups: of every setting and batch size.
    level:    of the intervals of a winner: 95 % for all settings together (Bonferroni).
    winners:  by batch size, the fastest that is faster at that level.
    """

    mode: str
    device: str
    speedups: tuple[SettingSpeedup, ...]
    level: float
    winners: tuple[SettingSpeedup, ...]

    @property
    def settings(self) -> int:
        """Return how many others the plain one was compared with."""
        return len({one.setting for one in self.speedups})

    @property
    def preferred(self) -> tuple[SettingSpeedup, ...]:
        """The setting that wins at the most batch sizes, where it is faster; else empty.

        If two win as often, it is the one with the larger speedup.
        """
        wins = Counter(one.setting for one in self.winners)
        if not wins:
            return ()
        top = max(self.winners, key=lambda one: (wins[one.setting], one.span.value)).setting
        return tuple(
            one for one in self.speedups if one.setting == top and one.faster_at(self.level)
        )

    def rivals(self, one: SettingSpeedup, medians: Medians) -> list[SettingSpeedup]:
        """Return the settings that a winner cannot be told from, the fastest first."""
        found = [
            other
            for other in self.speedups
            if other.batch == one.batch
            and other.setting != one.setting
            and not faster_than(one.rows[1], other.rows[1], medians, self.level)
        ]
        return sorted(found, key=lambda other: -other.span.value)


def contests(group: Group, medians: Medians) -> list[Contest]:
    """Return one contest for each mode and device that has more than the plain setting.

    The plain process takes no part: it is how a script runs today, and nothing to change to.
    """
    found = []
    speedups = [
        found
        for one in series(group, medians)
        if one.setting != PLAIN_PROCESS
        for found in one.speedups
    ]
    for mode, device in dict.fromkeys((one.mode, one.device) for one in speedups):
        own = tuple(one for one in speedups if (one.mode, one.device) == (mode, device))
        level = 1 - (1 - LEVEL) / len({one.setting for one in own})
        found.append(Contest(mode, device, own, level, tuple(_winners(own, level))))
    return found


def _winners(speedups: Sequence[SettingSpeedup], level: float) -> Iterator[SettingSpeedup]:
    for batch in sorted({one.batch for one in speedups}):
        faster = [one for one in speedups if one.batch == batch and one.faster_at(level)]
        if faster:
            yield max(faster, key=lambda one: one.span.value)


def best(group: Group, medians: Medians) -> list[Insight]:
    """Return the fastest setting for each mode and device, with its batch sizes."""
    return [
        _best(group, work_of(group, one.mode, one.device), one, medians)
        for one in contests(group, medians)
    ]


def _best(group: Group, work: str, contest: Contest, medians: Medians) -> Insight:
    """Return the fastest setting, chosen so that the choice is wrong in at most 5 % of cases.

    With several settings, one of them may look faster by chance.  Each interval therefore has the
    level 1 - 0.05 / number of settings (Bonferroni), at each batch size.  The fastest setting is
    compared with each of the others in the same way; settings that may be as fast are named.
    """
    speedups, many, level = contest.speedups, contest.settings, contest.level
    winners: dict[Setting, list[SettingSpeedup]] = {}
    for one in contest.winners:
        winners.setdefault(one.setting, []).append(one)
    rests_on = [one for own in winners.values() for one in own] or list(speedups)
    if winners:
        parts = [_winner(work, own, contest, medians) for own in winners.values()]
        text = " ".join(parts) + _choice(many, level)
    elif all(one.span.low is None for one in speedups):
        text = f"The fastest setting for {work} is unknown: there are too few replicates."
    else:
        text = _none_faster(work, speedups, many, level)
    text += _plain_tf32(group, {one.setting for one in rests_on} if winners else set())
    return Insight(kind="best", text=text, evidence=evidence(rests_on), case_ids=case_ids(rests_on))


def _winner(work: str, own: Sequence[SettingSpeedup], contest: Contest, medians: Medians) -> str:
    """Return one setting with its speedups, the settings that may be as fast, and its costs."""
    each = [f"{factor(one.span)} at N={one.batch}" for one in own]
    found = [f"{label(own[0].setting)} is the fastest setting for {work}: {listed(each)}."]
    by_rivals: dict[str, list[str]] = {}
    for one in own:
        names = [label(other.setting) for other in contest.rivals(one, medians)]
        if names:
            few = listed(first_few(names, MOST_RIVALS))
            by_rivals.setdefault(few, []).append(f"N={one.batch}")
    found += [
        f"It is not clearly faster than {names} at {listed(sizes)}."
        for names, sizes in by_rivals.items()
    ]
    found += [one for one in costs(own) if one != SAME_MEMORY] + paybacks(own)
    return " ".join(found)


def _choice(many: int, level: float) -> str:
    if many < 2:
        return ""
    text = f" The choice among {many} settings uses {_intervals(many, level)}."
    if many > 2:
        text += " The best of several speedups is a little too high on average."
    return text


def _intervals(many: int, level: float) -> str:
    return f"{100 * level:.1f} % intervals ({100 * LEVEL:.0f} % for all {many} together)"


def _none_faster(work: str, speedups: Sequence[SettingSpeedup], many: int, level: float) -> str:
    """Say that no setting beats plain, and name those that would win without the others."""
    tried = f"{many} other was" if many == 1 else f"{many} others were"
    with_ = f" with {_intervals(many, level)}" if many > 1 else ""
    text = f"No setting was found faster than plain for {work}: {tried} tested{with_}."
    alone = [one for one in speedups if one.direction is Direction.FASTER]
    if alone:
        named = [f"{label(one.setting)} at N={one.batch}" for one in alone]
        text += f" Tested alone, {listed(named)} would be faster."
    return text


def _of_series(group: Group, one: Series) -> Insight:
    faster = [own for own in one.speedups if own.direction is Direction.FASTER]
    slower = any(own.direction is Direction.SLOWER for own in one.speedups)
    kind: Kind = (
        "mixed" if faster and slower else "speedup" if faster else "slowdown" if slower else "none"
    )
    work = work_of(group, one.mode, one.device)
    text = compared(label(one.setting), "plain", work, {s.batch: s.span for s in one.speedups})
    price = costs(one.speedups) + paybacks(faster) if faster else []
    return Insight(
        kind=kind,
        text=" ".join([text, *price]) + _plain_tf32(group, {one.setting}),
        evidence=evidence(one.speedups),
        case_ids=case_ids(one.speedups),
    )


def _plain_tf32(group: Group, settings: set[Setting]) -> str:
    """Return a sentence on the TF32 of the plain setting, where a setting changes TF32."""
    if group.base["tf32"] != "default" or not any("tf32" in dict(one) for one in settings):
        return ""
    return " Plain is torch's default: TF32 in convolutions, and not in matrix products."


def work_of(group: Group, mode: str, device: str) -> str:
    """`inference of convnet on cuda:0`."""
    on = f" on {device}" if len(group.devices) > 1 else ""
    return f"{mode} of {group.name}{on}"


def evidence(speedups: Iterable[SettingSpeedup]) -> str:
    """`N=8: 7.92 ms → 5.37 ms, 5 replicates, paired`."""
    parts = []
    for one in speedups:
        before, after = call_s(one.rows[0]), call_s(one.rows[1])
        if before is None or after is None:
            continue
        doubts = ["", *flags(one.rows)]
        paired = ", paired" if one.method == "paired" else ""
        parts.append(
            f"N={one.batch}: {units.seconds(before)} → {units.seconds(after)}, "
            f"{number_of(int(one.rows[1].replicates or 0), 'replicate')}{paired}{', '.join(doubts)}"
        )
    return "; ".join(parts)


def case_ids(speedups: Iterable[SettingSpeedup]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            row.case_id for one in speedups for row in one.rows if row.case_id is not None
        )
    )
