"""The three quantities that are drawn over batch size."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.compare.groups import Group, Setting, Span, finite
from bench.core import units
from bench.core.records import Row


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity of a row, and its texts.

    title:  the title of the figure, with a placeholder for the subject.
    unit:   the unit of the ticks.
    span:   returns the value and interval of a row in SI units; None if unknown.
    show:   returns a value as text with its unit.
    lower:  whether lower is better.
    kind:   the kind of the times behind it, `latency` or `pipelined`.
    """

    title: str
    axis: str
    short: str
    unit: str
    span: Callable[[Row], Span | None]
    show: Callable[[float], str]
    lower: bool
    kind: str = "latency"


def _latency(row: Row) -> Span | None:
    value = finite(row.latency_median_s)
    if value is None:
        return None
    return Span(value, finite(row.latency_low_s), finite(row.latency_high_s))


def throughput_of(row: Row) -> Span | None:
    """Return images per second; its lower end comes from the upper end of the time."""
    value = finite(row.images_per_s)
    if value is None:
        return None
    low_s, high_s = finite(row.pipelined_low_s), finite(row.pipelined_high_s)
    batch = float(row.batch or 0)
    return Span(value, batch / high_s if high_s else None, batch / low_s if low_s else None)


def _memory(row: Row) -> Span | None:
    value = finite(row.peak_bytes)
    return Span(value) if value is not None else None


LATENCY = Quantity(
    "Latency: how long one call of {} takes",
    "latency of one call (median)",
    "latency",
    "s",
    _latency,
    units.seconds,
    lower=True,
)
THROUGHPUT = Quantity(
    "Throughput: how many images per second {} processes",
    "throughput, back to back (images/s)",
    "throughput",
    "",
    throughput_of,
    units.count,
    lower=False,
    kind="pipelined",
)
MEMORY = Quantity(
    "Peak memory: how much memory {} needs",
    "peak memory (allocated)",
    "peak memory",
    "B",
    _memory,
    units.bytes_,
    lower=True,
)


def rank(group: Group, quantity: Quantity) -> Mapping[Setting, float]:
    """Return, by setting, the best value of all panels at the largest batch; smaller is better."""
    found: dict[Setting, float] = {}
    for row in group.rows:
        span = quantity.span(row)
        if span and row.batch == group.batches[-1]:
            value = span.value if quantity.lower else 1 / span.value
            key = group.setting(row)
            found[key] = min(found.get(key, math.inf), value)
    return found
