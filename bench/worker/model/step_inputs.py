"""The inputs of a step, call after call: restored, cold, or always the same."""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.core.text import typed_error
from bench.worker.model import growth, inplace, pieces, pytree, twins

# Room for prepared inputs of a layer that writes to its input; if it is full, a sample has fewer
# calls.  Enough for 5 ms of calls on a CPU and small beside a model's own memory.
PREPARED_BYTES = 256_000_000

# Most inputs that take turns.  An input that is so small that it would need more (under 25 kB where
# a cache has 50 MB) comes out of memory in less time than a launch takes, and tens of thousands of
# them would take longer to make than the case takes to measure.
MOST_TURNS = 4096


_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(slots=True)
class _Trial:
    """The inputs of the first call, and their state before it."""

    given: _Arguments
    tensors: list[Tensor]  # of these
    versions: list[int]  # of the tensors: number of writes
    before: growth.Fingerprint | None  # None: there is nothing but tensors
    problem: str | None  # why some of it is no copy
    uncopied: growth.Fingerprint | None  # then: of the originals
    taken: bool = False


class StepError(RuntimeError):
    """The case cannot be called as its mode requests; the message says why."""


class UnsupportedError(StepError):
    """Neither torch nor this suite can do what the case requests."""


class NoSteps(StepError):  # noqa: N818 - says what happened
    """GradScaler skips every optimizer step: the timed work would be no training."""


