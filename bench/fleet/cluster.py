"""A cluster as the driver needs it; `bench.fleet.on_ray` has it of Ray."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine that can measure.

    identity: unique in the cluster.  address: for messages.
    label:    the kind that its owner gave it, if any.
    is_head:  the cluster's own processes run there as well.
    """

    identity: str
    address: str
    label: str | None = None
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A unit has ended.  text: JSON, as the unit wrote it."""

    text: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A unit, or its node, was ended from outside.  why: one line."""

    why: str


class Cluster(Protocol):
    """Machines that start a process on request."""

    def nodes(self) -> Sequence[Node]:
        """Return the machines that are there now."""

    def start(self, node: Node, request: str) -> object:
        """Start a unit on a node, and return its handle.  request: JSON."""

    def ended(self, handles: Sequence[object], wait_s: float) -> Sequence[object]:
        """Return the handles whose units have ended; wait so long for one."""

    def result(self, handle: object) -> Answer | Lost:
        """Return how a unit has ended."""
