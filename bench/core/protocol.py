"""The way between the parent process and its workers: records that both sides use.

Each travels as one line of JSON.  The parent reads lines with `bench.core.decode`; a worker reads
with `of_line`, since it trusts its parent and has no pydantic.
"""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from bench.core.records import Case

Job = Literal["measure", "static_metrics", "profile", "parts", "reference", "turns", "fits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The message to a new fork server: what it imports once for all its children."""

    modules: tuple[str, ...]
    inductor: bool  # torch's compiler as well
    vectors: str | None = None  # folder of its check for vector instructions; None: no check

    @classmethod
    def of_line(cls, line: str) -> Self:
        fields = json.loads(line)
        modules = tuple(fields["modules"])
        return cls(modules=modules, inductor=fields["inductor"], vectors=fields["vectors"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A fork server's answer to `Hello`."""

    forks: bool
    unshared: tuple[str, ...]  # whose import changed the process: it must not be forked
    notes: tuple[str, ...] = ()  # why cases of this process take longer to start
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The time limits and numbers of samples of one case in one replicate.

    A slow call exceeds it: three calls of warm-up and `min_samples` of each kind are always
    made, so a call of 0.5 s takes 1.5 s + 5 x 2 x 0.5 s (on an accelerator with events 3 x).
    """

    warmup_s: float = 0.2  # thrown away: clocks, caches and the allocator settle
    warmup_calls: int = 3
    warmup_cap_s: float = 1.5  # not settled by then, nor falling: measured all the same, and said
    sample_s: float = 0.005  # shortest pipelined sample: drowns the clock's own cost
    samples_s: float = 0.6  # for the samples of all kinds together
    min_samples: int = 5  # of each kind
    max_samples: int = 200  # of each kind
    block_s: float = 0.1  # of samples between two calls of `between`


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One job for one child (`bench.engine.requests` makes it)."""

    job: Job
    case: Case
    replicate: int
    calls: int | None  # calls per pipelined sample, frozen by an earlier replicate
    budget: Budget
    cache: str  # folder for what compiling leaves
    out: str  # the record goes here
    log: str  # standard output and error go here
    timeout_s: float  # for the work, as the user asked, or less
    timeout_is: str = "--timeout"  # in messages: what sets it
    lives_s: float | None = None  # then its process is ended; None: after timeout_s
    stage: str | None = None  # what it is at goes here
    reference_s: float = 5.0  # that the float64 reference may take
    reference: str | None = None  # file with the float64 values of a subject that is no layer
    pipes: str | None = None  # of turns: names of its two pipes, without their endings
    weights: str | None = None  # file that is loaded into a subject of the user's
    energy: bool = True  # whether the static metrics have the energy of a GPU, which takes 2 s
    host_clock: bool = False  # of turns: the whole call alone, by the host's clock
    shared: bool = False  # the process may run other cases of the device before and after
    earlier_cases: int = 0  # that this process has run
    looked: bool = False  # an earlier replicate has looked at what the layers compute
    transfers: bool = True  # of an accelerator; False: another case has timed the same
    # The fork server fills in these: torch's switches as they stood before any subject was
    # imported (bench.worker.checks.state), and its own number.
    switches: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    parent: int | None = None

    @classmethod
    def of_line(cls, line: str) -> Self:
        fields = json.loads(line)
        case, budget = Case(**fields["case"]), Budget(**fields["budget"])
        return cls(**{**fields, "case": case, "budget": budget})

    @property
    def ends_after_s(self) -> float:
        return self.timeout_s if self.lives_s is None else self.lives_s

    def enter(self, stage: str) -> None:
        """Write down the stage that begins, so that a timeout can name it."""
        if self.stage is not None:
            with contextlib.suppress(OSError):  # a full disk, or a subject that removed the folder
                Path(self.stage).write_text(stage, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended itself."""

    code: int
    kind: Literal["exited"] = "exited"


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal ended the process."""

    signal: str  # SIGSEGV
    kind: Literal["signalled"] = "signalled"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The process was ended at its limit."""

    kind: Literal["timed-out"] = "timed-out"


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The fork server itself ended, or did not answer: only the parent can say so."""

    why: str
    killed: bool = False  # by SIGKILL, and not because it was late
    kind: Literal["worker-lost"] = "worker-lost"


Ending = Exited | Signalled | TimedOut | WorkerLost


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A fork server's answer to a `Request`: how its child ended."""

    how: Ending
    out_of_memory: bool = False  # the kernel ended a process for want of memory meanwhile
    wall_s: float = 0.0
    notes: tuple[str, ...] = ()
    kind: Literal["ended"] = "ended"

    @property
    def killed(self) -> bool:
        """Return whether something outside killed it: no verdict on the case.

        A subject that kills itself does so again at the next try.
        """
        match self.how:
            case Signalled("SIGKILL"):
                return not self.out_of_memory
            case WorkerLost(killed=killed):
                return killed
        return False


@dataclass(frozen=True, slots=True)
class Turn:
    """The order to a child of an interleaved pair to take samples.

    It is the same for both sides, all the time.
    """

    calls: int  # whose mean is a sample
    samples: int
    host_times: bool = False  # of an accelerator: its events do not see all work of one side
    kind: Literal["turn"] = "turn"


@dataclass(frozen=True, slots=True)
class NoMoreTurns:
    """The order to a child of an interleaved pair to verify the case, write the record and end."""

    kind: Literal["no-more-turns"] = "no-more-turns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The files that show which code a process runs."""

    subject: str | None  # its file
    files: tuple[str, ...]  # all that are no library's
    # Path below the folder of the import, such as `ns/mylib/__init__.py` → file.
    packages: Mapping[str, str] = dataclasses.field(default_factory=dict)
    python: str | None = None
    torch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A child of an interleaved pair is built and warm."""

    call_s: float
    proof: Proof
    missed_by_events: str | None = None  # why its events do not see all of its work
    kind: Literal["warm"] = "warm"


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """A child of an interleaved pair has taken its samples, and waits."""

    kind: Literal["turn-taken"] = "turn-taken"


Order = Turn | NoMoreTurns


def order_of_line(line: str) -> Order:
    fields = json.loads(line)
    return Turn(**fields) if fields["kind"] == "turn" else NoMoreTurns()


Message = Hello | Started | Request | Ended | Turn | NoMoreTurns | Warm | TurnTaken


def to_line(message: Message) -> str:
    """Return the message as a line of JSON with its newline."""
    return json.dumps(dataclasses.asdict(message)) + "\n"
