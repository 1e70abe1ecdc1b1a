"""Static metrics of a candidate: whether it is right, how much memory it needs."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.core.records import StaticMetrics


@dataclass(frozen=True, slots=True)
class Static:
    """Static metrics by column name, and the verdict of the float64 check.

    wrong: why the result is wrong; None = it is right, or cannot be checked.
    doubt: why it cannot be checked; None = it was.
    """

    metrics: Mapping[str, float]
    wrong: str | None = None
    doubt: str | None = None

    @property
    def error(self) -> float | None:
        return self.metrics.get("relative_error")

    @classmethod
    def of(cls, found: StaticMetrics) -> "Static":
        doubt = found.problems.get("relative_error") or found.problems.get("all")
        return cls(dict(found.metrics), found.invalid, doubt)


def refused(static: Static, max_error: float | None, max_memory: float | None) -> str | None:
    """Return why a candidate may not win; None if it may.

    max_error: largest relative error against float64.  max_memory: largest peak in bytes.
    """
    if static.wrong:
        return f"wrong: {static.wrong}"
    if max_error is not None:
        if static.error is None:
            return f"its error is unknown ({static.doubt or 'there is no reference'})"
        if static.error > max_error:
            return f"its error of {static.error:.1e} is above {max_error:.1e}"
    peak = static.metrics.get("peak_bytes")
    if max_memory is not None:
        if peak is None:
            return "its memory is unknown"
        if peak > max_memory:
            return f"it needs {peak:.0f} B of memory, more than {max_memory:.0f} B"
    return None
