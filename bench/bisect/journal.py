"""The journal of a search: a line of JSON for each pair, each broken commit, each confirmation.

A resumed search asks for the same commits in the same order, and takes its answers from here first.
"""

import json
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from bench.bisect.commits import BisectError
from bench.core.decode import Decoder, tagged
from bench.results.journal import records

NAME = "bisect.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A pair of GOOD and a commit.

    value: median of log(commit / GOOD) over the turns.  good_s, commit_s: medians of the samples.
    """

    commit: str
    value: float
    good_s: float
    commit_s: float
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by side
    wall_s: float = 0.0
    kind: Literal["pair"] = "pair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A commit that cannot be measured, with the reason."""

    commit: str
    why: str
    kind: Literal["broken"] = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The comparison of a commit with the one before it."""

    parent: str
    commit: str
    differs: bool
    report: str  # the folder of the comparison
    kind: Literal["confirmed"] = "confirmed"


Line = Measured | Broken | Confirmed
_LINE: Decoder[Line] = Decoder(tagged(Line), "line of a bisection")


def to_line(line: Line) -> str:
    return json.dumps(asdict(line), allow_nan=False, separators=(",", ":"))


@dataclass
class Stored:
    """The answers of an earlier part of the search that were not used yet."""

    pairs: dict[str, deque[Measured]] = field(default_factory=lambda: defaultdict(deque))
    broken: dict[str, str] = field(default_factory=dict)
    confirmed: dict[tuple[str, str], Confirmed] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        match line:
            case Measured():
                self.pairs[line.commit].append(line)
            case Broken():
                self.broken[line.commit] = line.why
            case Confirmed():
                self.confirmed[line.parent, line.commit] = line


def lines(path: Path) -> list[Line]:
    """Return the complete lines of a journal.  Raises BisectError."""
    return list(records(path, _LINE.of_json, BisectError))


def read(path: Path) -> Stored:
    """Read the answers of a journal.  Raises BisectError."""
    stored = Stored()
    for line in lines(path):
        stored.add(line)
    return stored
