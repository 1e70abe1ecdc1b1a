"""Two children that take turns: one case of one pair, as the runner drives it.

Both are built and warm before anything is timed.  While one has its turn the other is blocked
in a read of its pipe, and so is this process.
"""

import contextlib
import dataclasses
import json
import math
import os
import random
import selectors
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.core.records import Entry, Failure, Measurement
from bench.engine.session import GRACE_S, ReplicateDied, Session, collect, killed
from bench.results.run_directory import Folders

# With eight the values of pairs scatter no less (1.37 % against 1.41 %, 22 cases of the ConvNet and
# its layers), with two more (1.86 %).
TURNS = 4
TURN_S = 0.1  # of samples: long against the pause and the untimed calls of a hand-over
MOST_SAMPLES = 20  # a turn
END_S = 60.0  # for proving itself
TOGETHER = "both sides do not fit into memory at once; alone this one runs"


class ChildEnded(Exception):  # noqa: N818 - says what happened
    """A child ended, or hung, before its pair was through."""


class Turning(Protocol):
    """What taking turns asks of a side."""

    def start(self) -> float:
        """Build and warm up, also once more after its end.  Seconds of a call.

        Raises ChildEnded.
        """

    def turn(self, calls: int, samples: int) -> None:
        """Have a turn.  Raises ChildEnded."""

    def finish(self) -> Entry:
        """What it took and proved, or why not."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The same for both sides, and for the whole pair."""

    calls: int  # whose mean is a sample
    samples: int


def turn_for(call_s: float) -> Turn:
    """Samples of TURN_S together; short calls are joined, so that there are not too many."""
    calls = max(1, math.ceil(TURN_S / MOST_SAMPLES / max(call_s, 1e-9)))
    return Turn(calls, max(1, min(MOST_SAMPLES, round(TURN_S / (calls * max(call_s, 1e-9))))))


def take_turns(
    a: Turning, b: Turning, draw: random.Random, turns: int = TURNS
) -> tuple[Entry, Entry]:
    """One case on both sides.  Who builds first, and who begins each two turns, is drawn.

    Where a side fails, the other is still tried as far as that: whether it fails as well is what
    tells a change from a case that runs nowhere.  A side for which memory ran out beside the other
    is tried alone before it is blamed.
    """
    call_s: dict[int, float] = {}
    builds = draw.sample([a, b], 2)
    for side in builds:
        with contextlib.suppress(ChildEnded):  # its entry says why
            call_s[id(side)] = side.start()
    beside = id(builds[0]) in call_s  # else neither had the other beside it
    if len(call_s) == 2:
        turn = turn_for(call_s[id(a)])
        for order in _orders(a, b, draw, turns):
            went = [_went(side, turn) for side in order]
            if not all(went):
                break
    left, right = a.finish(), b.finish()
    if beside and _out_of_memory(left) != _out_of_memory(right):
        return _alone(a, left), _alone(b, right)
    return left, right


def _orders(
    a: Turning, b: Turning, draw: random.Random, turns: int
) -> Iterator[tuple[Turning, Turning]]:
    """Of every two turns the second is the first one reversed (ABBA), so that drift cancels.

    Who begins is drawn for each two: fixed slots favour a side.
    """
    for number in range(turns):
        if number % 2 == 0:
            one, other = draw.sample([a, b], 2)
        else:
            one, other = other, one
        yield one, other


def _out_of_memory(entry: Entry) -> bool:
    return isinstance(entry, Failure) and entry.status == "oom"


def _alone(side: Turning, entry: Entry) -> Entry:
    """What it left; where memory ran out, what it leaves now that the other side has ended.

    Whatever it takes in a turn was taken in the warm-up already.
    """
    if not (isinstance(entry, Failure) and _out_of_memory(entry)):
        return entry
    with contextlib.suppress(ChildEnded):  # its entry says why
        side.start()
    again = side.finish()
    if isinstance(again, Measurement):
        reason = f"{TOGETHER} ({entry.reason})"
        return dataclasses.replace(entry, reason=reason, cause="together")
    return again


def _went(side: Turning, turn: Turn) -> bool:
    try:
        side.turn(turn.calls, turn.samples)
    except ChildEnded:  # its entry says why
        return False
    return True


def _died(error: ReplicateDied) -> Mapping[str, Any]:
    return {"end": "replicate", "why": str(error), "killed": error.killed}


class Player:
    """A child of one side, behind two named pipes."""

    def __init__(self, session: Session, asked: Mapping[str, Any], folders: Folders) -> None:
        """asked: as `bench.engine.session.request` makes it."""
        self._session, self._asked, self._folders = session, dict(asked), folders
        self._prefix = str(asked["out"])
        self._ended: Mapping[str, Any] | None = None
        self._open: list[int] = []
        self._unread = b""
        self.proof: Mapping[str, Any] = {}

    def start(self) -> float:
        self._ended, self._open, self._unread = None, [], b""
        for file in (self._asked["out"], self._asked["log"]):
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).unlink(missing_ok=True)
        for name in (f"{self._prefix}.orders", f"{self._prefix}.answers"):
            Path(name).unlink(missing_ok=True)
            os.mkfifo(name)
            # For both: then neither end waits for the other to be opened.
            self._open.append(os.open(name, os.O_RDWR))
        # It lives while the other side builds and has its turns; each answer has its own limit.
        lives_s = 3 * self._asked["timeout_s"] + GRACE_S
        self._session.begin({**self._asked, "pipes": self._prefix, "timeout_s": lives_s})
        said = self._hear()
        self.proof = said["proof"]
        return float(said["call_s"])

    def turn(self, calls: int, samples: int) -> None:
        self._say(do="turn", calls=calls, samples=samples)
        self._hear()

    def finish(self) -> Entry:
        if self._ended is None:
            self._say(do="end")
            try:
                self._ended = self._session.end(END_S + GRACE_S)
            except ReplicateDied as error:
                self._ended = _died(error)
        for handle in self._open:
            os.close(handle)
        for ending in ("orders", "answers"):
            Path(f"{self._prefix}.{ending}").unlink(missing_ok=True)
        return collect(self._asked, self._ended, self._folders)

    @property
    def killed(self) -> bool:
        """Whether something outside ended its child, so that its entry says nothing of the case."""
        return self._ended is not None and killed(self._ended)

    def _say(self, **what: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(self._open[0], (json.dumps(what) + "\n").encode())

    def _hear(self) -> dict[str, Any]:
        """Its next line.  Blocks.  Raises ChildEnded."""
        answers = self._open[1]
        end_s = time.monotonic() + self._asked["timeout_s"]
        with selectors.DefaultSelector() as either:
            either.register(answers, selectors.EVENT_READ)
            either.register(self._session.answered, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                ready = {key.fd for key, _ in either.select(max(0.0, end_s - time.monotonic()))}
                if answers in ready:
                    self._unread += os.read(answers, 2**16)
                elif ready:
                    self._end_early()
                else:
                    self._session.kill()
                    self._ended = {"end": "timeout"}
                    raise ChildEnded
        line, _, self._unread = self._unread.partition(b"\n")
        return dict(json.loads(line))

    def _end_early(self) -> None:
        """Raises ChildEnded."""
        try:
            self._ended = self._session.end(GRACE_S)
        except ReplicateDied as error:
            self._ended = _died(error)
        raise ChildEnded
