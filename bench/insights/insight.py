"""An insight: one finding of a run in words, and the figures that it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.groups import Direction, Span
from bench.core import units

Kind = Literal[
    "best",
    "process",
    "speedup",
    "mixed",
    "slowdown",
    "none",
    "batch",
    "machine",
    "device",
    "launch",
    "memory",
    "layers",
    "roofline",
    "doubt",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """One finding.

    evidence: the figures behind it, in one line.
    command:  for a shell, to do what the text says; never broken over lines.
    case_ids: of the rows that it rests on.
    """

    text: str
    evidence: str
    kind: Kind
    case_ids: tuple[str, ...] = ()
    command: str = ""


def compared(value: str, base: str, work: str, speedups: Mapping[int, Span]) -> str:
    """Return sentences that compare `value` with `base` at each batch size.

    work:     such as `inference of convnet`.
    speedups: time of base / time of value, by batch size.
    """
    at: dict[Direction, list[str]] = {}
    for batch, span in speedups.items():
        at.setdefault(span.direction, []).append(_at(batch, span))
    few = ", from too few replicates."
    pair = f"between {value} and {base} for {work}"
    first = {  # the text before and after the list of speedups
        Direction.FASTER: (f"{value} is faster than {base} for {work}: ", "."),
        Direction.SLOWER: (f"{value} is slower than {base} for {work}: it takes ", "."),
        Direction.UNCLEAR: (f"No difference was found {pair} at ", "."),
        Direction.UNKNOWN: (f"The difference {pair} is uncertain: a speedup of ", few),
    }
    later = {
        Direction.SLOWER: ("It takes ", "."),
        Direction.UNCLEAR: ("No difference was found at ", "."),
        Direction.UNKNOWN: ("The speedup is uncertain: ", few),
    }
    found: list[str] = []
    for direction in Direction:
        if direction in at:
            before, after = (later if found else first)[direction]
            found.append(f"{before}{listed(at[direction])}{after}")
    return " ".join(found)


def _at(batch: int, span: Span) -> str:
    if span.direction is Direction.UNCLEAR:
        return f"N={batch} ({span.low:.2f}–{span.high:.2f})"
    # "0.09 times as fast" is hard to read; "11 times as long" is not.
    slower = span.direction is Direction.SLOWER
    return (
        f"{factor(span.inverse)} as long at N={batch}" if slower else f"{factor(span)} at N={batch}"
    )


def factor(span: Span) -> str:
    """`1.40× (1.24–1.58)`: the ratio and its 95 % interval."""
    if span.low is None or span.high is None:
        return f"{units.speedup(span.value)} (no interval)"
    return f"{_short(span.value)}× ({_short(span.low)}–{_short(span.high)})"


def _short(ratio: float) -> str:
    """Two decimals, or three digits: `1.00`, `0.047`, `12.3`; from a thousand on all: `1235`."""
    if ratio >= 999.5:
        return f"{ratio:.0f}"
    return f"{ratio:.2f}" if 0.1 <= ratio < 10 else f"{ratio:.3g}"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def first_few(names: Sequence[str], most: int) -> list[str]:
    """`a`, `b`, `2 more`."""
    more = len(names) - most
    return [*names[:most], f"{more} more"] if more > 0 else list(names)
