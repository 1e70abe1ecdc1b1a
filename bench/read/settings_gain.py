"""What each setting gains or loses over the plain one, what it costs, and when that has paid.

Every sentence says what was compared and how sure it is; where an interval holds 1 it says
"no difference found".  Rows that are flagged as faster than possible support nothing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench import units
from bench.read.compare import Medians
from bench.read.plot_data import Group, Setting, Span, finite, flags, label
from bench.read.plot_ratio import FASTER, SLOWER, Ratio, against_plain
from bench.read.sentence import Kind, Sentence, factor, listed
from bench.records import Row

MEMORY = 0.02  # of the peak: less is not worth a word
ERROR = 10.0  # times the plain setting's relative error: less is rounding of the same kind


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
        if not any("implausible" in (row.flags or "").split(";") for row in ratio.rows):
            found.setdefault((ratio.mode, ratio.device, ratio.setting), []).append(ratio)
    return [
        Series(*key, tuple(sorted(ratios, key=lambda one: one.batch)))
        for key, ratios in found.items()
    ]


def gains(group: Group, medians: Medians) -> list[Sentence]:
    """A sentence a setting, mode and device; what gains most comes first, what loses last."""
    all_ = series(group, medians)
    return [_sentence(group, one) for one in sorted(all_, key=_weight)]


def best(group: Group, medians: Medians) -> list[Sentence]:
    """The fastest setting of each mode, device and batch size, against the plain one."""
    found = []
    ratios = [ratio for one in series(group, medians) for ratio in one.ratios]
    for mode, device in dict.fromkeys((one.mode, one.device) for one in ratios):
        own = [one for one in ratios if (one.mode, one.device) == (mode, device)]
        found.append(_best(group, mode, device, own))
    return found


def _best(group: Group, mode: str, device: str, ratios: Sequence[Ratio]) -> Sentence:
    compared = {ratio.setting for ratio in ratios}
    winners = []
    for batch in sorted({one.batch for one in ratios}):
        faster = [one for one in ratios if one.batch == batch and one.look is FASTER]
        if faster:
            winners.append(max(faster, key=lambda one: one.span.value))
    what = _what(group, mode, device)
    if not winners:
        told = (
            f"For {what} leave the settings plain: none of {len(compared)} others was found faster."
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
        f"{label(setting)}, {listed([f'{factor(one.span)} at N={one.batch}' for one in own])}"
        for setting, own in by_setting.items()
    ]
    many = len(compared)
    chosen = f" Chosen from {many} settings by these figures: a little flattering." * (many > 2)
    return Sentence(
        kind="best",
        text=f"Fastest for {what}, in times as fast as plain: {'; '.join(parts)}.{chosen}",
        evidence=_evidence(winners),
        case_ids=_case_ids(winners),
    )


def _sentence(group: Group, one: Series) -> Sentence:
    faster = [ratio for ratio in one.ratios if ratio.look is FASTER]
    slower = [ratio for ratio in one.ratios if ratio.look is SLOWER]
    rest = [ratio for ratio in one.ratios if ratio.look not in (FASTER, SLOWER)]
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
    kind: Kind = "gain" if faster and not slower else "loss" if slower else "none"
    costs = _costs(one.ratios) + _paybacks(faster) if faster else []
    tail = f". {' '.join(costs)}" if costs else "."
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


def _costs(ratios: Sequence[Ratio]) -> list[str]:
    """Memory and error: whole sentences."""
    found = []
    rows = [one.rows for one in ratios]
    memory = [
        value.peak_bytes / base.peak_bytes
        for base, value in rows
        if base.peak_bytes and value.peak_bytes
    ]
    if memory and max(memory) > 1 + MEMORY:
        found.append(f"It needs up to {100 * (max(memory) - 1):.0f} % more memory.")
    elif memory and min(memory) < 1 - MEMORY:
        found.append(f"It needs up to {100 * (1 - min(memory)):.0f} % less memory.")
    elif memory:
        found.append("Memory is the same.")
    worst = max((_error(base, value) for base, value in rows), default=0.0)
    if worst:
        found.append(f"Its result is off by up to {worst:.1g} (relative, against float64).")
    return found


def _paybacks(faster: Iterable[Ratio]) -> list[str]:
    """What is spent once, where something is gained that can pay it back."""
    return [once for one in faster if (once := _paid_once(*one.rows))]


def _error(base: Row, value: Row) -> float:
    """The setting's relative error where it is of another kind than the plain one's, else 0."""
    if value.relative_error is None:
        return 0.0
    usual = ERROR * (base.relative_error or 0.0)
    return value.relative_error if value.relative_error > usual else 0.0


def _paid_once(base: Row, value: Row) -> str:
    """Compiling or cuDNN's search, and after how many calls it has paid."""
    once = (value.compile_cold_s or 0.0) + (value.tuning_s or 0.0)
    before, after = _call_s(base), _call_s(value)
    if not once or before is None or after is None or after >= before:
        return ""
    kinds = (("compiling", value.compile_cold_s), ("cuDNN's search", value.tuning_s))
    what = " and ".join(kind for kind, spent_s in kinds if spent_s)
    what, takes = what[:1].upper() + what[1:], "take" if " and " in what else "takes"
    calls = math.ceil(once / (before - after))
    return (
        f"{what} {takes} {units.seconds(once)} once, at N={value.batch} paid back after "
        f"{calls:,} calls."
    )


def _call_s(row: Row) -> float | None:
    return finite(row.pipelined_s) or finite(row.latency_median_s)


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
        before, after = _call_s(one.rows[0]), _call_s(one.rows[1])
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
