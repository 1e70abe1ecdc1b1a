"""The batch size beyond which throughput hardly grows, and the memory of each further image.

The medians choose the batch size; the interval of its share of the best throughput says how
certain the choice is.
"""

from collections.abc import Sequence

from bench.compare.groups import PLAIN, Group, Span, finite, flags
from bench.compare.setting_speedup import ratio
from bench.core import units
from bench.core.records import Row
from bench.insights.insight import Insight, factor
from bench.results.results import Medians

ENOUGH = 0.95  # of the best throughput


def scaling(group: Group, medians: Medians) -> list[Insight]:
    """Return an insight for each mode and device with two or more batch sizes in plain."""
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
                found.append(_of_rows(f"{mode} of {group.name}{on}", ordered, medians))
    return found


def _of_rows(work: str, rows: Sequence[Row], medians: Medians) -> Insight:
    """Return the insight on rows by batch."""
    best = max(rows, key=_rate)
    enough = next(row for row in rows if _rate(row) >= ENOUGH * _rate(best))
    largest = rows[-1]
    if enough is largest:
        text = _at_the_end(work, rows[-2], largest, medians)
    else:
        text = _enough(work, enough, best if best is not enough else largest, medians)
    return Insight(
        kind="batch",
        text=text + _memory(rows),
        evidence="; ".join(
            f"N={row.batch}: {units.count(_rate(row))} images/s"
            + (f", peak {units.bytes_(row.peak_bytes)}" if row.peak_bytes else "")
            for row in rows
        ),
        case_ids=tuple(row.case_id for row in rows if row.case_id is not None),
    )


def _enough(work: str, enough: Row, other: Row, medians: Medians) -> str:
    """Compare `enough` with `other`: the batch of highest throughput, or else the largest."""
    share = _throughput(other, enough, medians) or Span(_rate(enough) / _rate(other))
    percent, doubt = f"{100 * share.value:.0f} %", ""
    if share.low is None or share.high is None:
        doubt = " The share is uncertain: there are too few replicates."
    else:
        percent += f" ({100 * share.low:.0f}–{100 * share.high:.0f})"
        if share.low < ENOUGH:
            doubt = f" The true share may be below {100 * ENOUGH:.0f} %."
    return (
        f"A batch of {enough.batch} {'may be' if doubt else 'is'} enough for {work}: it reaches "
        f"{units.count(_rate(enough))} images/s, {percent} of the {units.count(_rate(other))} "
        f"images/s at N={other.batch}.{doubt}"
    )


def _throughput(base: Row, value: Row, medians: Medians) -> Span | None:
    """Return images/s at `value` / images/s at `base`."""
    found = ratio(base, value, medians)
    if found is None:
        return None
    per_call, _ = found
    images = (value.batch or 1) / (base.batch or 1)
    ends = (None if end is None else end * images for end in (per_call.low, per_call.high))
    return Span(per_call.value * images, *ends)


def _at_the_end(work: str, before: Row, largest: Row, medians: Medians) -> str:
    """Compare the largest batch, which has the highest throughput, with the one before."""
    found = _throughput(before, largest, medians)
    if found is None:
        return f"The growth of throughput for {work} at N={largest.batch} is unknown."
    if found.low is not None and found.low <= 1:
        return (
            f"No difference in throughput was found for {work} between N={before.batch} and "
            f"N={largest.batch}, the largest batch measured: {factor(found)}."
        )
    doubt = " The growth is uncertain: there are too few replicates." if found.low is None else ""
    return (
        f"The throughput of {work} still grows at N={largest.batch}, the largest batch measured: "
        f"it is {units.count(_rate(largest))} images/s, {factor(found)} as much as at "
        f"N={before.batch}.{doubt} Try larger batches."
    )


def _memory(rows: Sequence[Row]) -> str:
    """Return the memory of one more image: the slope between the smallest and the largest batch."""
    known = [row for row in rows if row.peak_bytes and row.batch]
    if len(known) < 2:
        return ""
    first, last = known[0], known[-1]
    slope = ((last.peak_bytes or 0) - (first.peak_bytes or 0)) / (
        (last.batch or 0) - (first.batch or 0)
    )
    return f" Each further image needs {units.bytes_(slope)}." if slope > 0 else ""


def _rate(row: Row) -> float:
    return row.images_per_s or 0.0
