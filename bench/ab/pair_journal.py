"""The journal of pairs: a line of JSON for each case and pair, and for the static metrics."""

import bisect
import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from bench.core.decode import Decoder, or_text, tagged
from bench.core.errors import UserError
from bench.core.records import (
    STATUSES,
    Cause,
    Entry,
    Failure,
    Measurement,
    Status,
    stored_fields,
)
from bench.results.journal import records
from bench.verdict.looks import Stage
from bench.verdict.paired_test import mean_value, pair_value

NAME = "pairs.jsonl"
EARLIER_TOGETHER = "both sides do not fit into memory at once"
BACK_TO_BACK = ", back-to-back"  # the end of the phase name for the times of calls back-to-back


class PairJournalError(UserError):
    """A line is not one of a comparison; the message has its number."""


class PhaseKey(NamedTuple):
    """Identifies a phase of a case for the decision."""

    key: str  # the key of the case
    phase: str

    def __str__(self) -> str:
        return f"{self.key}|{self.phase}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The reason why one variant of a pair was not measured."""

    status: Status
    reason: str  # with the name of its file in the folder `failures`, if there is one
    cause: Cause | None = None

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"

    @classmethod
    def of_earlier(cls, text: str) -> "Failed":
        """Decode the text of earlier versions, `status: reason`."""
        status, _, reason = text.partition(": ")
        together: Cause | None = "together" if reason.startswith(EARLIER_TOGETHER) else None
        known = next((one for one in STATUSES if one == status), None)
        if known is None:
            return cls(status="error", reason=text)
        return cls(status=known, reason=reason, cause=together)


