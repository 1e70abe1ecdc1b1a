"""The request that the engine sends to a worker."""

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.records import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One job for one worker, as it comes through a pipe."""

    job: str  # measure | facts | profile | reference | turns
    case: Case
    replicate: int
    calls: int | None  # calls per pipelined sample, frozen by an earlier replicate
    budget: Mapping[str, Any]  # of sampler.Budget
    cache: str  # folder for compiler caches
    out: str  # file for the record
    log: str  # file for standard output and error
    timeout_s: float
    stage: str | None = None  # file for the name of the current stage
    reference: str | None = None  # file with the float64 values of a subject that is no layer
    pipes: str | None = None  # of turns: names of its two pipes, without their endings
    host_clock: bool = False  # of turns: the whole call alone, by the host's clock
    # torch's switches as they stood before any subject was imported: bench.worker.checks.state
    switches: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Request":
        """Read a JSON object; unknown fields are ignored.  Raises RecordError."""
        names = [field.name for field in dataclasses.fields(cls)]
        own = {name: fields[name] for name in names if name in fields}
        return cls(**{**own, "case": Case.of(fields["case"])})

    def enter(self, stage: str) -> None:
        """Write down the stage that begins, so that a timeout can name it."""
        if self.stage is not None:
            with contextlib.suppress(OSError):  # a full disk, or a subject that removed the folder
                Path(self.stage).write_text(stage, encoding="utf-8")
