"""Gives lazy layers their sizes by a call that reaches them.

Some layers are reached in training only (an auxiliary head), some never.  Those have no sizes and
are left out: their parameters become None, like those of a layer without a bias, so that no code
that goes over the parameters finds one without a shape.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bench.worker.device import torch_private
from bench.worker.model import layers

MOST_NAMES = 5  # of layers that a sentence names


class LazyError(RuntimeError):
    """A lazy layer that was left out is called after all; the message names it."""


class _RaiseIfCalled:
    """Hook before the forward of a layer that was left out."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, _module: nn.Module, _args: Any) -> None:
        raise LazyError(
            f"the lazy layer {self.name} has no sizes: neither a call in eval mode nor one in "
            "training mode reached it when the network was built, but a later call does; "
            "give it its sizes when it is made"
        )


def lacks_sizes(module: nn.Module) -> bool:
    """Return whether a parameter or buffer inside has no shape yet."""
    return any(is_lazy(one) for one in (*module.parameters(), *module.buffers()))


def give_sizes(module: nn.Module, call: Callable[[], object]) -> None:
    """Call `module` in eval mode, and where that does not reach all layers, in training mode as
    well.

    Untimed, without gradients.  Modes, buffers and the random state are restored.  Layers that
    neither call reaches are left out.  Raises the first call's error where the second one fails,
    too.
    """
    errors: list[Exception] = []
    for training in (False, True):
        if not lacks_sizes(module):
            return
        with layers.restored(module), _new_buffers_restored(module), torch.no_grad():
            module.train(training)
            try:
                call()
            except Exception as error:  # a forward may raise anything
                errors.append(error)
    if len(errors) > 1:
        raise errors[0]
    _leave_out(module)


def left_out(module: nn.Module) -> tuple[str, ...]:
    """Return dotted names of the layers inside that were left out."""
    return tuple(
        hook.name
        for inner in module.modules()
        for hook in torch_private.forward_pre_hooks(inner)
        if isinstance(hook, _RaiseIfCalled)
    )


def describe_left_out(names: tuple[str, ...]) -> str:
    """Return a sentence about them for the problems of a case."""
    some = ", ".join(names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    subject, its = ("layers", "their") if len(names) > 1 else ("layer", "its")
    return (
        f"no call reaches the lazy {subject} {some}{more}, in eval or training mode, so {its} "
        f"sizes are unknown: {its} parameters are left out of `parameters`, memory and training"
    )


def _leave_out(module: nn.Module) -> None:
    for name, inner in module.named_modules():
        lazy = False
        for own, put in (
            (torch_private.own_parameters(inner), torch_private.set_own_parameter),
            (torch_private.own_buffers(inner), torch_private.set_own_buffer),
        ):
            for key, value in own.items():
                if value is not None and is_lazy(value):
                    put(inner, key, None)
                    lazy = True
        if lazy:
            inner.register_forward_pre_hook(
                _RaiseIfCalled(name or type(inner).__name__), prepend=True
            )


@contextlib.contextmanager
def _new_buffers_restored(module: nn.Module) -> Iterator[None]:
    """Keep buffers that get their sizes inside as they are before the layer's own work."""
    before: list[tuple[Tensor, Tensor]] = []

    def keep(inner: nn.Module, _args: Any) -> None:
        before.extend((one, one.detach().clone()) for one in inner.buffers() if not is_lazy(one))

    # a lazy layer's own hook, which gives it its sizes, was registered first
    handles = [
        inner.register_forward_pre_hook(keep)
        for inner in module.modules()
        if any(is_lazy(one) for one in inner.buffers(recurse=False))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for one, kept in reversed(before):  # the first of several calls is the last to count
                one.copy_(kept)
