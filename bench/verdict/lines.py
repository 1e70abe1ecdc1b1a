"""Findings as lines of text, for a terminal, for Markdown and for a CI service alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core import units
from bench.verdict.power import MOST_TRIED
from bench.verdict.report import PIPELINED, TIME, Finding, Verdict, worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table of findings, as texts.

    figure: with its phase; empty if the verdict is about the whole case, which the note explains.
    reach:  the slowdown that pairs would have found, and the pairs that would find less.
    """

    case_id: str
    figure: str = ""
    base: str = ""
    value: str = ""
    ratio: str = ""
    verdict: Verdict
    reach: str = ""
    note: str = ""


def line(one: Finding) -> Line:
    """Return a finding as a line."""
    if one.figure is None:
        return Line(case_id=one.case_id, verdict=one.verdict, reach=reach(one), note=one.note)
    return Line(
        case_id=one.case_id,
        figure=f"{one.phase}{named(one.figure)}",
        base=figure(one.figure, one.base),
        value=figure(one.figure, one.value),
        ratio=percent_more(one.ratio, one.ratio_low, one.ratio_high),
        verdict=one.verdict,
        reach=reach(one),
        note=one.note,
    )


def counted_line(own: Sequence[Finding]) -> Line:
    """Return the counted figures of one case and phase as a single line."""
    first, notes = own[0], dict.fromkeys(one.note for one in own if one.note)
    return Line(
        case_id=first.case_id,
        figure=f"{first.phase}: {'; '.join(map(_counted, own))}",
        verdict=worst(own).verdict,
        note="; ".join(notes),
    )


def _counted(one: Finding) -> str:
    """Return a counted figure as text: `operators 51 → 53 (+3.9 %)`."""
    name, shown = str(one.figure).removesuffix("_bytes").replace("_", " "), line(one)
    return f"{name} {shown.base} → {shown.value}{f' ({shown.ratio})' if shown.ratio else ''}"


def named(name: str) -> str:
    """Return the name of a figure, to follow the phase; empty for the latency of pairs."""
    if name == PIPELINED:
        return " back-to-back"
    return "" if name == TIME else f" {name}"


def figure(name: str, value: float | None) -> str:
    """Return a value as text, in the unit that the name of the figure ends with."""
    if name.endswith("_per_s"):
        return units.count(value, "/s")
    if name.endswith("_s"):
        return units.seconds(value)
    if name.endswith("_bytes"):
        return units.bytes_(value)
    return "–" if value is None else f"{value:,.0f}"


def percent_more(ratio: float | None, low: float | None, high: float | None) -> str:
    """Return a ratio as a change in percent with its interval: `+12.3 % (+8.0 to +16.9 %)`.

    The interval is `(too wide)` if it says nothing.
    """
    if ratio is None:
        return ""
    text = f"{100 * (ratio - 1):+.1f} %"
    if low is None or high is None:
        return text
    if units.is_too_wide(ratio, low, high):
        text += f" ({units.TOO_WIDE})"
    else:
        text += f" ({100 * (low - 1):+.1f} to {100 * (high - 1):+.1f} %)"
    return text


def reach(one: Finding) -> str:
    """Return `would have found +37 %, needs about --pairs 112` for an INCONCLUSIVE finding.

    A part that is unknown is left out.  The text is empty for other verdicts.
    """
    if one.verdict != "INCONCLUSIVE":
        return ""
    parts = []
    least = one.evidence.smallest_effect_ratio
    if least is not None and math.isfinite(least):
        parts.append(f"would have found {100 * least:+.0f} %")
    match one.evidence.outlook:
        case "more pairs":
            parts.append(f"needs about --pairs {one.evidence.pairs_needed}")
        case "go on":
            parts.append("lacks planned pairs (--resume)")
        case "given up":
            parts.append("a look ended it")
        case "too noisy":
            parts.append(f"needs more than --pairs {MOST_TRIED}")
    return ", ".join(parts)
