"""Names of rows for people: the subject, its input, the settings that are not plain."""

from collections import Counter
from collections.abc import Collection, Iterable

from bench.core.axes import AXES
from bench.core.records import Row

NOT_SETTINGS = ("mode", "batch", "device", "input")  # each has a place of its own in a name
PLAIN = {axis.name: axis.values[0] for axis in AXES if axis.values}


def of_several_inputs(rows: Iterable[Row]) -> set[str | None]:
    """Return the subjects that the run measured on more than one input."""
    inputs = {(row.subject, row.input) for row in rows}
    return {name for name, count in Counter(name for name, _ in inputs).items() if count > 1}


def named(row: Row, several: Collection[str | None]) -> str:
    """Return the subject, and its input if the subject is in `several`."""
    name = row.subject or ""
    return f"{name} on {row.input}" if row.subject in several else name


def settings(row: Row, apart: str = "") -> str:
    """Return the settings that are not plain, without the axis `apart`; or `plain`."""
    parts = [] if row.device in (None, "cpu") else [row.device]
    for axis in AXES:
        value = getattr(row, axis.name)
        if axis.name in (*NOT_SETTINGS, apart) or value is None:
            continue
        if value != (PLAIN.get(axis.name) or axis.default):
            parts.append(f"{axis.name}={value}" if axis.name != "memory_format" else str(value))
    return " ".join(parts) or "plain"


def half_width(row: Row) -> float | None:
    """Half of the 95 % interval of the latency divided by the median; None = unknown."""
    low, high, median = row.latency_low_s, row.latency_high_s, row.latency_median_s
    return None if low is None or high is None or not median else (high - low) / 2 / median
