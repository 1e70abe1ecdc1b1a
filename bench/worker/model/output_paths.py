"""Paths to the tensors of an output, found in the first call and used again.

A training step starts its backward from them inside the timed span.  A walk through an object with
many attributes may cost more than the network does.  So one walk finds the paths, and timed calls
follow them.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bench.worker.model import pytree

CHANGED = (
    "the output has another structure than in the first call, so that calls do other work, and its "
    "tensors were looked for inside the timed span; return the same structure from each call"
)


@dataclass(slots=True)
class OutputPaths:
    """The paths to the tensors of one output after another."""

    _paths: tuple[pytree.TreePath, ...] = ()
    _changed: bool = False

    def tensors(self, output: Any) -> list[Tensor]:
        """Return the tensors in the order of `pytree.tensors`.  Walks the first output, and new
        kinds.
        """
        found = [pytree.at(output, path) for path in self._paths]
        known = [one for one in found if one is not None]
        if known and len(known) == len(found):
            return known
        self._changed = self._changed or bool(self._paths)
        self._paths = pytree.paths(output)
        return list(pytree.tensors(output))

    def doubt(self, output: Any) -> str | None:
        """Return a sentence where an output had another structure than the one before.  Walks
        through it.
        """
        if self._paths and pytree.paths(output) != self._paths:
            self._changed = True
        return CHANGED if self._changed else None
