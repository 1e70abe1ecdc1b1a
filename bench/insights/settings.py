"""What each setting gains or loses over the plain one, what it costs, and when that has paid.

Every sentence says what was compared and how sure it is; where an interval holds 1 it says
"no difference found".  Rows that are flagged as faster than possible support nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.compare.groups import Group, Setting, Span, flags, label
from bench.compare.setting_speedup import Direction, Ratio, against_plain, faster_than
from bench.core import units
from bench.insights.costs import SAME_MEMORY, call_s, costs, paybacks
from bench.insights.insight import Kind, Sentence, factor, listed
from bench.results.results import Medians
from bench.stats.intervals import LEVEL

MOST_RIVALS = 2  # that are named


@dataclass(frozen=True, slots=True)
class Series:
    """One setting of one mode and device, over the batch sizes."""

    mode: str
    device: str
    setting: Setting
    ratios: tuple[Ratio, ...]  # by batch


def series(group: Group, medians: Medians) -> list[Series]:
    """Of every setting but the plain one; what is impossible is left out."""
    found: dict[tuple[str, str, Setting], list[Ratio]] = {}
    for ratio in against_plain(group, medians):
        if not any("implausible" in row.flag_names for row in ratio.rows):
            found.setdefault((ratio.mode, ratio.device, ratio.setting), []).append(ratio)
    return [
        Series(*key, tuple(sorted(ratios, key=lambda one: one.batch)))
        for key, ratios in found.items()
    ]


def speedups(group: Group, medians: Medians) -> list[Sentence]:
    """A sentence a setting, mode and device; what gains most comes first, what loses last."""
    all_ = series(group, medians)
    return [_sentence(group, one) for one in sorted(all_, key=_weight)]


@dataclass(frozen=True, slots=True)
class Contest:
    """All settings of one mode and device against the plain one.

    ratios:  of every setting and batch size.
    level:   of the intervals that a winner is held to: 95 % for all settings together (Bonferroni).
    winners: by batch size, the fastest that is faster at that level.
    """

    mode: str
    device: str
    ratios: tuple[Ratio, ...]
    level: float
    winners: tuple[Ratio, ...]

    @property
    def settings(self) -> int:
        """How many others the plain one was compared with."""
        return len({ratio.setting for ratio in self.ratios})

    @property
    def preferred(self) -> tuple[Ratio, ...]:
        """The setting that wins at the most batch sizes, where it is faster; else empty.

        Of two that win as often it is the one with the larger speedup.
        """
        wins = Counter(one.setting for one in self.winners)
        if not wins:
            return ()
        top = max(self.winners, key=lambda one: (wins[one.setting], one.span.value)).setting
        return tuple(one for one in self.ratios if one.setting == top and one.faster_at(self.level))

    def rivals(self, one: Ratio, medians: Medians) -> list[Ratio]:
        """The settings that a winner cannot be told from, the fastest first."""
        found = [
            other
            for other in self.ratios
            if other.batch == one.batch
            and other.setting != one.setting
            and not faster_than(one.rows[1], other.rows[1], medians, self.level)
        ]
        return sorted(found, key=lambda other: -other.span.value)


def contests(group: Group, medians: Medians) -> list[Contest]:
    """One for each mode and device that has more than the plain setting."""
    found = []
    ratios = [ratio for one in series(group, medians) for ratio in one.ratios]
    for mode, device in dict.fromkeys((one.mode, one.device) for one in ratios):
        own = tuple(one for one in ratios if (one.mode, one.device) == (mode, device))
        level = 1 - (1 - LEVEL) / len({ratio.setting for ratio in own})
        found.append(Contest(mode, device, own, level, tuple(_winners(own, level))))
    return found


def _winners(ratios: Sequence[Ratio], level: float) -> Iterator[Ratio]:
    for batch in sorted({one.batch for one in ratios}):
        faster = [one for one in ratios if one.batch == batch and one.faster_at(level)]
        if faster:
            yield max(faster, key=lambda one: one.span.value)


def best(group: Group, medians: Medians) -> list[Sentence]:
    """The fastest setting of each mode, device and batch size, against the plain one."""
    return [_best(group, one, medians) for one in contests(group, medians)]


def _best(group: Group, contest: Contest, medians: Medians) -> Sentence:
    """Of several settings some look faster by chance: together they err in 5 % of cases at most.

    That is so at each batch size.
    Each is held to an interval of 1 - 0.05 / their number for that (Bonferroni), and so is the
    fastest against each of the others: those that it cannot be told from are named.
    """
    ratios, winners, level = contest.ratios, contest.winners, contest.level
    many = contest.settings
    what = _what(group, contest.mode, contest.device)
    held = f" intervals of {100 * level:.1f} %, {100 * LEVEL:.0f} % for all {many} together"
    if not winners:
        told = (
            f"For {what} leave the settings plain: none of {many} others was found faster"
            f"{f' by{held}' if many > 1 else ''}.{_alone(ratios)}"
        )
        if all(one.span.low is None for one in ratios):
            told = f"Which setting is the fastest for {what} cannot be told: too few replicates."
        return Sentence(
            kind="best",
            text=told,
            evidence=_evidence(ratios),
            case_ids=_case_ids(ratios),
        )
    by_setting: dict[Setting, list[Ratio]] = {}
    for one in winners:
        by_setting.setdefault(one.setting, []).append(one)
    parts = [
        f"{label(setting)}, {listed([_won(one, contest, medians) for one in own])}"
        for setting, own in by_setting.items()
    ]
    chosen = f" Chosen from {many} settings by{held}" if many > 1 else ""
    if chosen:
        chosen += "; the best of several is a little flattering." if many > 2 else "."
    return Sentence(
        kind="best",
        text=f"Fastest for {what}, in times as fast as plain: {'; '.join(parts)}."
        f"{''.join(_price(own, len(by_setting) > 1) for own in by_setting.values())}{chosen}",
        evidence=_evidence(winners),
        case_ids=_case_ids(winners),
    )


def _won(one: Ratio, contest: Contest, medians: Medians) -> str:
    """`1.55× (1.39–1.72) at N=8 (not told from compile default)`."""
    rivals = contest.rivals(one, medians)
    names = [label(other.setting) for other in rivals[:MOST_RIVALS]]
    if len(rivals) > MOST_RIVALS:
        names.append(f"{len(rivals) - MOST_RIVALS} more")
    untold = f" (not told from {listed(names)})" if names else ""
    return f"{factor(one.span)} at N={one.batch}{untold}"


def _alone(ratios: Sequence[Ratio]) -> str:
    """Where none of several is sure to be faster: those that would be if there were no others."""
    faster = [one for one in ratios if one.direction is Direction.FASTER]
    if not faster:
        return ""
    named = [f"{label(one.setting)} at N={one.batch}" for one in faster]
    return f" Looked at alone {listed(named)} would be."


def _price(own: Sequence[Ratio], several: bool) -> str:
    """own: of one setting; several: others are named beside it."""
    price = [one for one in costs(own) if one != SAME_MEMORY] + paybacks(own)
    if not price:
        return ""
    return f" {f'{label(own[0].setting)}: ' if several else ''}{' '.join(price)}"


def _sentence(group: Group, one: Series) -> Sentence:
    faster = [ratio for ratio in one.ratios if ratio.direction is Direction.FASTER]
    slower = [ratio for ratio in one.ratios if ratio.direction is Direction.SLOWER]
    rest = [ratio for ratio in one.ratios if ratio.direction is Direction.UNCLEAR]
    unclear = [ratio for ratio in rest if ratio.span.low is not None]
    unsure = [ratio for ratio in rest if ratio.span.low is None]
    parts = []
    if faster:
        each = [f"{factor(r.span)} at N={r.batch}" for r in faster]
        parts.append(f"{listed(each)} as fast")
    if slower:
        # "0.09 times as fast" is hard to read: how many times as long is not.
        each = [f"{_longer(r)} at N={r.batch}" for r in slower]
        parts.append(f"takes {listed(each)} as long")
    if unclear:
        each = [f"N={r.batch} ({r.span.low:.2f}–{r.span.high:.2f})" for r in unclear]
        parts.append(f"no difference found at {listed(each)}")
    if unsure:
        each = [f"{factor(r.span)} at N={r.batch}" for r in unsure]
        parts.append(f"{listed(each)} as fast: too few replicates to be sure")
    kind: Kind = (
        "mixed" if faster and slower else "speedup" if faster else "slowdown" if slower else "none"
    )
    price = costs(one.ratios) + paybacks(faster) if faster else []
    tail = f". {' '.join(price)}" if price else "."
    return Sentence(
        kind=kind,
        text=f"{label(one.setting)}, {_what(group, one.mode, one.device)}: "
        f"{'; '.join(parts)}{tail}",
        evidence=_evidence(one.ratios),
        case_ids=_case_ids(one.ratios),
    )


def _what(group: Group, mode: str, device: str) -> str:
    on = f" on {device}" if len(group.devices) > 1 else ""
    return f"{mode} of {group.name}{on}"


def _longer(one: Ratio) -> str:
    """The reciprocal: how many times as long."""
    low, high = one.span.low, one.span.high
    if not low or not high:
        return factor(Span(1 / one.span.value))
    return factor(Span(1 / one.span.value, 1 / high, 1 / low))


def _evidence(ratios: Iterable[Ratio]) -> str:
    """`N=8: 7.92 ms → 5.37 ms, 5 replicates, paired`."""
    parts = []
    for one in ratios:
        before, after = call_s(one.rows[0]), call_s(one.rows[1])
        if before is None or after is None:
            continue
        doubts = ["", *flags(one.rows)]
        paired = ", paired" if one.method == "paired" else ""
        parts.append(
            f"N={one.batch}: {units.seconds(before)} → {units.seconds(after)}, "
            f"{int(one.rows[1].replicates or 0)} replicates{paired}{', '.join(doubts)}"
        )
    return "; ".join(parts)


def _case_ids(ratios: Iterable[Ratio]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(row.case_id for one in ratios for row in one.rows if row.case_id is not None)
    )


def _weight(one: Series) -> float:
    """Small comes first."""
    return -max(ratio.span.value for ratio in one.ratios)
