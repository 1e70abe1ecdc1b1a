"""From which batch size on a larger one gains little, and what each further image takes.

Which batch is enough is chosen by the figures; the interval of what it has of the most says how
sure that is.
"""

from collections.abc import Sequence

from bench.compare.groups import PLAIN, Group, Span, finite, flags
from bench.compare.setting_speedup import ratio
from bench.core import units
from bench.core.records import Row
from bench.insights.insight import Sentence, factor
from bench.results.results import Medians

ENOUGH = 0.95  # of the best throughput


def scaling(group: Group, medians: Medians) -> list[Sentence]:
    """A sentence a mode and device, from the plain setting at two batch sizes or more."""
    found = []
    for device in group.devices:
        for mode in group.modes:
            rows = [
                row
                for row in group.rows
                if (row.mode, row.device) == (mode, device)
                and group.setting(row) == PLAIN
                and row.batch
                and finite(row.images_per_s)
                and "implausible" not in flags([row])
            ]
            if len({row.batch for row in rows}) > 1:
                on = f" on {device}" if len(group.devices) > 1 else ""
                ordered = sorted(rows, key=lambda row: row.batch or 0)
                found.append(_sentence(f"{mode} of {group.name}{on}", ordered, medians))
    return found


def _sentence(what: str, rows: Sequence[Row], medians: Medians) -> Sentence:
    """rows: by batch."""
    best = max(rows, key=_rate)
    enough = next(row for row in rows if _rate(row) >= ENOUGH * _rate(best))
    largest = rows[-1]
    if enough is largest:
        told = _at_the_end(what, rows[-2], largest, medians)
    else:
        told = _enough(what, enough, best if best is not enough else largest, medians)
    return Sentence(
        kind="batch",
        text=told + _memory(rows),
        evidence="; ".join(
            f"N={row.batch}: {units.count(_rate(row))} images/s"
            + (f", peak {units.bytes_(row.peak_bytes)}" if row.peak_bytes else "")
            for row in rows
        ),
        case_ids=tuple(row.case_id for row in rows if row.case_id is not None),
    )


def _enough(what: str, enough: Row, other: Row, medians: Medians) -> str:
    """other: the batch of the most throughput; the largest one where `enough` itself has it."""
    share = _throughput(other, enough, medians) or Span(_rate(enough) / _rate(other))
    percent, doubt = f"{100 * share.value:.0f} %", ""
    if share.low is None or share.high is None:
        doubt = " (one replicate: how sure that is cannot be told)"
    else:
        percent += f" ({100 * share.low:.0f}–{100 * share.high:.0f})"
        if share.low < ENOUGH:
            doubt = f", which is not sure to be {100 * ENOUGH:.0f} %"
    return (
        f"A batch of {enough.batch} {'may be' if doubt else 'is'} enough for {what}: "
        f"{units.count(_rate(enough))} images/s, {percent} of the {units.count(_rate(other))} at "
        f"N={other.batch}{doubt}."
    )


def _throughput(base: Row, value: Row, medians: Medians) -> Span | None:
    """Images/s at `value` / those at `base`, with its interval."""
    found = ratio(base, value, medians)
    if found is None:
        return None
    per_call, _ = found
    images = (value.batch or 1) / (base.batch or 1)
    ends = (None if end is None else end * images for end in (per_call.low, per_call.high))
    return Span(per_call.value * images, *ends)


def _at_the_end(what: str, before: Row, largest: Row, medians: Medians) -> str:
    """The largest batch has the most throughput: whether more than the one before it."""
    found = _throughput(before, largest, medians)
    if found is None:
        return f"Whether throughput of {what} still grows at N={largest.batch} is unknown."
    known = found.low is not None
    if found.low is not None and found.low <= 1:
        return (
            f"Throughput of {what}: no difference found between N={before.batch} and "
            f"N={largest.batch}, the largest measured: {factor(found)}."
        )
    return (
        f"Throughput of {what} still grows at N={largest.batch}, the largest measured: "
        f"{units.count(_rate(largest))} images/s, {factor(found)} that at N={before.batch}"
        f"{'' if known else ' (one replicate: how sure that is cannot be told)'}; try larger ones."
    )


def _memory(rows: Sequence[Row]) -> str:
    """What an image more takes: the slope between the smallest and the largest batch."""
    known = [row for row in rows if row.peak_bytes and row.batch]
    if len(known) < 2:
        return ""
    first, last = known[0], known[-1]
    slope = ((last.peak_bytes or 0) - (first.peak_bytes or 0)) / (
        (last.batch or 0) - (first.batch or 0)
    )
    return f" Each further image takes {units.bytes_(slope)}." if slope > 0 else ""


def _rate(row: Row) -> float:
    return row.images_per_s or 0.0
