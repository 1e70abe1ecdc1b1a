"""Counts the instructions of cases in one process: one thread, seeded, without gc.

Standard input: a line of JSON (`bench.host.helper`).
"""

import ctypes
import dataclasses
import gc
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.core.counted import CANARY, CaseCounted, Counted, name_of
from bench.core.protocol import Proof, Request
from bench.core.subject import parse
from bench.host import counters
from bench.worker.case_process import describe
from bench.worker.checks import state
from bench.worker.counting import python_calls, valgrind
from bench.worker.jobs import interleaved, prepare
from bench.worker.model import weights
from bench.worker.model.step import Step
from bench.worker.process import limits
from bench.worker.timing.stopwatch import wall_clock

# Python 3.11 and later rewrite the instructions of a function in its first calls, and try it again
# ever more seldom.  Of short calls many are counted, so that a try in one of them says little.
WARM_S, MOST_WARM_CALLS, LEAST_WARM_CALLS = 3.0, 1000, 5
SHORT_S = 0.02
LENGTHS_OF_SHORT, LENGTHS_OF_LONG = (5, 15, 25), (1, 2, 3)
CANARY_BYTES, CANARY_SIZE, CANARY_LOOPS = 2**20, 64, 1000


class Perf:
    """Counts with the processor's counters."""

    def __init__(self) -> None:
        self._counters = counters.opened(("instructions",))
        self.counts: dict[str, float] = {}

    def begin(self) -> None:
        """Do nothing: the counter needs no start."""

    def end(self) -> None:
        """Do nothing: the counter needs no end."""

    def count(self, name: str, work: Callable[[], None]) -> None:
        self._counters.start()
        work()
        self.counts[name] = self._counters.stop()["instructions"]


def main() -> None:
    """Answer one request."""
    asked = json.loads(sys.stdin.read())
    limits.die_with_parent(asked["parent"])
    torch.set_num_threads(1)
    engine = valgrind.Callgrind() if asked["engine"] == "callgrind" else Perf()
    switches = state.switches()
    requests = [_request(one, switches) for one in asked["requests"]]
    gc.disable()
    _canary(engine)
    found = [_case(number, one, engine) for number, one in enumerate(requests)]
    counts = engine.counts if isinstance(engine, Perf) else {}
    answer = Counted(
        canary={CANARY: counts[CANARY]} if counts else {},
        cases=tuple(
            dataclasses.replace(
                one,
                counts={
                    str(length): counts[name_of(number, length)]
                    for length in one.lengths
                    if name_of(number, length) in counts
                },
            )
            for number, one in enumerate(found)
        ),
        proof=_proof(requests),
    )
    Path(asked["out"]).write_text(json.dumps(dataclasses.asdict(answer)), encoding="utf-8")


def _request(fields: Any, switches: dict[str, Any]) -> Request:
    return dataclasses.replace(Request.of_line(json.dumps(fields)), switches=switches)


def _proof(requests: list[Request]) -> Proof | None:
    return interleaved.proof(parse(requests[0].case.subject).module) if requests else None


def _canary(engine: valgrind.Callgrind | Perf) -> None:
    """Count known work: a copy, a matrix product, and calls of an empty operation."""
    source, target = (ctypes.create_string_buffer(CANARY_BYTES) for _ in range(2))
    left = torch.ones(CANARY_SIZE, CANARY_SIZE)
    empty = torch.empty(0)

    def work() -> None:
        ctypes.memmove(target, source, CANARY_BYTES)
        torch.mm(left, left, out=left)
        for _ in range(CANARY_LOOPS):
            empty.detach()

    work()
    engine.begin()
    work()
    engine.count(CANARY, work)
    engine.end()


def _warm(step: Step) -> float:
    """Call until nothing is done for the first time; return the seconds of a call."""
    begun_s, calls = wall_clock(), 0
    while calls < LEAST_WARM_CALLS or (calls < MOST_WARM_CALLS and wall_clock() - begun_s < WARM_S):
        step.prepare(1)
        step()
        calls += 1
    return (wall_clock() - begun_s) / calls


def _case(number: int, request: Request, engine: valgrind.Callgrind | Perf) -> CaseCounted:
    """Count one case; its errors become a text."""
    case_id = request.case.case_id
    try:
        random.seed(0)
        torch.manual_seed(0)
        weights.use(request.weights)
        built = prepare.build(request)
        step = built.step
        step.settle()

        def calls(count: int) -> None:
            for _ in range(count):
                step()

        lengths = LENGTHS_OF_SHORT if _warm(step) < SHORT_S else LENGTHS_OF_LONG
        prepare.refuse_used_up(built)
        gc.collect()
        engine.begin()
        for length in (lengths[-1], *lengths):  # the first is not looked at
            if step.prepare(length) < length:
                return CaseCounted(
                    case_id=case_id,
                    error=f"its input cannot be restored for {length} calls in a row",
                )
            engine.count(name_of(number, length), lambda length=length: calls(length))  # type: ignore[misc]
        engine.end()
        prepare.refuse_used_up(built)
        step.prepare(1)
        return CaseCounted(case_id=case_id, lengths=lengths, calls=python_calls.counted(step))
    except Exception as error:  # whatever the subject raises
        return CaseCounted(case_id=case_id, error=": ".join(describe(error)))
