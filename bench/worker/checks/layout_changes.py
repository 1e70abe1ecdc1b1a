"""Counts how often images change their memory format on their way through the layers."""

import itertools
from collections.abc import Callable
from typing import Any

from torch import nn

from bench.worker.checks.state import layout_of
from bench.worker.model import layer_names, pytree


def flips(module: nn.Module, call: Callable[[], object]) -> int:
    """Count the changes of memory format from layer to layer, in the order of the calls.

    call: runs `module` once, not compiled (hooks would change its graph).

    The first image among the inputs of a layer counts, and the first among its outputs, where the
    format is unambiguous: a tensor with one channel or with 1×1 maps has both formats.
    """
    layouts: list[str] = []

    def note(value: Any) -> None:
        for tensor in pytree.floating(value):
            if tensor.ndim == 4:
                layout = layout_of(tensor)
                if layout is not None:
                    layouts.append(layout)
                return

    def before(_layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        note((args, kwargs))

    def after(_layer: nn.Module, _args: Any, output: Any) -> None:
        note(output)

    handles = []
    for layer in (module, *layer_names.dotted_names(module)):
        if not any(True for _ in layer_names.inner_modules(layer)):
            # The class's method is used: a ScriptModule refuses its own, though it calls its hooks.
            handles.append(nn.Module.register_forward_pre_hook(layer, before, with_kwargs=True))
            handles.append(nn.Module.register_forward_hook(layer, after))
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return sum(one != two for one, two in itertools.pairwise(layouts))
