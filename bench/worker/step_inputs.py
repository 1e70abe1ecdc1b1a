"""What a step is called with, call after call: restored, cold or just as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.worker import inplace, pieces, tree

# Room for prepared inputs of a layer that writes to its input; beyond it a sample has fewer
# calls.  Enough for 5 ms of calls on a CPU and small beside a model's own memory.
ROOM_BYTES = 256_000_000

# Most inputs that take turns.  One so small that it would need more (under 25 kB where a cache has
# 50 MB) comes out of memory in less time than a launch takes, and to make tens of thousands of them
# would take longer than to measure the case.
MOST_TURNS = 4096


class StepError(RuntimeError):
    """The case cannot be called as its mode asks; the message says why."""


class StepInputs:
    """What the module is called with: restored where it writes to it, or cold where asked for."""

    def __init__(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        restore: bool | None,
        gradients: bool,
        rotate_bytes: int = 0,
    ) -> None:
        """restore: whether a call writes to them; None = the first call shows it.

        gradients: inputs that require them keep that.

        rotate_bytes: take turns among copies that together exceed this, or, where inputs are
        restored, write over as much after that; 0 = always the same, as hot as it is.
        """
        self._given = (tuple(args), dict(kwargs))
        self._gradients = gradients
        self._rotate_bytes = rotate_bytes
        self._ready: list[tuple[tuple[Any, ...], dict[str, Any]]] | None = []
        self._call_bytes = sum(piece.nbytes for piece in pieces.all_of(tree.tensors(self._given)))
        self._flush: Tensor | None = None
        self._turns = [self._given]
        self._leaves: list[list[Tensor]] = [[]]
        self._turn = 0
        self.cold = False
        self.restores: bool | None = None  # before every call; None before the first
        self._first: tuple[list[Tensor], list[int]] | None = None  # its tensors, and their versions
        if restore is not None:
            self._settle(restore=restore)

    def _settle(self, *, restore: bool) -> None:
        """From now on restore the inputs, or give the same ones again."""
        self.restores = restore
        self._ready = [] if restore else None
        if restore:
            self._given = tree.map_tensors(tree.twin, self._given)
        # A restored input is hot, for it has just been written: other writes drive it out.
        self._flush = self._flushing(self._rotate_bytes) if restore else None
        copies = 1 if restore else self._copies(self._rotate_bytes)
        self._turns = [self._given]
        self._turns += [tree.map_tensors(tree.twin, self._given) for _ in range(copies - 1)]
        self._leaves = [
            [leaf for leaf in tree.tensors(one) if leaf.requires_grad and leaf.is_leaf]
            for one in self._turns
        ]
        self.cold = copies > 1 or self._flush is not None

    def _look_back(self) -> None:
        """At the first call: it was given a copy.  Where it cannot be told, inputs are restored."""
        if self._first is None:
            return
        (tensors, versions), self._first = self._first, None
        try:
            written = inplace.versions(tensors) != versions or inplace.changed(
                tensors, tree.tensors(self._given)
            )
        except (RuntimeError, ValueError):  # a layout or dtype that torch cannot compare
            written = True
        self._settle(restore=written)

    def _copies(self, rotate_bytes: int) -> int:
        """As many as exceed `rotate_bytes` together, two at least, where there is room."""
        if not rotate_bytes or not self._call_bytes:
            return 1
        wanted = max(2, rotate_bytes // self._call_bytes + 1)
        if wanted > MOST_TURNS:
            return 1
        return max(2, min(wanted, ROOM_BYTES // self._call_bytes))

    def _flushing(self, rotate_bytes: int) -> Tensor | None:
        """Memory whose writing leaves no room for anything else in the device's cache."""
        leaf = next(iter(tree.tensors(self._given)), None)
        if not rotate_bytes or leaf is None:
            return None
        return torch.empty(rotate_bytes, dtype=torch.uint8, device=leaf.device)

    def prepare(self, calls: int) -> int:
        self._look_back()
        if self._ready is None:
            return calls
        room = max(1, ROOM_BYTES // max(1, self._call_bytes))
        if self.restores is None:
            room = 1
        self._ready.clear()  # what was left over would hold memory beyond the cap
        for _ in range(min(calls, room)):
            self._ready.append(tree.map_tensors(self._fresh, self._given))
        if self._flush is not None:
            self._flush.zero_()
        return len(self._ready)

    def take(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.restores is None:
            return self._take_first()
        if self._ready is None:
            self._turn = (self._turn + 1) % len(self._turns)
            return self._turns[self._turn]
        if not self._ready:
            raise StepError("the layer writes to its input: prepare(calls) restores it first")
        return self._ready.pop()

    def _take_first(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._first is not None:  # this is the second one
            self._look_back()
            self.prepare(1)
            return self.take()
        given = self._ready.pop() if self._ready else tree.map_tensors(self._fresh, self._given)
        tensors = list(tree.tensors(given))
        self._first = (tensors, inplace.versions(tensors))
        return given

    def drop_gradients(self) -> None:
        """Those of restored inputs go with them."""
        for leaf in self._leaves[self._turn]:
            leaf.grad = None

    def _fresh(self, kept: Tensor) -> Tensor:
        if self._gradients and kept.requires_grad:
            # A leaf that requires a gradient must not be written to; its copy may be, as may
            # the output of the layer before, which is what the input is inside a network.
            return kept.detach().requires_grad_().clone()
        return tree.twin(kept.detach())
