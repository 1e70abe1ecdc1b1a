"""The three figures that are drawn against batch size."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.compare.groups import Group, Setting, Span, finite
from bench.core import units
from bench.core.records import Row


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is drawn against batch size.

    span:   of a row, in SI units; None where it is unknown.
    lower:  whether lower is better.
    """

    title: str
    axis: str
    short: str
    span: Callable[[Row], Span | None]
    show: Callable[[float], str]
    lower: bool


def _latency(row: Row) -> Span | None:
    value = finite(row.latency_median_s)
    if value is None:
        return None
    return Span(value, finite(row.latency_low_s), finite(row.latency_high_s))


def throughput_of(row: Row) -> Span | None:
    """Images per second; the ends change places with those of the time."""
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
    "How long does one call of {} take?",
    "latency of one call, median",
    "latency",
    _latency,
    units.seconds,
    lower=True,
)
THROUGHPUT = Quantity(
    "How many images per second does {} get through?",
    "throughput (images/s), back to back",
    "throughput",
    throughput_of,
    units.count,
    lower=False,
)
MEMORY = Quantity(
    "How much memory does {} need?",
    "peak memory, allocated",
    "peak memory",
    _memory,
    units.bytes_,
    lower=True,
)


def rank(group: Group, quantity: Quantity) -> Mapping[Setting, float]:
    """Settings by what they reach at the largest batch, the best of any panel."""
    found: dict[Setting, float] = {}
    for row in group.rows:
        span = quantity.span(row)
        if span and row.batch == group.batches[-1]:
            value = span.value if quantity.lower else 1 / span.value
            key = group.setting(row)
            found[key] = min(found.get(key, math.inf), value)
    return found
