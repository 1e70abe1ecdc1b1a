"""Names of rows for people: the subject, its input, the settings that are not plain."""

from collections import Counter
from collections.abc import Collection, Iterable

from bench.core.axes import AXES
from bench.core.records import Case, Row

NOT_SETTINGS = ("mode", "batch", "device", "input")  # each has a place of its own in a name
SPEAK_FOR_THEMSELVES = frozenset({"device", "memory_format"})
PLAIN = {axis.name: axis.values[0] for axis in AXES if axis.values}


def of_several_inputs(rows: Iterable[Row]) -> set[str | None]:
    """Return the subjects that the run measured on more than one input."""
    inputs = {(row.subject, row.input) for row in rows}
    return {name for name, count in Counter(name for name, _ in inputs).items() if count > 1}


def named(row: Row, several: Collection[str | None]) -> str:
    """Return the subject, and its input if the subject is in `several`."""
    name = row.subject or ""
    return f"{name} on {row.input}" if row.subject in several else name


def settings(row: Row | Case, apart: str = "") -> str:
    """Return the settings that are not plain, without the axis `apart`; or `plain`."""
    parts = [] if row.device in (None, "cpu") or apart == "device" else [str(row.device)]
    for axis in AXES:
        value = getattr(row, axis.name)
        if axis.name in (*NOT_SETTINGS, apart) or value is None:
            continue
        if value != (PLAIN.get(axis.name) or axis.default):
            parts.append(setting_name(axis.name, str(value)))
    return " ".join(parts) or "plain"


def setting_name(axis: str, value: str) -> str:
    """`amp=bfloat16`; of an axis whose values speak for themselves the value: `channels_last`."""
    return value if axis in SPEAK_FOR_THEMSELVES else f"{axis}={value}"


def half_width(row: Row) -> float | None:
    """Half of the 95 % interval of the latency divided by the median; None = unknown."""
    low, high, median = row.latency_low_s, row.latency_high_s, row.latency_median_s
    return None if low is None or high is None or not median else (high - low) / 2 / median
