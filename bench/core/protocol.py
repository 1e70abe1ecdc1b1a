"""What a child is asked to do."""

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.records import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One job for one child, as it comes through a pipe."""

    job: str  # measure | facts | profile | reference | turns
    case: Case
    replicate: int
    calls: int | None  # calls per pipelined sample, frozen by an earlier replicate
    budget: Mapping[str, Any]  # of sampler.Budget
    cache: str  # folder for what compiling leaves
    out: str  # the record goes here
    log: str  # standard output and error go here
    timeout_s: float
    stage: str | None = None  # what it is at goes here
    reference: str | None = None  # file with the float64 values of a subject that is no layer
    pipes: str | None = None  # of turns: names of its two pipes, without their endings
    host_clock: bool = False  # of turns: the whole call alone, by the host's clock
    # torch's switches as they stood before any subject was imported: bench.worker.checks.state
    switches: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Request":
        """From a JSON object; fields of others are left out.  Raises RecordError."""
        names = [field.name for field in dataclasses.fields(cls)]
        own = {name: fields[name] for name in names if name in fields}
        return cls(**{**own, "case": Case.of(fields["case"])})

    def enter(self, stage: str) -> None:
        """Leave word of what begins: where the case is ended for its time, its row says so."""
        if self.stage is not None:
            with contextlib.suppress(OSError):  # a full disk, or a subject that removed the folder
                Path(self.stage).write_text(stage, encoding="utf-8")
