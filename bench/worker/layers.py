"""The layers of a module: which there are, and what each gets inside the whole.

Both are seen in one untimed call of the whole in training mode with gradients, as a training
step would make it.
"""

import difflib
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bench.worker import tree


class LayerError(Exception):
    """A layer that the module does not have, or does not call."""


class _Found(Exception):  # noqa: N818 - ends the call of the whole once the layer was seen
    """The layer has been called; the rest of the forward is not needed."""


@dataclass(slots=True)
class Layer:
    """One call of a module inside the whole."""

    name: str  # dotted; name#2 for the second call
    alias: str | None
    type: str
    key: tuple[Any, ...]  # equal layers have equal keys
    inside: tuple[str, ...]  # names of the modules around it
    same_as: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Captured:
    """A layer with what it got."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    writes_input: bool


def listing(
    whole: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Layer], list[Layer]]:
    """The layers in the order of their first call, and the other modules that are called.

    A layer is a called module none of whose descendants is called.  Equal layers stand once;
    the others' names are in `same_as`.
    """
    calls: list[Layer] = []
    counted: Counter[str] = Counter()
    aliases = getattr(whole, "layer_names", {})
    open_: list[str] = []

    def enter(name: str, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        counted[name] += 1
        number = counted[name]
        shown = name if number == 1 else f"{name}#{number}"
        calls.append(
            Layer(
                name=shown,
                alias=aliases.get(name) if number == 1 else None,
                type=type(module).__name__,
                key=_key(module, given, named),
                inside=tuple(open_),
            )
        )
        open_.append(shown)

    with _as_in_training(whole):
        handles: list[RemovableHandle] = []
        for name, module in _named(whole):
            handles += [
                module.register_forward_pre_hook(
                    lambda module, given, named, name=name: enter(name, module, given, named),
                    with_kwargs=True,
                ),
                module.register_forward_hook(lambda *_: _close(open_), always_call=True),
            ]
        try:
            whole(*_cloned(args), **_cloned(kwargs))
        finally:
            for handle in handles:
                handle.remove()
    around = {name for layer in calls for name in layer.inside}
    leaves = [layer for layer in calls if layer.name not in around]
    others = [layer for layer in calls if layer.name in around]
    return _once(leaves), others


def capture(
    whole: nn.Module,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    autocast: AbstractContextManager[Any],
) -> Captured:
    """The layer `name` (dotted, shipped, or with #2) and clones of what it gets.

    Clones keep memory format and whether a gradient is wanted; they are leaves.
    Raises LayerError, or what the forward raises before the layer is called.
    """
    plain, number = _resolve(whole, name)
    module = whole.get_submodule(plain)
    seen: list[tuple[tuple[Any, ...], dict[str, Any], list[int]]] = []
    calls = 0
    writes = False

    def before(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            versions = [one._version for one in tree.tensors((given, named))]
            seen.append((_cloned(given), _cloned(named), versions))

    def after(
        _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], _output: Any
    ) -> None:
        nonlocal writes
        if calls == number and seen:
            writes = [one._version for one in tree.tensors((given, named))] != seen[0][2]
            raise _Found

    with _as_in_training(whole), autocast:
        handles = [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, with_kwargs=True),
        ]
        try:
            whole(*_cloned(args), **_cloned(kwargs))
        except _Found:
            pass
        finally:
            for handle in handles:
                handle.remove()
    if not seen:
        raise LayerError(f"{name!r} is called {calls} times, so there is nothing to measure")
    given, named, _ = seen[0]
    return Captured(module, given, named, writes)


def _resolve(whole: nn.Module, name: str) -> tuple[str, int]:
    """Dotted name and number of the call.  Raises LayerError."""
    plain, _, number = name.partition("#")
    by_alias = {alias: dotted for dotted, alias in getattr(whole, "layer_names", {}).items()}
    plain = by_alias.get(plain, plain)
    names = [one for one, _ in _named(whole)]
    if plain not in names or (number and not number.isdecimal()):
        near = difflib.get_close_matches(name, [*by_alias, *names], n=5) or [*by_alias, *names][:8]
        raise LayerError(f"there is no layer {name!r}; there are {', '.join(near)}")
    return plain, int(number or 1)


def _named(whole: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules inside, each once, under its first name."""
    return ((name, module) for name, module in whole.named_modules() if name)


@contextmanager
def _as_in_training(whole: nn.Module) -> Iterator[None]:
    """Training mode and gradients; modes, buffers and random numbers are put back."""
    modes = {module: module.training for module in whole.modules()}
    buffers = {name: one.clone() for name, one in whole.named_buffers()}
    numbers = torch.get_rng_state()
    whole.train()
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for name, one in whole.named_buffers():
                if name in buffers and one.shape == buffers[name].shape:
                    one.copy_(buffers[name])
        torch.set_rng_state(numbers)


def _close(open_: list[str]) -> None:
    if open_:
        open_.pop()


def _cloned(arguments: Any) -> Any:
    """Leaves with the same numbers, strides and requires_grad.

    One tensor given twice (query, key and value of an attention) stays one: other code runs.
    """
    made: dict[int, Tensor] = {}

    def clone(one: Tensor) -> Tensor:
        if id(one) not in made:
            made[id(one)] = one.detach().clone().requires_grad_(one.requires_grad)
        return made[id(one)]

    return tree.mapped(arguments, clone)


def _once(layers: list[Layer]) -> list[Layer]:
    """Equal layers once, the others' names with the first."""
    first: dict[Any, Layer] = {}
    for layer in layers:
        kept = first.setdefault(layer.key, layer)
        if kept is not layer:
            kept.same_as.append(layer.name)
    return list(first.values())


def _key(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Type, configuration and input: what decides a layer's cost."""
    shapes = tuple(
        (tuple(one.shape), one.dtype, one.stride(), one.requires_grad)
        for one in tree.tensors((given, named))
    )
    parameters = tuple((name, tuple(one.shape)) for name, one in module.named_parameters())
    values = tuple(sorted((key, repr(value)) for key, value in named.items() if _plain(value)))
    places = tuple(repr(value) for value in given if _plain(value))
    return (type(module), repr(module), parameters, shapes, values, places)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
