"""The loop of a fleet: which node measures which unit, and what its end means.

A unit is one replicate of the whole plan on one kind of machine.  The first unit of a kind goes
ahead alone: it finds the static metrics and how many calls make a sample, which the others need.
Ray and processes are behind `Cluster`; nothing here knows them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.core import decode
from bench.core.errors import UserError
from bench.core.records import Entry, Measurement, RecordError, StaticMetrics, whole_phase
from bench.engine.policy import TRIES
from bench.engine.run_so_far import Known
from bench.fleet import controls
from bench.fleet.cluster import Answer, Cluster, Lost, Node
from bench.fleet.journal import Done, Gone, Line, Odd, append, counting
from bench.results.journal import Journal
from bench.shards import kinds

BENCHED_AFTER = 2  # units in a row that a node lost
WAIT_S = 5.0  # then the nodes are looked up again
# Waits in a row in which no node was there and nothing ran: the fleet is over.
PATIENCE = 12
COMMAND = ("-c", "from bench.commands import unit; unit.main()")


class FleetError(UserError):
    """A fleet cannot begin or go on; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node that was looked at, and can measure.

    node: tells computers apart; two nodes of the cluster on one computer share it.
    """

    on: Node
    node: str
    kind_id: str
    name: str


@dataclass(frozen=True, slots=True)
class _Flight:
    """A unit that runs.  unit: None = a look."""

    on: Node
    machine: Machine | None
    unit: int | None


@dataclass(kw_only=True)
class Driver:
    """Measures `units` replicates on each kind of machine that the cluster has.

    run:      the flags of `bench run`, for `bench.commands.unit`.
    versions: of this machine: a node with others is refused.
    git:      commit and state of the working tree here, which no node has a repository for.
    """

    cluster: Cluster
    log: Journal
    lines: list[Line]
    run: Mapping[str, Any]
    units: int
    versions: Mapping[str, Any]
    git: Mapping[str, Any]
    tell: Callable[[str], None]
    command: Sequence[str] = COMMAND
    wait_s: float = WAIT_S
    machines: dict[str, Machine] = field(default_factory=dict)  # by identity
    refused: set[str] = field(default_factory=set)  # identities
    benched: set[str] = field(default_factory=set)  # identities
    _in_flight: dict[object, _Flight] = field(default_factory=dict)
    _lost_in_a_row: dict[str, int] = field(default_factory=dict)  # by identity
    _told_head: bool = False
    _earlier: int = field(init=False)  # lines of the drivers before this one

    def __post_init__(self) -> None:
        self._earlier = len(self.lines)

    def measure(self) -> bool:
        """Measure until every kind has its units.  False: some could not be measured.

        KeyboardInterrupt passes through; what was finished is in the journal.
        """
        waits = 0
        while True:
            self._begin(self._usable(self.cluster.nodes()))
            if not self._in_flight:
                if self.machines and not self._left():
                    return True
                if waits >= PATIENCE or not self._worth_waiting():
                    return False
                waits += 1
                self.cluster.ended([], self.wait_s)
                continue
            waits = 0
            for handle in self.cluster.ended(list(self._in_flight), self.wait_s):
                self._end(self._in_flight.pop(handle), self.cluster.result(handle))

    def _usable(self, nodes: Sequence[Node]) -> list[Node]:
        """Return the nodes that may measure; the head only if there is no other."""
        out = self.refused | self.benched
        found = [one for one in nodes if one.identity not in out]
        others = [one for one in found if not one.is_head]
        if others and len(others) < len(found) and not self._told_head:
            self._told_head = True
            self.tell("note: the head of the cluster measures nothing, since other nodes are there")
        return others or found

    def _kinds(self) -> list[str]:
        """Return all kinds that are known, also those whose nodes are gone."""
        there = [one.kind_id for one in self.machines.values()]
        return list(dict.fromkeys([*there, *(one.kind_id for one in self.lines)]))

    def _left(self) -> bool:
        return any(map(self._left_of, self._kinds()))

    def _worth_waiting(self) -> bool:
        """Return whether a node that joins would get a unit, or none was seen yet."""
        return not self.machines or any(
            self._tries(kind_id, unit) < TRIES
            for kind_id in self._kinds()
            for unit in self._left_of(kind_id)
        )

    def _begin(self, nodes: Sequence[Node]) -> None:
        """Look at new nodes, and give each free computer a unit."""
        busy = {flight.on.identity for flight in self._in_flight.values()}
        addresses = {flight.on.address for flight in self._in_flight.values()}
        computers = {flight.machine.node for flight in self._in_flight.values() if flight.machine}
        free = [one for one in nodes if one.identity not in busy]
        for node in free:
            # The computer of a node is known later; until then its address tells nodes apart.
            if node.identity not in self.machines and node.address not in addresses:
                addresses.add(node.address)
                self._start(_Flight(node, None, None), {"job": "look"})
        for node in free:
            machine = self.machines.get(node.identity)
            if machine is None or machine.node in computers or node.address in addresses:
                continue
            unit = self._next(machine.kind_id)
            if unit is not None:
                computers.add(machine.node)
                addresses.add(node.address)
                self._start(_Flight(node, machine, unit), self._request(machine.kind_id, unit))

    def _start(self, flight: _Flight, request: Mapping[str, Any]) -> None:
        text = json.dumps({"command": list(self.command), "input": request})
        self._in_flight[self.cluster.start(flight.on, text)] = flight

    def _request(self, kind_id: str, unit: int) -> dict[str, Any]:
        known = known_of([one for one in counting(self.lines) if one.kind_id == kind_id])
        return {
            "job": "shard",
            "run": dict(self.run),
            "shard": f"{unit}/{self.units}",
            "known": asdict(known),
        }

    def _left_of(self, kind_id: str) -> list[int]:
        """Return the units of a kind that are not measured."""
        done = {one.unit for one in counting(self.lines) if one.kind_id == kind_id}
        return [unit for unit in range(1, self.units + 1) if unit not in done]

    def _next(self, kind_id: str) -> int | None:
        """Return the next unit of a kind, or None: all are done, under way or given up."""
        flying = {
            flight.unit
            for flight in self._in_flight.values()
            if flight.machine and flight.machine.kind_id == kind_id
        }
        left = [
            unit
            for unit in self._left_of(kind_id)
            if unit not in flying and self._tries(kind_id, unit) < TRIES
        ]
        first_is_done = any(one.kind_id == kind_id for one in counting(self.lines))
        if not left or (flying and not first_is_done):
            return None
        return left[0]

    def _tries(self, kind_id: str, unit: int) -> int:
        """Return how often this driver has lost a unit: a resume tries it again."""
        return sum(
            isinstance(one, Gone) and (one.kind_id, one.unit) == (kind_id, unit)
            for one in self.lines[self._earlier :]
        )

    def _end(self, flight: _Flight, result: Answer | Lost) -> None:
        if isinstance(result, Lost):
            self._lost(flight, result.why)
            return
        answer = json.loads(result.text)
        if "error" in answer:
            self._refuse(flight, str(answer["error"]))
        elif flight.machine is None or flight.unit is None:
            self._looked(flight.on, answer)
        else:
            self._done(flight.machine, flight.unit, answer)

    def _looked(self, on: Node, answer: Mapping[str, Any]) -> None:
        """Let a node measure, or refuse it."""
        differs = kinds.different(self.versions, versions_of(answer["fixed"]))
        if differs:
            self.refused.add(on.identity)
            self.tell(f"node {on.address} is refused: {differs}; install the same versions there")
            return
        kind_id = kinds.kind(answer["fixed"], on.label)
        name = kinds.folder_name(answer["devices"], kind_id, on.label)
        node = answer["node"]
        machine = Machine(on=on, node=node, kind_id=kind_id, name=name)
        self.machines[on.identity] = machine
        self.tell(f"node {on.address} is a {name}")
        if why := self._why_odd(machine):
            self.benched.add(on.identity)
            self.tell(f"node {on.address} stays left out: {why}")

    def _why_odd(self, machine: Machine) -> str | None:
        """Return why a node is not like the others of its kind, as an earlier driver found."""
        named = {(one.kind_id, one.node): one.why for one in self.lines if isinstance(one, Odd)}
        return named.get((machine.kind_id, identity_of(machine)))

    def _done(self, machine: Machine, unit: int, answer: Mapping[str, Any]) -> None:
        """Keep a unit, and look whether its node is like the others."""
        self._lost_in_a_row.pop(machine.on.identity, None)
        document = {**answer["run"], "environment": {**answer["run"]["environment"], **self.git}}
        done = Done(
            unit=unit,
            kind_id=machine.kind_id,
            node=identity_of(machine),
            address=machine.on.address,
            run=document,
            lines=tuple(answer["lines"]),
            failures=answer["failures"],
            label=machine.on.label,
        )
        self._keep(done)
        left = len(self._left_of(machine.kind_id))
        self.tell(
            f"{machine.name}: unit {unit} of {self.units} from {machine.on.address}; {left} left"
        )
        self._find_odd(machine.kind_id)

    def _find_odd(self, kind_id: str) -> None:
        levels: dict[str, list[float]] = {}
        for one in counting(self.lines):
            if one.kind_id == kind_id and (found := controls.level(entries_of(one))) is not None:
                levels.setdefault(one.node, []).append(found)
        for node, why in controls.odd(levels).items():
            names = [one for one in self.machines.values() if identity_of(one) == node]
            address = names[0].on.address if names else node
            self._keep(Odd(kind_id=kind_id, node=node, address=address, why=why))
            self.benched |= {one.on.identity for one in names}
            self.tell(f"node {address} is left out: {why}; its units are measured elsewhere")

    def _lost(self, flight: _Flight, why: str) -> None:
        """Record that a unit was ended from outside: no case gets a verdict, and it is retried."""
        on = flight.on
        self._lost_in_a_row[on.identity] = self._lost_in_a_row.get(on.identity, 0) + 1
        if flight.machine is not None and flight.unit is not None:
            machine = flight.machine
            self._keep(
                Gone(
                    unit=flight.unit,
                    kind_id=machine.kind_id,
                    node=identity_of(machine),
                    address=on.address,
                    why=why,
                )
            )
        what = "a look" if flight.unit is None else f"unit {flight.unit}"
        self.tell(f"node {on.address} lost {what}: {why}")
        if self._lost_in_a_row[on.identity] >= BENCHED_AFTER:
            self.benched.add(on.identity)
            self.tell(f"node {on.address} lost {BENCHED_AFTER} units in a row; it gets no more")

    def _refuse(self, flight: _Flight, why: str) -> None:
        """Refuse a node whose process says why it cannot measure; another node may be able to."""
        if flight.unit is None:
            self.refused.add(flight.on.identity)
            self.tell(f"node {flight.on.address} is refused: {why}")
        else:
            self._lost(flight, why)

    def _keep(self, line: Line) -> None:
        append(self.log, line)
        self.lines.append(line)


def identity_of(machine: Machine) -> str:
    """Return the name of a computer in the journal; two nodes of the cluster may share one."""
    return f"{machine.node}@{machine.on.address}"


def versions_of(fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal here and on a node: torch without the suffix of its build."""
    torch = str(fixed.get("torch")).partition("+")[0]
    return {"bench": fixed.get("bench"), "torch": torch, "Python": fixed.get("Python")}


def entries_of(done: Done) -> list[Entry]:
    """Raises FleetError if a line is not one of a journal."""
    try:
        return [decode.entry(line) for line in done.lines]
    except RecordError as error:
        raise FleetError(f"unit {done.unit} from {done.address}: {error}") from None


def known_of(units: Sequence[Done]) -> Known:
    """Return what the units of a kind know for the next one."""
    entries = [entry for one in units for entry in entries_of(one)]
    static = [one for one in entries if isinstance(one, StaticMetrics)]
    calls = {
        one.case.case_id: samples.calls_per_sample
        for one in reversed(entries)
        if isinstance(one, Measurement)
        for samples in one.samples
        if samples.kind == "pipelined" and samples.phase == whole_phase(one.case.mode)
    }
    return Known(
        static_metrics=tuple(dict.fromkeys(one.case.case_id for one in static)),
        wrong=tuple(dict.fromkeys(one.case.case_id for one in static if one.invalid)),
        calls=calls,
    )
