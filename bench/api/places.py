"""The device on which the measured callables work."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from bench.api.held import Held
from bench.api.inputs import Inputs
from bench.core.errors import UserError


class PlaceError(UserError):
    """The callables and their inputs lie on no device, or on several; the message names them."""


def device_of(held: Held, given: Inputs, asked: str | None) -> str:
    """Return the name of the device of models and inputs, else of tensors that callables use.

    asked: the device that all is moved to.

    Raises PlaceError.
    """
    places: dict[str, str] = {}  # device → the first thing that lies there
    for module in held.modules:
        for name, one in (*module.named_parameters(), *module.named_buffers()):
            places.setdefault(str(one.device), f"{name} of {type(module).__name__}")
    for place, one in enumerate(given.tensors, start=1):
        if one.ndim or one.device.type != "cpu":  # a single number may lie on the CPU
            places.setdefault(str(one.device), f"tensor {place} of the inputs")
    if asked is None and not any(is_accelerator(torch.device(one)) for one in places):
        # A callable may move what lies on the CPU to the tensors that it uses.
        used = [one for one in held.tensors if is_accelerator(one.device)]
        named = {str(one.device): "a tensor that a callable uses" for one in used}
        places = named or places
    if asked is None and len(places) > 1:
        said = ", ".join(f"{what} is on {device}" for device, what in places.items())
        raise PlaceError(
            f"the model and its inputs are on several devices: {said}; move them to one with .to(…)"
        )
    if "meta" in places:
        raise PlaceError(
            f"{places['meta']} is on the device meta, which has no numbers: build the model on a "
            "real device"
        )
    return asked or next(iter(places), "cpu")


def accelerator_of(held: Held, given: Inputs) -> str | None:
    """Return the accelerator on which a callable or its inputs have tensors; None: the CPU alone.

    Raises PlaceError if there are several.
    """
    own = (one for module in held.modules for one in (*module.parameters(), *module.buffers()))
    every = (*own, *held.tensors, *given.tensors)
    found = dict.fromkeys(str(one.device) for one in every if is_accelerator(one.device))
    if len(found) > 1:
        raise PlaceError(
            f"the callable has tensors on {' and '.join(found)}: say by on= which one to wait for"
        )
    return next(iter(found), None)


def is_accelerator(device: torch.device) -> bool:
    return device.type not in ("cpu", "meta")


def accelerators_in_use(accelerator: Any = torch.accelerator) -> dict[str, int]:
    """Return the allocations so far, by the name of each accelerator that this process has used.

    An accelerator that does not count its allocations has 0.  None is initialised.
    """
    type_ = _initialised(accelerator)
    if type_ is None:
        return {}
    return {
        str(torch.device(type_, index)): _allocations(accelerator, index)
        for index in range(accelerator.device_count())
    }


def _initialised(accelerator: Any) -> str | None:
    found = accelerator.current_accelerator()
    if found is None:
        return None
    module = getattr(torch, found.type, None)
    initialised = getattr(module, "is_initialized", lambda: False)
    return str(found.type) if initialised() else None


def _allocations(accelerator: Any, index: int) -> int:
    try:
        stats: Mapping[str, int] = accelerator.memory_stats(index)
    except (RuntimeError, NotImplementedError):
        return 0
    return stats.get("allocation.all.allocated", 0)


def worked_on(
    before: Mapping[str, int], after: Mapping[str, int], outputs: Iterable[Tensor]
) -> str | None:
    """Return the accelerator on which a call worked, though nothing showed it before; or None.

    before, after: what `accelerators_in_use` told.  outputs: of the call.
    """
    by_output = [str(one.device) for one in outputs if is_accelerator(one.device)]
    by_count = [name for name, count in after.items() if count > before.get(name, 0)]
    return next(iter((*by_output, *by_count)), None)
