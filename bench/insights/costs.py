"""The costs of a setting: memory, numerical error, and one-time work with its payback."""

from collections.abc import Iterable, Sequence

from bench.compare.groups import Span, finite
from bench.compare.setting_speedup import SettingSpeedup
from bench.core import units
from bench.core.records import Row

MEMORY = 0.02  # of the peak; smaller differences are not mentioned
SAME_MEMORY = "It needs the same memory."
ERROR = 10.0  # times the relative error of the plain setting; less is the same rounding
MOST_CALLS = 1e9  # eleven days at a millisecond each: nobody makes more calls
NEVER = "practically never"


def costs(speedups: Sequence[SettingSpeedup]) -> list[str]:
    """Return whole sentences about memory and error."""
    found = []
    rows = [one.rows for one in speedups]
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
        found.append(SAME_MEMORY)
    worst = max((_error(base, value) for base, value in rows), default=0.0)
    if worst:
        found.append(f"Its relative error is up to {worst:.1g}, compared with float64.")
    return found


def paybacks(faster: Iterable[SettingSpeedup]) -> list[str]:
    """Return one-time costs of the settings that are faster, and the calls that pay them back."""
    return [text for one in faster if (text := _one_time_cost(one))]


def call_s(row: Row) -> float | None:
    """Return the time of a back-to-back call; else the latency."""
    return finite(row.pipelined_s) or finite(row.latency_median_s)


def _error(base: Row, value: Row) -> float:
    """Return the relative error of the setting if it is far larger than that of plain, else 0."""
    if value.relative_error is None:
        return 0.0
    usual = ERROR * (base.relative_error or 0.0)
    return value.relative_error if value.relative_error > usual else 0.0


def _one_time_cost(one: SettingSpeedup) -> str:
    """Compiling or the search of cuDNN, beyond that of the plain setting, and its payback."""
    base, value = one.rows
    if base.compile not in (None, "off") and base.compile_cold_s is None:
        return ""  # the cost in the plain setting is unknown, and so is the difference
    kinds = (
        ("compiling", base.compile_cold_s, value.compile_cold_s),
        ("the search of cuDNN", base.tuning_s, value.tuning_s),
    )
    extra_s = sum((spent_s or 0.0) - (plain_s or 0.0) for _, plain_s, spent_s in kinds)
    before_s = call_s(base)
    if extra_s <= 0 or before_s is None:
        return ""
    what = " and ".join(kind for kind, _, spent_s in kinds if spent_s)
    what, takes = what[:1].upper() + what[1:], "take" if " and " in what else "takes"
    more = "more than in the plain setting, " if any(plain_s for _, plain_s, _ in kinds) else ""
    # The cache is empty for the first replicate alone; the others compile warm.
    seen = " (measured in one replicate)" if value.compile_cold_s else ""
    paid = _paid_back(extra_s, before_s, one.span)
    spent = f"{what} {takes} {units.seconds(extra_s)} {more}once{seen}"
    return f"{spent}; at N={one.batch} this is {paid}."


def _paid_back(cost_s: float, before_s: float, speedup: Span) -> str:
    """`paid back after 2,000 calls (1,800–2,200)`, from a speedup and its interval."""
    calls = _calls(cost_s, before_s, speedup.value)
    ends = [_calls(cost_s, before_s, one) for one in (speedup.high, speedup.low) if one is not None]
    if calls == NEVER:
        return f"{NEVER} paid back"
    if set(ends) <= {calls}:
        return f"paid back after {calls} call{'' if calls == '1' else 's'}"
    between = " to " if NEVER in ends else "–"
    return f"paid back after {calls} calls ({between.join(ends)})"


def _calls(cost_s: float, before_s: float, speedup: float) -> str:
    """Return the number of calls with three digits: a single measurement is not more precise."""
    saved_s = before_s * (1 - 1 / speedup)
    if saved_s <= 0 or cost_s / saved_s > MOST_CALLS:
        return NEVER
    return f"{max(1.0, float(f'{cost_s / saved_s:.3g}')):,.0f}"
