"""What a setting costs: memory and error, and what is spent once, with when that has paid."""

from collections.abc import Iterable, Sequence

from bench.compare.groups import Span, finite
from bench.compare.setting_speedup import Ratio
from bench.core import units
from bench.core.records import Row

MEMORY = 0.02  # of the peak: less is not worth a word
SAME_MEMORY = "Memory is the same."
ERROR = 10.0  # times the plain setting's relative error: less is rounding of the same kind
MOST_CALLS = 1e9  # nobody waits for so many: at a millisecond each eleven days
NEVER = "practically never"


def costs(ratios: Sequence[Ratio]) -> list[str]:
    """Memory and error: whole sentences."""
    found = []
    rows = [one.rows for one in ratios]
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
        found.append(f"Its result is off by up to {worst:.1g} (relative, against float64).")
    return found


def paybacks(faster: Iterable[Ratio]) -> list[str]:
    """What is spent once, where something is gained that can pay it back."""
    return [once for one in faster if (once := _paid_once(one))]


def call_s(row: Row) -> float | None:
    """Back to back, else a single one."""
    return finite(row.pipelined_s) or finite(row.latency_median_s)


def _error(base: Row, value: Row) -> float:
    """The setting's relative error where it is of another kind than the plain one's, else 0."""
    if value.relative_error is None:
        return 0.0
    usual = ERROR * (base.relative_error or 0.0)
    return value.relative_error if value.relative_error > usual else 0.0


def _paid_once(one: Ratio) -> str:
    """Compiling or cuDNN's search, beyond the plain setting's, and when that has paid."""
    base, value = one.rows
    if base.compile not in (None, "off") and base.compile_cold_s is None:
        return ""  # what the plain setting spends is unknown, and so is the difference
    kinds = (
        ("compiling", base.compile_cold_s, value.compile_cold_s),
        ("cuDNN's search", base.tuning_s, value.tuning_s),
    )
    once = sum((spent_s or 0.0) - (plain_s or 0.0) for _, plain_s, spent_s in kinds)
    before_s = call_s(base)
    if once <= 0 or before_s is None:
        return ""
    what = " and ".join(kind for kind, _, spent_s in kinds if spent_s)
    what, takes = what[:1].upper() + what[1:], "take" if " and " in what else "takes"
    more = " more than in the plain setting" if any(plain_s for _, plain_s, _ in kinds) else ""
    # The cache is empty for the first replicate alone; the others compile warm.
    seen = " (as one replicate saw it)" if value.compile_cold_s else ""
    paid = _paid_back(once, before_s, one.span)
    return f"{what} {takes} {units.seconds(once)} once{more}{seen}, at N={one.batch} {paid}."


def _paid_back(once_s: float, before_s: float, speedup: Span) -> str:
    """`paid back after 2,000 calls (1,800–2,200)`: from a speedup and its interval."""
    calls = _calls(once_s, before_s, speedup.value)
    ends = [_calls(once_s, before_s, one) for one in (speedup.high, speedup.low) if one is not None]
    if calls == NEVER:
        return f"{NEVER} paid back"
    if set(ends) <= {calls}:
        return f"paid back after {calls} calls"
    between = " to " if NEVER in ends else "–"
    return f"paid back after {calls} calls ({between.join(ends)})"


def _calls(once_s: float, before_s: float, speedup: float) -> str:
    """Three digits: what was seen once is not known better."""
    saved_s = before_s * (1 - 1 / speedup)
    if saved_s <= 0 or once_s / saved_s > MOST_CALLS:
        return NEVER
    return f"{max(1.0, float(f'{once_s / saved_s:.3g}')):,.0f}"
