"""What a step is called with, call after call: restored, cold or just as it is."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.worker import growth, tree

# Room for prepared inputs of a layer that writes to its input; beyond it a sample has fewer
# calls.  Enough for 5 ms of calls on a CPU and small beside a model's own memory.
ROOM_BYTES = 256_000_000

# Most inputs that take turns.  One so small that it would need more (under 25 kB where a cache has
# 50 MB) comes out of memory in less time than a launch takes, and to make tens of thousands of them
# would take longer than to measure the case.
MOST_TURNS = 4096


_Given = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(slots=True)
class _Trial:
    """What the first call is given, and how it stood before."""

    given: _Given
    before: growth.Print
    problem: str | None  # why it is no copy
    taken: bool = False


class StepError(RuntimeError):
    """The case cannot be called as its mode asks; the message says why."""


class StepInputs:
    """What the module is called with: restored where it writes to it, or cold where asked for.

    Lists, dicts and objects among the inputs may be changed by a call as well (a cache that grows).
    The first call is given copies of them; where it has changed these, every later call gets fresh
    ones.
    """

    def __init__(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        restore: bool,
        gradients: bool,
        rotate_bytes: int = 0,
    ) -> None:
        """gradients: inputs that require them keep that.

        rotate_bytes: take turns among copies that together exceed this, or, where inputs are
        restored, write over as much after that; 0 = always the same, as hot as it is.
        """
        self._given: _Given = (tuple(args), dict(kwargs))
        self._gradients = gradients
        self._ready: list[_Given] | None = None
        self._objects = growth.holds_state((*args, *kwargs.values()))
        self._writes = restore
        self.doubt: str | None = None  # why no two calls are the same
        if restore:
            self._ready = []
            self._given = tree.map_tensors(tree.twin, self._given)
        self._call_bytes = sum(leaf.nbytes for leaf in tree.tensors(self._given))
        self._trial: _Trial | None = self._first() if self._objects else None
        # A restored input is hot, for it has just been written: other writes drive it out.
        self._flush = self._flushing(rotate_bytes) if restore else None
        copies = 1 if restore else self._copies(rotate_bytes)
        self._turns = [self._given]
        self._turns += [tree.map_tensors(tree.twin, self._given) for _ in range(copies - 1)]
        self._leaves = [
            [leaf for leaf in tree.tensors(one) if leaf.requires_grad and leaf.is_leaf]
            for one in self._turns
        ]
        self._turn = 0
        self.cold = copies > 1 or self._flush is not None

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

    def _first(self) -> _Trial:
        """Copies for the first call; the inputs themselves where they cannot be copied."""
        problem, given = None, self._given
        try:
            given = self._copied(self._fresh if self._writes else lambda tensor: tensor)
        except Exception as error:  # whatever an object of the subject raises
            problem = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return _Trial(given, growth.Print.of(given), problem)

    def _judge(self, trial: _Trial) -> None:
        """After the first call: whether it has changed what it was given."""
        self._trial = None
        after = growth.Print.of(trial.given)
        if trial.before.same_as(after):
            self._objects = False
        elif trial.problem is not None:
            self._objects = False
            self.doubt = f"each call changes its inputs, which cannot be copied ({trial.problem})"
        else:
            self._ready = [] if self._ready is None else self._ready
            self._call_bytes = max(self._call_bytes, trial.before.tensor_bytes)

    def _copied(self, fresh: Callable[[Tensor], Tensor]) -> _Given:
        """The inputs with all their objects copied, and their tensors as `fresh` makes them."""
        memo = {id(one): fresh(one) for one in tree.tensors(self._given)}
        copied: _Given = copy.deepcopy(self._given, memo)
        return copied

    def _restored(self) -> _Given:
        if self._objects:
            return self._copied(self._fresh if self._writes else lambda tensor: tensor)
        restored: _Given = tree.map_tensors(self._fresh, self._given)
        return restored

    def prepare(self, calls: int) -> int:
        if self._trial is not None:
            if not self._trial.taken:
                return 1
            self._judge(self._trial)
        if self._ready is None:
            return calls
        room = max(1, ROOM_BYTES // max(1, self._call_bytes))
        self._ready.clear()  # what was left over would hold memory beyond the cap
        for _ in range(min(calls, room)):
            self._ready.append(self._restored())
        if self._flush is not None:
            self._flush.zero_()
        return len(self._ready)

    def take(self) -> _Given:
        if self._trial is not None:
            if not self._trial.taken:
                self._trial.taken = True
                return self._trial.given
            self._judge(self._trial)
        if self._ready is None:
            self._turn = (self._turn + 1) % len(self._turns)
            return self._turns[self._turn]
        if not self._ready:
            raise StepError("the layer writes to its input: prepare(calls) restores it first")
        return self._ready.pop()

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