class StepInputs:
    """The module's inputs: restored where it writes to them, or cold where requested.

    A call may also change lists, dicts and objects among the inputs (a cache that grows).  The
    first call gets copies of them; where it has changed these, every later call gets fresh ones.
    An object that cannot be copied stays beside copies of all else; where calls change it, a doubt
    says so.
    """

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

        gradients: inputs that require gradients keep that.

        rotate_bytes: rotate through copies that together exceed this; where inputs are restored,
        write over as much memory after that.  0 = always the same inputs, from the cache.

        Raises UnsupportedError for an iterator among the inputs.
        """
        self._given: _Arguments = (tuple(args), dict(kwargs))
        self._gradients = gradients
        self._rotate_bytes = rotate_bytes
        self._ready: list[_Arguments] | None = None
        self._call_bytes = sum(piece.nbytes for piece in pieces.all_of(pytree.tensors(self._given)))
        self._flush: Tensor | None = None
        self._turns = [self._given]
        self._leaves: list[list[Tensor]] = [[]]
        self._turn = 0
        self.cold = False
        self.restores: bool | None = restore  # before every call; None before the first
        self.doubt: str | None = None  # why no two calls are the same
        self._objects = growth.holds_state((*args, *kwargs.values()))
        if self._objects and (said := growth.used_up(args, kwargs)):
            raise UnsupportedError(said)
        self._all_copied = True  # as far as it was tried
        if restore is not None:
            self._settle(restore=restore)
        self._trial: _Trial | None = None
        self._tried = restore is not None and not self._objects

    def _settle(self, *, restore: bool) -> None:
        """Choose to restore the inputs from now on, or to use the same ones again."""
        self.restores = restore
        self._ready = [] if restore else None
        if restore:
            self._given = self._mapped(twins.twin)
        # A restored input is in the cache, because it was just written: other writes drive it out.
        self._flush = self._flush_buffer(self._rotate_bytes) if restore else None
        copies = 1 if restore else self._copies(self._rotate_bytes)
        self._turns = [self._given]
        self._turns += [self._mapped(twins.twin) for _ in range(copies - 1)]
        self._leaves = [
            [leaf for leaf in pytree.tensors(one) if leaf.requires_grad and leaf.is_leaf]
            for one in self._turns
        ]
        self.cold = copies > 1 or self._flush is not None

    def _copies(self, rotate_bytes: int) -> int:
        """Return copies that exceed `rotate_bytes` together, two at least, where there is room."""
        if not rotate_bytes or not self._call_bytes:
            return 1
        wanted = max(2, rotate_bytes // self._call_bytes + 1)
        if wanted > MOST_TURNS:
            return 1
        return max(2, min(wanted, PREPARED_BYTES // self._call_bytes))

    def _flush_buffer(self, rotate_bytes: int) -> Tensor | None:
        """Return memory; writing to it drives everything else out of the device's cache."""
        leaf = next(iter(pytree.tensors(self._given)), None)
        if not rotate_bytes or leaf is None:
            return None
        return torch.empty(rotate_bytes, dtype=torch.uint8, device=leaf.device)

    def _first_call(self) -> _Trial | None:
        """Return the inputs of the first call, made now; None once it was made and judged."""
        if not self._tried:
            self._tried = True
            self._trial = self._first()
        if self._trial is not None and self._trial.taken:
            self._inspect_trial(self._trial)
        return self._trial

    def _first(self) -> _Trial:
        """Return copies for the first call; an object that cannot be copied stays itself."""
        problem, uncopied = None, None
        empty = twins.in_own_pages  # these copies are freed before the samples
        try:
            given = self._restored(empty)
        except Exception as error:  # an object of the subject may raise anything
            problem = typed_error(error, 120)
            self._all_copied = False
            given = self._tensors_alone(empty)
            uncopied = growth.Fingerprint.of(self._given)
        tensors = list(pytree.tensors(given))
        before = growth.Fingerprint.of(given) if self._objects else None
        return _Trial(given, tensors, inplace.versions(tensors), before, problem, uncopied)

    def _tensors_alone(self, empty: twins.Empty) -> _Arguments:
        """Return the inputs with copied tensors; the inputs themselves where not even that is
        possible.
        """
        try:
            return self._restored(empty)
        except Exception:  # a tuple of its own class, a tensor of its own class
            return self._given

    def _inspect_trial(self, trial: _Trial) -> None:
        """Find out what the first call has changed in its inputs."""
        self._trial = None
        self._objects = (
            trial.before is not None
            and trial.given is not self._given
            and not trial.before.same_as(growth.Fingerprint.of(trial.given))
        )
        if trial.uncopied and not trial.uncopied.same_as(growth.Fingerprint.of(self._given)):
            self.doubt = f"each call changes its inputs, which cannot be copied ({trial.problem})"
        if self.restores is None:
            self._settle(restore=trial.given is not self._given and self._writes_to_tensors(trial))
        if self._objects and trial.before is not None:
            self._ready = [] if self._ready is None else self._ready
            # The same tensors again, unless they are restored: other writes drive them out.
            self._flush = self._flush_buffer(self._rotate_bytes)
            self._turns, self._turn, self._leaves = [self._given], 0, self._leaves[:1]
            self.cold = self._flush is not None
            self._call_bytes = max(self._call_bytes, trial.before.tensor_bytes)

    def _writes_to_tensors(self, trial: _Trial) -> bool:
        """Return whether the call wrote to a tensor; where that is unknown, inputs are restored."""
        try:
            return inplace.versions(trial.tensors) != trial.versions or inplace.changed(
                trial.tensors, pytree.tensors(self._given)
            )
        except (RuntimeError, ValueError):  # a layout or dtype that torch cannot compare
            return True

    def _copied(self, fresh: Callable[[Tensor], Tensor]) -> _Arguments:
        """Return the inputs with copies of all their objects and of the tensors in these.

        A tensor that is an argument itself is copied unless no call writes to it.
        """
        args, kwargs = self._given
        plain = set[int]()
        if self.restores is False:
            plain = {id(one) for one in (*args, *kwargs.values()) if isinstance(one, Tensor)}
        memo = {
            id(one): one if id(one) in plain else fresh(one) for one in pytree.tensors(self._given)
        }
        copied: _Arguments = copy.deepcopy(self._given, memo)
        return copied

    def _restored(self, empty: twins.Empty = torch.empty_strided) -> _Arguments:
        """Return fresh copies.  empty: makes their memory."""
        fresh = functools.partial(self._fresh, empty=empty)
        if self._objects and self._all_copied:
            return self._copied(fresh)
        return self._mapped(fresh)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> _Arguments:
        """Return the inputs with changed tensors.  Raises attributes.CopyError at the first
        attempt.
        """
        mapped: _Arguments = pytree.map_tensors(
            change, self._given, keep_uncopyable=not self._all_copied
        )
        return mapped

    @property
    def need_preparing(self) -> bool:
        """Return whether each call needs `prepare` first."""
        return self._ready is not None

    def prepare(self, calls: int) -> int:
        if self._first_call():
            return 1
        if self._ready is None:
            return calls
        room = max(1, PREPARED_BYTES // max(1, self._call_bytes))
        self._ready.clear()  # leftover inputs would take memory beyond the limit
        for _ in range(min(calls, room)):
            self._ready.append(self._restored())
        if self._flush is not None:
            self._flush.zero_()
        return len(self._ready)

    def take(self) -> _Arguments:
        judged = self._trial is not None and self._trial.taken
        if (trial := self._first_call()) is not None:
            trial.taken = True
            return trial.given
        if judged:
            self.prepare(1)
        if self._ready is None:
            self._turn = (self._turn + 1) % len(self._turns)
            return self._turns[self._turn]
        if not self._ready:
            raise StepError("the layer writes to its input: prepare(calls) restores it first")
        return self._ready.pop()

    def drop_gradients(self) -> None:
        """Remove gradients, those of restored inputs too."""
        for leaf in self._leaves[self._turn]:
            leaf.grad = None

    def _fresh(self, kept: Tensor, empty: twins.Empty) -> Tensor:
        if self._gradients and kept.requires_grad:
            # A leaf that requires a gradient must not be written to; its copy may be, as may the
            # output of the layer before, which is the input inside a network.
            leaf = kept.detach().requires_grad_()
            if empty is torch.empty_strided or not twins.is_strided(kept) or 0 in kept.stride():
                return leaf.clone()
            return twins.twin(kept.detach(), empty).copy_(leaf)
        return twins.twin(kept.detach(), empty)
