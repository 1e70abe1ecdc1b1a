"""Format numbers for people.  No other module scales units."""

import math

from bench.core.text import number_of

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
TOO_WIDE = "too wide"  # in the place of an interval, or of half of one
WHY_TOO_WIDE = (
    "too wide: the 95 % interval is so wide that it says nothing; more replicates or pairs, or a "
    "quieter machine, narrow it"
)
_MOST_HALF_WIDTH = 1.0  # of an interval that says something, as a share of its figure
_SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def seconds(value_s: float | None) -> str:
    """`0.01234` → `12.3 ms`; unknown is an en dash."""
    if value_s is None or not math.isfinite(value_s):
        return "–"
    if value_s == 0:
        return "0 s"
    for scale, prefix in _SMALL:
        if abs(value_s) >= 0.9995 * scale:
            return f"{_three(value_s / scale)} {prefix}s"
    return f"{_three(value_s / 1e-9)} ns"


def signed(value_s: float) -> str:
    """Return a difference of two durations: `0.0019` → `+1.90 ms`."""
    return f"{'+' if value_s >= 0 else '-'}{seconds(abs(value_s))}"


def count(value: float | None, unit: str = "") -> str:
    """`4712484864` → `4.71 G`; `count(2e9, "FLOP/s")` → `2.00 GFLOP/s`."""
    if value is None or not math.isfinite(value):
        return "–"
    for scale, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * scale:
            return f"{_three(value / scale)} {prefix}{unit}".rstrip()
    shown = f"{value:#.2g}" if 0 < abs(value) < 0.0995 else _three(value)  # `0.0033`, not `0.00`
    return f"{shown} {unit}".rstrip()


def bytes_(value_bytes: float | None) -> str:
    """Return bytes with a decimal prefix, as in the columns: `48140000` → `48.1 MB`."""
    return count(value_bytes, "B")


def speedup(ratio: float | None) -> str:
    """`1.468` → `1.47×`, `15.44` → `15.4×`, `0.0432` → `0.043×`; unknown is an en dash."""
    if ratio is None or not math.isfinite(ratio):
        return "–"
    if ratio >= 999.5:
        return f"{ratio:.0f}×"
    if ratio >= 9.995:
        return f"{ratio:.3g}×"
    return f"{ratio:.2f}×" if ratio >= 0.0995 else f"{ratio:#.2g}×"


def speedup_with_interval(
    ratio: float | None, low: float | None, high: float | None, replicates: int
) -> str:
    """`1.40× (1.24–1.58)`; without an interval `1.40× (2 replicates)`; `1.40× (too wide)`."""
    if ratio is None or not math.isfinite(ratio):
        return "–"
    if low is None or high is None:
        return f"{speedup(ratio)} ({number_of_replicates(replicates)})"
    if is_too_wide(ratio, low, high):
        return f"{speedup(ratio)} ({TOO_WIDE})"
    ends = (speedup(end).removesuffix("×") for end in (low, high))
    return f"{speedup(ratio)} ({'–'.join(ends)})"


def is_too_wide(ratio: float, low: float, high: float) -> bool:
    """Return whether the interval of a ratio says nothing: it is wide, and 1 is in it."""
    wide = not math.isfinite(high - low) or (high - low) / 2 >= _MOST_HALF_WIDTH * ratio
    return wide and low <= 1 <= high


def half_width(share: float | None) -> str:
    """Half of an interval, as a share of its figure: `0.031` → `3.1 %`, `3.77` → `too wide`."""
    if share is None or not (share >= _MOST_HALF_WIDTH or math.isinf(share)):
        return percent(share)
    return TOO_WIDE


def number_of_replicates(count: int) -> str:
    """`2 replicates`."""
    return number_of(count, "replicate")


def percent(ratio: float | None) -> str:
    """`0.0834` → `8.3 %`; from tenfold on `> 1000 %`."""
    if ratio is None or not math.isfinite(ratio):
        return "–"
    return f"{100 * ratio:.1f} %" if ratio < 10 else "> 1000 %"


def duration(value_s: float) -> str:
    """Return a duration in minutes: `75` → `1:15`, `4000` → `1:06:40`."""
    whole = max(0, round(value_s))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def _three(value: float) -> str:
    """Return three significant digits, never in scientific notation below a million."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}"
