"""The inputs of a call: as they are, in another layout, on another device, or one after another."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.worker.model import growth, pytree, random_state, twins

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Bound = tuple[Callable[..., Any], Arguments]  # a function, and what it is given

MOST_TURNS = 16  # inputs that are taken from a generator, and then take turns


class InputError(UserError, ValueError):
    """Inputs that a call cannot be measured with; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """One or more inputs, which take turns.  Each is what one call is given."""

    turns: tuple[Arguments, ...]

    @property
    def tensors(self) -> list[Tensor]:
        return list(pytree.tensors(self.turns))

    @property
    def batches(self) -> list[int]:
        """Return the first size of the first tensor of each input that has one."""
        firsts = [
            next((one for one in pytree.tensors(turn) if one.ndim), None) for turn in self.turns
        ]
        return [int(one.shape[0]) for one in firsts if one is not None]

    @property
    def batch(self) -> int | None:
        """Return the batch of the first input; None without one."""
        return next(iter(self.batches), None)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        return Inputs(tuple(pytree.map_tensors(change, one) for one in self.turns))

    def bound(self, function: Callable[..., Any]) -> Bound:
        """Return the function and what to give it; where inputs take turns, it takes none."""
        if len(self.turns) == 1:
            return function, self.turns[0]
        endless = itertools.cycle(self.turns)

        def next_call() -> Any:
            args, kwargs = next(endless)
            return function(*args, **kwargs)

        return next_call, ((), {})


def without(kinds: tuple[type, ...], function: Callable[..., Any], given: Arguments) -> Bound:
    """Return the function with its arguments of these kinds in it, and the others to give to it."""
    args, kwargs = given
    places = {place: one for place, one in enumerate(args) if isinstance(one, kinds)}
    named = {name: one for name, one in kwargs.items() if isinstance(one, kinds)}
    if not places and not named:
        return function, given

    def call(*others: Any, **by_name: Any) -> Any:
        left = iter(others)
        whole = [
            places[place] if place in places else next(left)
            for place in range(len(others) + len(places))
        ]
        return function(*whole, **named, **by_name)

    rest = tuple(one for place, one in enumerate(args) if place not in places)
    return call, (rest, {name: one for name, one in kwargs.items() if name not in named})


def of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Inputs:
    """Return the inputs of one call, or those of a generator or DataLoader, which take turns.

    A generator gives an input each: a tensor, a tuple of arguments, or a dict of keywords.  The
    first MOST_TURNS are taken from it.  Raise InputError.
    """
    if len(args) != 1 or kwargs or not _gives_inputs(args[0]):
        _refuse_iterators(args, kwargs)
        return Inputs(((args, dict(kwargs)),))
    # A generator that draws random numbers leaves the random state as it was, too.
    with random_state.kept("cuda" if torch.cuda.is_initialized() else "cpu"):
        turns = tuple(map(_arguments, itertools.islice(iter(args[0]), MOST_TURNS)))
    if not turns:
        raise InputError("the generator gave no input: give it at least one")
    for turn in turns:
        _refuse_iterators(*turn)
    return Inputs(turns)


def _refuse_iterators(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if said := growth.used_up(args, kwargs):
        raise InputError(said)


def _gives_inputs(one: Any) -> bool:
    return isinstance(one, Iterator | torch.utils.data.DataLoader)


def _arguments(given: Any) -> Arguments:
    match given:
        case tuple() | list():
            return tuple(given), {}
        case Mapping() if all(isinstance(key, str) for key in given):
            return (), dict(given)
    return (given,), {}


def laid_out(memory_format: str) -> Callable[[Tensor], Tensor]:
    """Return a change that gives 4-dimensional tensors this memory format."""
    channels_last = memory_format == "channels_last"
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def change(tensor: Tensor) -> Tensor:
        of_numbers = tensor.is_floating_point() or tensor.is_complex()
        if not (twins.is_image(tensor) and of_numbers):
            return tensor
        return tensor.detach().contiguous(memory_format=layout)

    return change
