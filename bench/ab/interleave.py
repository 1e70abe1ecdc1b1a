"""Interleaving: two children take turns with one case of one pair.

Both are built and warm before anything is timed.  While one has its turn the other is blocked
in a read of its pipe, and so is this process.
"""

import contextlib
import dataclasses
import math
import os
import random
import selectors
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from bench.core.decode import Decoder, tagged
from bench.core.protocol import (
    Ended,
    NoMoreTurns,
    Order,
    Proof,
    Request,
    TimedOut,
    Turn,
    TurnTaken,
    Warm,
    to_line,
)
from bench.core.records import Entry, Failure, Measurement, RecordError
from bench.engine.collect import collect
from bench.engine.fork_server import GRACE_S, ForkServer
from bench.engine.requests import make_room
from bench.results.run_directory import Folders

# With eight the values of pairs scatter no less (1.37 % against 1.41 %, 22 cases of the ConvNet and
# its layers), with two more (1.86 %).
TURNS = 4
TURN_S = 0.1  # of samples: long against the pause and the untimed calls of a hand-over
MOST_SAMPLES = 20  # a turn
END_S = 60.0  # for proving itself
TOGETHER = "both sides do not fit into memory at once; alone this one runs"

Answer = Warm | TurnTaken
T = TypeVar("T", bound=Answer)
_ANSWER: Decoder[Answer] = Decoder(tagged(Answer), "answer of an interleaved child")


class ChildEnded(Exception):  # noqa: N818 - says what happened
    """A child ended, or hung, before its pair was through."""


class Participant(Protocol):
    """What interleaving asks of a side."""

    def start(self) -> float:
        """Build and warm up, also once more after its end.  Seconds of a call.

        Raises ChildEnded.
        """

    def take(self, turn: Turn) -> None:
        """Raises ChildEnded."""

    def finish(self) -> Entry:
        """What it took and proved, or why not."""


def turn_for(call_s: float) -> Turn:
    """Samples of TURN_S together; short calls are joined, so that there are not too many."""
    calls = max(1, math.ceil(TURN_S / MOST_SAMPLES / max(call_s, 1e-9)))
    return Turn(calls, max(1, min(MOST_SAMPLES, round(TURN_S / (calls * max(call_s, 1e-9))))))


def interleave(
    a: Participant, b: Participant, draw: random.Random, turns: int = TURNS
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
    a: Participant, b: Participant, draw: random.Random, turns: int
) -> Iterator[tuple[Participant, Participant]]:
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


def _alone(side: Participant, entry: Entry) -> Entry:
    """What it left; where memory ran out, what it leaves now that the other side has ended.

    Whatever it takes in a turn was taken in the warm-up already.
    """
    if not (isinstance(entry, Failure) and _out_of_memory(entry)):
        return entry
    with contextlib.suppress(ChildEnded):  # its entry says why
        side.start()
    again = side.finish()
    if isinstance(again, Measurement):
        reason = f"{TOGETHER} ({entry.told})"
        return dataclasses.replace(entry, reason=reason, cause="together", log=None)
    return again


def _went(side: Participant, turn: Turn) -> bool:
    try:
        side.take(turn)
    except ChildEnded:  # its entry says why
        return False
    return True


class PipedChild:
    """A participant: a child of one side, behind two named pipes."""

    def __init__(self, server: ForkServer, asked: Request, folders: Folders) -> None:
        """asked: for the job `turns`, with its pipes."""
        self._server, self._asked, self._folders = server, asked, folders
        self._prefix = str(asked.pipes)
        self._ended: Ended | None = None
        self._open: list[int] = []
        self._unread = b""
        self.proof: Proof | None = None

    @property
    def killed(self) -> bool:
        """Whether something outside ended it: no verdict on the case."""
        return self._ended is not None and self._ended.killed

    def start(self) -> float:
        self._ended, self._open, self._unread = None, [], b""
        make_room(self._asked)
        for name in self._names():
            Path(name).unlink(missing_ok=True)
            os.mkfifo(name)
            # For both: then neither end waits for the other to be opened.
            self._open.append(os.open(name, os.O_RDWR))
        self._server.begin(self._asked)
        warm = self._hear(Warm)
        self.proof = warm.proof
        return warm.call_s

    def take(self, turn: Turn) -> None:
        self._say(turn)
        self._hear(TurnTaken)

    def finish(self) -> Entry:
        if self._ended is None:
            self._say(NoMoreTurns())
            self._ended = self._server.end(END_S + GRACE_S)
        for handle in self._open:
            os.close(handle)
        for name in self._names():
            Path(name).unlink(missing_ok=True)
        return collect(self._asked, self._ended, self._folders)

    def _names(self) -> tuple[str, str]:
        return f"{self._prefix}.orders", f"{self._prefix}.answers"

    def _say(self, order: Order) -> None:
        with contextlib.suppress(OSError):
            os.write(self._open[0], to_line(order).encode())

    def _hear(self, kind: type[T]) -> T:
        """Its next line.  Blocks.  Raises ChildEnded."""
        answers = self._open[1]
        end_s = time.monotonic() + self._asked.timeout_s
        with selectors.DefaultSelector() as either:
            either.register(answers, selectors.EVENT_READ)
            either.register(self._server.answered, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                ready = {key.fd for key, _ in either.select(max(0.0, end_s - time.monotonic()))}
                if answers in ready:
                    self._unread += os.read(answers, 2**16)
                elif ready:
                    self._ended = self._server.end(GRACE_S)
                    raise ChildEnded
                else:
                    raise self._given_up()
        line, _, self._unread = self._unread.partition(b"\n")
        with contextlib.suppress(RecordError):
            if isinstance(answer := _ANSWER.of_json(line), kind):
                return answer
        raise self._given_up()

    def _given_up(self) -> ChildEnded:
        """It is late, or its subject wrote into the pipe."""
        self._server.kill()
        self._ended = Ended(how=TimedOut())
        return ChildEnded()
