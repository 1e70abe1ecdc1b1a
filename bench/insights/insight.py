"""A sentence that a person can act on, and what it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.groups import Span
from bench.core import units

Kind = Literal[
    "best", "speedup", "mixed", "slowdown", "none", "batch", "device", "layers", "roofline", "doubt"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One finding.

    evidence: the figures behind it, in one line.
    case_ids: of the rows that it rests on.
    """

    text: str
    evidence: str
    kind: Kind
    case_ids: tuple[str, ...] = ()


def factor(span: Span) -> str:
    """`1.40× (1.24–1.58)`: the ratio and its 95 % interval."""
    if span.low is None or span.high is None:
        return f"{units.speedup(span.value)} (no interval)"
    return f"{_short(span.value)}× ({_short(span.low)}–{_short(span.high)})"


def _short(ratio: float) -> str:
    """Two decimals, or three digits: `1.00`, `0.047`, `12.3`."""
    return f"{ratio:.2f}" if 0.1 <= ratio < 10 else f"{ratio:.3g}"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
