"""A made-up cluster: nodes that answer as units do, from the outcomes of a real run."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.records import Case, StaticMetrics, to_line
from bench.core.shard import parse
from bench.fleet import journal
from bench.fleet.cluster import Answer, Lost, Node
from bench.fleet.driver import Driver
from bench.results.journal import Journal
from tests.support import shards
from tests.support.cases import case
from tests.support.results import measurement

VERSIONS = {"bench": "b", "torch": "2.13.0", "Python": "3.11.7"}
CASES: tuple[Case, ...] = (case(), case(batch=1))


def fixed(**changes: Any) -> dict[str, Any]:
    """The details of a node that do not change."""
    return {**VERSIONS, "torch": "2.13.0+cpu", "machine": "m", "commit": None, **changes}


def unit(shard: str, known: dict[str, Any], control_s: float = 1e-3) -> dict[str, Any]:
    """The answer of a unit: an outcome of each case under its own number."""
    one = parse(shard)
    document = shards.described()
    document["shard"] = {"index": one.index, "count": one.count, "plan": "p"}
    entries: list[Any] = [
        measurement(
            each,
            one.first,
            1e-3 * (1 + one.index / 100),
            controls={"matmul": (control_s,), "conv": (control_s,)},
        )
        for each in CASES
    ]
    entries += [
        StaticMetrics(case=each, metrics={"flops": 7.0})
        for each in CASES
        if each.case_id not in known["static_metrics"]
    ]
    return {"run": document, "lines": [to_line(entry) for entry in entries], "failures": {}}


@dataclass
class Made:
    """A node of the made-up cluster.

    loses: numbers of the requests that it loses, from 0.  fatal: the shard that ends it.
    """

    on: Node
    node: str
    fixed: dict[str, Any] = field(default_factory=fixed)
    control_s: float = 1e-3
    loses: tuple[int, ...] = ()
    fatal: str = ""
    alive: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, request: dict[str, Any]) -> Answer | Lost:
        self.asked.append(request)
        if (
            not self.alive
            or len(self.asked) - 1 in self.loses
            or self.fatal == request.get("shard")
        ):
            return Lost("NodeDiedError: the node died")
        if request["job"] == "look":
            told = {"fixed": self.fixed, "devices": {"cpu": "AMD EPYC"}, "node": self.node}
            return Answer(json.dumps(told))
        return Answer(json.dumps(unit(request["shard"], request["known"], self.control_s)))


@dataclass
class MadeUpCluster:
    """A cluster whose units end in the order of their start, each when it is waited for."""

    made: list[Made]
    before_end: Callable[[int], None] = lambda _: None
    running: dict[int, tuple[Made, dict[str, Any]]] = field(default_factory=dict)
    begun: int = 0
    most_at_a_time: dict[str, int] = field(default_factory=dict)

    def nodes(self) -> Sequence[Node]:
        return [one.on for one in self.made if one.alive]

    def start(self, node: Node, request: str) -> object:
        there = next(one for one in self.made if one.on == node)
        self.begun += 1
        self.running[self.begun] = (there, json.loads(request)["input"])
        together = sum(one.node == there.node for one, _ in self.running.values())
        most = self.most_at_a_time.get(there.node, 0)
        self.most_at_a_time[there.node] = max(most, together)
        return self.begun

    def ended(self, handles: Sequence[object], wait_s: float) -> Sequence[object]:
        assert wait_s >= 0
        return list(handles)[:1]

    def result(self, handle: object) -> Answer | Lost:
        assert isinstance(handle, int)
        self.before_end(handle)
        there, request = self.running.pop(handle)
        return there.answer(request)


def node(name: str, label: str | None = None, **more: Any) -> Made:
    """A node on a computer of its own."""
    head = more.pop("is_head", False)
    on = Node(identity=f"id-{name}", address=f"10.0.0.{name}", label=label, is_head=head)
    return Made(on=on, node=more.pop("computer", name), **more)


def driver(folder: Path, cluster: Any, told: list[str], units: int = 3) -> Driver:
    """A driver whose journal lies in the folder, which may have been begun."""
    path = folder / journal.NAME
    lines = journal.read(path)
    return Driver(
        cluster=cluster,
        log=Journal(path),
        lines=lines,
        run={},
        units=units,
        versions=VERSIONS,
        git={"git_commit": "abc", "git_dirty": False, "git_changes": None},
        tell=told.append,
        wait_s=0.0,
    )
