"""A record that one side writes is the same record on the other side."""

import json

import pytest

from bench.core.decode import Decoder, tagged
from bench.core.protocol import (
    Budget,
    Ended,
    Exited,
    Hello,
    NoMoreTurns,
    Order,
    Request,
    Signalled,
    Started,
    TimedOut,
    Turn,
    WorkerLost,
    order_of_line,
    to_line,
)
from bench.core.records import RecordError
from tests.support.cases import case

ANSWER: Decoder[Started | Ended] = Decoder(tagged(Started | Ended), "word")
REQUEST = Request(
    job="turns",
    case=case(batch=3),
    replicate=2,
    calls=7,
    budget=Budget(samples_s=0.5, min_samples=3),
    cache="/s/cache",
    out="/s/out.json",
    log="/s/log",
    timeout_s=9.0,
    lives_s=87.0,
    pipes="/s/pipes",
    host_clock=True,
    switches={"tf32": False},
    parent=12,
)


def test_a_request_arrives_as_it_was_made() -> None:
    assert Request.of_line(to_line(REQUEST)) == REQUEST


def test_a_process_lives_as_long_as_its_work_may_take_unless_it_waits_for_another() -> None:
    line = json.loads(to_line(REQUEST))
    assert REQUEST.ends_after_s == 87.0
    assert Request.of_line(json.dumps(line | {"lives_s": None})).ends_after_s == 9.0


def test_a_greeting_arrives_as_it_was_made() -> None:
    hello = Hello(modules=("net", "torch.nn"), inductor=True, vectors="/run/vectors")
    assert Hello.of_line(to_line(hello)) == hello


@pytest.mark.parametrize(
    "answer",
    [
        Started(forks=True, unshared=("net",), notes=("slow",)),
        Ended(how=Exited(3), wall_s=0.5),
        Ended(how=Signalled("SIGKILL"), out_of_memory=True),
        Ended(how=TimedOut(), notes=("no forks",)),
        Ended(how=WorkerLost("it ended", killed=True)),
    ],
)
def test_an_answer_arrives_as_it_was_made(answer: Started | Ended) -> None:
    assert ANSWER.of_json(to_line(answer)) == answer


def test_an_ending_that_is_none_is_refused() -> None:
    line = json.loads(to_line(Ended(how=Exited(3)))) | {"how": {"kind": "vanished"}}
    with pytest.raises(RecordError, match=r"^not a word: ended\.how"):
        ANSWER.of_json(json.dumps(line))


@pytest.mark.parametrize("order", [Turn(5, 20), NoMoreTurns()])
def test_an_order_arrives_as_it_was_made(order: Order) -> None:
    assert order_of_line(to_line(order)) == order