# Of A and of B in seconds, in the order of the turns, equally many.
Samples = tuple[tuple[float, ...], tuple[float, ...]]
FailedOrText = Annotated[Failed, or_text(Failed.of_earlier)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The samples of one case in one pair of fresh interpreters, or the failures."""

    stage: Stage
    number: int
    key: str  # case_id of variant A
    null: bool = False  # A against A
    calls: int = 0  # in one sample
    samples: Mapping[str, Samples] = field(default_factory=dict)  # by phase
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # side → phases only it has
    failed: Mapping[str, FailedOrText] = field(default_factory=dict)  # by side
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by side
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by side
    wall_s: float = 0.0  # of both variants together
    kind: Literal["pair"] = "pair"


@dataclass(frozen=True, slots=True, kw_only=True)
class SideStaticMetrics:
    """The static metrics of one variant of a case."""

    key: str
    side: str
    metrics: Mapping[str, float]
    problems: Mapping[str, str] = field(default_factory=dict)
    invalid: str | None = None  # the reason why its result is wrong
    kind: Literal["sidefacts"] = "sidefacts"  # as the journal has it


Record = Pair | SideStaticMetrics
_RECORD: Decoder[Record] = Decoder(tagged(Record), "pair")


def disturbance(pair: Pair) -> float:
    """Return the contention of the variant that had more; infinity for a failed pair."""
    if pair.failed:
        return math.inf
    return max(one.get("contention_ratio", 0.0) for one in pair.metrics.values())


def contended(pair: Pair) -> bool:
    return any("contended" in flags for flags in pair.flags.values())


def pair_of(stage: Stage, number: int, key: str, a: Entry, b: Entry, *, null: bool = False) -> Pair:
    """Make a pair from the entries of the two workers."""
    by_side = {"A": a, "B": b}
    failed = {
        side: Failed(status=one.status, reason=one.told, cause=one.cause)
        for side, one in by_side.items()
        if isinstance(one, Failure)
    }
    if not isinstance(a, Measurement) or not isinstance(b, Measurement):
        return Pair(stage=stage, number=number, key=key, null=null, failed=failed)
    samples = _aligned(a, b)
    return Pair(
        stage=stage,
        number=number,
        key=key,
        null=null,
        calls=max((x.calls_per_sample for x in a.samples if x.kind != "pipelined"), default=0),
        samples=samples,
        only={
            side: tuple(dict.fromkeys(x.phase for x in one.samples if x.phase not in samples))
            for side, one in (("A", a), ("B", b))
        },
        metrics={"A": a.metrics, "B": b.metrics},
        flags={"A": a.flags, "B": b.flags},
    )


def _aligned(a: Measurement, b: Measurement) -> dict[str, Samples]:
    """Return the samples of each phase that both variants have, turn by turn.

    Only samples of the same kind are paired: times of the host and times between a device's events
    are different figures.
    """
    turns_a, turns_b = _turns(a), _turns(b)
    found = {}
    for phase, kind in turns_a:
        both = [
            (x, y)
            for one, other in zip(
                turns_a[phase, kind], turns_b.get((phase, kind), []), strict=False
            )
            for x, y in zip(one, other, strict=False)
        ]
        if both:
            name = phase + BACK_TO_BACK if kind == "pipelined" else phase
            found[name] = (tuple(x for x, _ in both), tuple(y for _, y in both))
    return found


def _turns(one: Measurement) -> dict[tuple[str, str], list[tuple[float, ...]]]:
    """Return the samples of each turn by phase and kind."""
    turns: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for samples in one.samples:
        turns.setdefault((samples.phase, samples.kind), []).append(samples.times_s)
    return turns


At = tuple[str, int, str, bool]  # stage, number, key, null


@dataclass
class PairsSoFar:
    """The measurements so far; each pair of a case is there a single time."""

    pairs: dict[At, Pair] = field(default_factory=dict)
    static_metrics: dict[tuple[str, str], SideStaticMetrics] = field(
        default_factory=dict
    )  # by key and side
    # The pairs in the order of their numbers, by key, stage and null.
    _index: dict[tuple[str, str, bool], list[Pair]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    # The values log(B / A) by pair and phase: median over the samples, and mean.
    _values: dict[tuple[At, str], tuple[float, float] | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for pair in self.pairs.values():
            self._enter(pair)

    def add(self, record: Record) -> None:
        """Add a record; a repeated one is ignored."""
        match record:
            case Pair():
                at = record.stage, record.number, record.key, record.null
                if at not in self.pairs:
                    self.pairs[at] = record
                    self._enter(record)
            case SideStaticMetrics():
                self.static_metrics.setdefault((record.key, record.side), record)

    def _enter(self, pair: Pair) -> None:
        own = self._index.setdefault((pair.key, pair.stage, pair.null), [])
        bisect.insort(own, pair, key=lambda one: one.number)

    def tried(self, key: str, stage: Stage, *, null: bool = False) -> list[Pair]:
        """Return the pairs of a case by number, including the failed ones."""
        return self._index.get((key, stage, null), [])

    def of(self, key: str, stage: Stage, *, null: bool = False) -> list[Pair]:
        """Return the pairs that both variants completed, by number."""
        return [one for one in self.tried(key, stage, null=null) if not one.failed]

    def failures(self, key: str, *, null: bool = False) -> list[Pair]:
        both = [*self.tried(key, "first", null=null), *self.tried(key, "fresh", null=null)]
        return [one for one in both if one.failed]

    def values(
        self, key: str, stage: Stage, phase: str, *, null: bool = False
    ) -> tuple[list[float], list[float]]:
        """Return the medians and the means, log(B / A), of the pairs with a phase, by number."""
        own = [one for one in self.of(key, stage, null=null) if phase in one.samples]
        found = [self._value(one, phase) for one in own]
        usable = [value for value in found if value is not None]
        return [middle for middle, _ in usable], [mean for _, mean in usable]

    def _value(self, pair: Pair, phase: str) -> tuple[float, float] | None:
        at = (pair.stage, pair.number, pair.key, pair.null), phase
        if at not in self._values:  # it has many samples, and is needed before each pair
            middle, mean = pair_value(*pair.samples[phase]), mean_value(*pair.samples[phase])
            self._values[at] = None if middle is None or mean is None else (middle, mean)
        return self._values[at]

    def call_s(self, key: str, phase: str) -> float:
        """Return the seconds of a call of variant A; infinity if unknown."""
        seen = [one.samples[phase][0] for one in self.of(key, "first") if phase in one.samples]
        return min((statistics.median(times_s) for times_s in seen), default=math.inf)


def to_line(record: Record) -> str:
    return json.dumps(stored_fields(record), allow_nan=False, separators=(",", ":"))


def read(path: Path) -> PairsSoFar:
    """Read the complete lines of a journal.  Raises PairJournalError."""
    seen = PairsSoFar()
    for record in records(path, _RECORD.of_json, PairJournalError):
        seen.add(record)
    return seen
