"""Interleaving: two workers take turns with one case of one pair.

Both have built the case and are warm before anything is timed.  While one worker takes its
samples, the other one and this process are blocked in a read of a pipe.
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

# The values of pairs scatter by 1.86 % with two turns, 1.41 % with four and 1.37 % with eight (22
# cases of the ConvNet and its layers).
TURNS = 4
TURN_S = 0.1  # duration of a turn; long compared with the pause and untimed calls between turns
MOST_SAMPLES = 20  # in one turn
END_S = 60.0  # time limit for the verification at the end
TOGETHER = "both sides do not fit into memory at once; alone this one runs"

Answer = Warm | TurnTaken
T = TypeVar("T", bound=Answer)
_ANSWER: Decoder[Answer] = Decoder(tagged(Answer), "answer of an interleaved child")


class ChildEnded(Exception):  # noqa: N818 - says what happened
    """A worker ended or hung before its pair was complete."""


class Participant(Protocol):
    """One variant of a pair, as the interleaving uses it."""

    @property
    def host_times(self) -> bool:
        """Return whether its device's events miss a part of its work; known after `start`."""

    def start(self) -> float:
        """Build the case, warm up, and return the seconds of a call.  Raises ChildEnded.

        It can be called again after `finish`.
        """

    def take(self, turn: Turn) -> None:
        """Take the samples of a turn.  Raises ChildEnded."""

    def finish(self) -> Entry:
        """End the worker and return its measurement, or the failure."""


def turn_for(call_s: float, *, host_times: bool = False) -> Turn:
    """Return a turn of about TURN_S; a sample has several calls if they are short."""
    calls = max(1, math.ceil(TURN_S / MOST_SAMPLES / max(call_s, 1e-9)))
    samples = max(1, min(MOST_SAMPLES, round(TURN_S / (calls * max(call_s, 1e-9)))))
    return Turn(calls, samples, host_times)


def interleave(
    a: Participant, b: Participant, draw: random.Random, turns: int = TURNS
) -> tuple[Entry, Entry]:
    """Measure one case on both variants and return their entries.

    The order of building, and the order in each two turns, are random.  If one variant fails, the
    other is still started, because a case may fail on both.  If memory ran out while both were
    there, the variant is tried again alone.
    """
    call_s: dict[int, float] = {}
    builds = draw.sample([a, b], 2)
    for side in builds:
        with contextlib.suppress(ChildEnded):  # its entry has the reason
            call_s[id(side)] = side.start()
    both_in_memory = id(builds[0]) in call_s
    if len(call_s) == 2:
        # The samples of both sides are of one kind, or they cannot be compared.
        turn = turn_for(call_s[id(a)], host_times=a.host_times or b.host_times)
        for order in _orders(a, b, draw, turns):
            taken = [_took(side, turn) for side in order]
            if not all(taken):
                break
    left, right = a.finish(), b.finish()
    if both_in_memory and _out_of_memory(left) != _out_of_memory(right):
        return _alone(a, left), _alone(b, right)
    return left, right


def _orders(
    a: Participant, b: Participant, draw: random.Random, turns: int
) -> Iterator[tuple[Participant, Participant]]:
    """Yield the order of the variants in each turn.

    The second of two turns reverses the first (ABBA), so that drift cancels.  The first order is
    drawn for each two turns, because a fixed one would favour a variant.
    """
    for number in range(turns):
        if number % 2 == 0:
            first, second = draw.sample([a, b], 2)
        else:
            first, second = second, first
        yield first, second


def _out_of_memory(entry: Entry) -> bool:
    return isinstance(entry, Failure) and entry.status == "oom"


def _alone(side: Participant, entry: Entry) -> Entry:
    """Return the entry; if memory ran out, the entry of a second try without the other variant.

    The warm-up needs as much memory as a turn, so no turn is taken.
    """
    if not (isinstance(entry, Failure) and _out_of_memory(entry)):
        return entry
    with contextlib.suppress(ChildEnded):  # its entry has the reason
        side.start()
    again = side.finish()
    if isinstance(again, Measurement):
        reason = f"{TOGETHER} ({entry.told})"
        return dataclasses.replace(entry, reason=reason, cause="together", log=None)
    return again


def _took(side: Participant, turn: Turn) -> bool:
    """Return whether a variant has taken the samples of a turn."""
    try:
        side.take(turn)
    except ChildEnded:  # its entry has the reason
        return False
    return True


class PipedChild:
    """A participant that is a worker process; two named pipes connect it."""

    def __init__(self, server: ForkServer, asked: Request, folders: Folders) -> None:
        """Take a request `asked`, whose job is `turns`; it names the pipes."""
        self._server, self._asked, self._folders = server, asked, folders
        self._prefix = str(asked.pipes)
        self._ended: Ended | None = None
        self._open: list[int] = []
        self._unread = b""
        self.proof: Proof | None = None
        self.host_times = False

    @property
    def killed(self) -> bool:
        """Return whether something outside the worker killed it, so that the case may be fine."""
        return self._ended is not None and self._ended.killed

    def start(self) -> float:
        self._ended, self._open, self._unread = None, [], b""
        make_room(self._asked)
        for name in self._names():
            Path(name).unlink(missing_ok=True)
            os.mkfifo(name)
            # Opened for reading and writing, so that neither end waits until the other is open.
            self._open.append(os.open(name, os.O_RDWR))
        self._server.begin(self._asked)
        warm = self._hear(Warm)
        self.proof = warm.proof
        self.host_times = warm.missed_by_events is not None
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
        """Wait for the worker's next line and return it.  Raises ChildEnded."""
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
        """End a worker that is too late, or whose subject wrote into the pipe."""
        self._server.kill()
        self._ended = Ended(how=TimedOut())
        return ChildEnded()
