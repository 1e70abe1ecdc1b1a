"""The journal of pairs: one line of JSON a case and pair, and the facts of each side."""

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.read.decide import Stage
from bench.records import Entry, Failure, Measurement

NOT_TRIED = "not tried: the other side failed"
NAME = "pairs.jsonl"


class PairJournalError(UserError):
    """A line that no comparison wrote; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One case in one pair of fresh interpreters, or what failed there."""

    stage: Stage
    number: int
    key: str  # case id of side A
    null: bool = False  # A against A
    calls: int = 0  # whose mean is a sample
    # phase → samples of A and of B in seconds, in the order of the turns, as many of each
    samples: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)  # side → why
    facts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by side
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by side


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFacts:
    """Figures of one side that repeat exactly."""

    key: str
    side: str
    facts: Mapping[str, float]
    problems: Mapping[str, str] = field(default_factory=dict)


Record = Pair | SideFacts


def disturbance(pair: Pair) -> float:
    """How much other work took from the worse of the two sides: of two pairs less is better."""
    if pair.failed:
        return math.inf
    return max(one.get("contention_ratio", 0.0) for one in pair.facts.values())


def contended(pair: Pair) -> bool:
    return any("contended" in flags for flags in pair.flags.values())


def pair_of(stage: Stage, number: int, key: str, a: Entry, b: Entry, *, null: bool = False) -> Pair:
    """From what the two children left."""
    by_side = {"A": a, "B": b}
    failed = {
        side: f"{one.status}: {one.reason}"
        for side, one in by_side.items()
        if isinstance(one, Failure)
    }
    if len(failed) > 1:  # the cause alone: a side that was not tried for it is not to blame
        failed = {side: why for side, why in failed.items() if not why.endswith(NOT_TRIED)}
    if not isinstance(a, Measurement) or not isinstance(b, Measurement):
        return Pair(stage=stage, number=number, key=key, null=null, failed=failed)
    return Pair(
        stage=stage,
        number=number,
        key=key,
        null=null,
        calls=max((one.calls_per_sample for one in a.samples), default=0),
        samples=_aligned(a, b),
        facts={"A": a.facts, "B": b.facts},
        flags={"A": a.flags, "B": b.flags},
    )


def _aligned(
    a: Measurement, b: Measurement
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """The samples of each phase side by side; a turn counts as far as both sides have it."""
    turns_a, turns_b = _turns(a), _turns(b)
    found = {}
    for phase in turns_a:
        both = [
            (x, y)
            for one, other in zip(turns_a[phase], turns_b.get(phase, []), strict=False)
            for x, y in zip(one, other, strict=False)
        ]
        if both:
            found[phase] = (tuple(x for x, _ in both), tuple(y for _, y in both))
    return found


def _turns(one: Measurement) -> dict[str, list[tuple[float, ...]]]:
    turns: dict[str, list[tuple[float, ...]]] = {}
    for samples in one.samples:
        turns.setdefault(samples.phase, []).append(samples.times_s)
    return turns


@dataclass
class Seen:
    """All that was measured so far, each case and pair once."""

    pairs: dict[tuple[str, int, str, bool], Pair] = field(default_factory=dict)
    facts: dict[tuple[str, str], SideFacts] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """The first wins."""
        match record:
            case Pair():
                at = record.stage, record.number, record.key, record.null
                self.pairs.setdefault(at, record)
            case SideFacts():
                self.facts.setdefault((record.key, record.side), record)

    def of(self, key: str, stage: Stage, *, null: bool = False) -> list[Pair]:
        """Pairs that both sides went through, by number."""
        own = [one for one in self.pairs.values() if (one.key, one.null) == (key, null)]
        good = [one for one in own if one.stage == stage and not one.failed]
        return sorted(good, key=lambda one: one.number)

    def failures(self, key: str, *, null: bool = False) -> list[Pair]:
        return [
            one for one in self.pairs.values() if (one.key, one.null) == (key, null) and one.failed
        ]

    def call_s(self, key: str, phase: str) -> float:
        """Seconds of side A's whole call; unknown: infinity."""
        seen = [one.samples[phase][0] for one in self.of(key, "first") if phase in one.samples]
        return min((statistics.median(times_s) for times_s in seen), default=math.inf)


def to_line(record: Record) -> str:
    return json.dumps(
        {"kind": type(record).__name__.lower(), **asdict(record)},
        allow_nan=False,
        separators=(",", ":"),
    )


def read(path: Path) -> Seen:
    """Whole lines; a torn last one does not count.  Raises PairJournalError."""
    seen = Seen()
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise PairJournalError(f"{path}: cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                seen.add(_record(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise PairJournalError(f"{path}, line {number}: not a pair: {error}") from None
    return seen


def _record(fields: dict[str, Any]) -> Record:
    kind = fields.pop("kind")
    if kind == "sidefacts":
        return SideFacts(**fields)
    if kind != "pair":
        raise ValueError(f"kind {kind!r}")
    fields["samples"] = {
        phase: (tuple(map(float, a)), tuple(map(float, b)))
        for phase, (a, b) in fields["samples"].items()
    }
    fields["flags"] = {side: tuple(flags) for side, flags in fields["flags"].items()}
    return Pair(**fields)
