"""Counts of instructions, between the process that counts and its parent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bench.core.protocol import Proof
from bench.core.records import STRICT

Engine = Literal["perf", "callgrind"]
CANARY = "canary"


def name_of(number: int, length: int) -> str:
    """Return the name of a count: of the case with this number, called so often."""
    return f"case-{number}-{length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCounted:
    """One case in one process.

    lengths: the numbers of calls that were counted together; their differences cancel what is not
             a call.
    counts: instructions by number of calls; empty under callgrind, which writes files.
    calls:  of Python functions in one call.
    error:  why it was not counted.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = STRICT

    case_id: str
    lengths: tuple[int, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The answer of one process.  canary: as `counts`, of known work."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = STRICT

    canary: Mapping[str, float]
    cases: tuple[CaseCounted, ...]
    proof: Proof | None
