"""The journal of a fleet: a line for each unit that ended, on disk before the next is begun.

It is the only truth: run directories are made of it, at any time again.  A unit's outcomes are in
one line, so a kill leaves all of them or none.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.core.decode import Decoder, tagged
from bench.core.errors import UserError
from bench.results import journal

NAME = "fleet.jsonl"


class FleetJournalError(UserError):
    """The journal cannot be read; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A unit was measured: shard `unit` of its kind.

    label: of the node, if its owner gave it one.  run: its run.json.  lines: of its journal.
    failures: what failed processes printed, by file.
    """

    unit: int
    kind_id: str
    node: str
    address: str
    run: Mapping[str, Any]
    lines: tuple[str, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    kind: Literal["done"] = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A unit was ended from outside, or did not begin: it is no verdict on any case."""

    unit: int
    kind_id: str
    node: str
    address: str
    why: str
    kind: Literal["gone"] = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """A node is not like the others of its kind: nothing that it measured counts."""

    kind_id: str
    node: str
    address: str
    why: str
    kind: Literal["odd"] = "odd"


Line = Done | Gone | Odd
_LINE: Decoder[Line] = Decoder(tagged(Line), "line of a fleet's journal")


def append(log: journal.Journal, line: Line) -> None:
    """Write a line to disk.  Raises JournalError."""
    log.append_line(json.dumps(asdict(line), separators=(",", ":")))


def read(path: Path) -> list[Line]:
    """Return the complete lines; none if there is no file.  Raises FleetJournalError."""
    if not path.exists():
        return []
    return list(journal.records(path, _LINE.of_json, FleetJournalError))


def counting(lines: Iterable[Line]) -> list[Done]:
    """Return the units that count: one for each kind and number, none of an odd node."""
    known = list(lines)
    odd = {(one.kind_id, one.node) for one in known if isinstance(one, Odd)}
    best: dict[tuple[str, int], Done] = {}
    for one in known:
        if isinstance(one, Done) and (one.kind_id, one.node) not in odd:
            best.setdefault((one.kind_id, one.unit), one)
    return list(best.values())
