"""Leave a process as it was: models, optimizers, random numbers and switches of torch.

While the measurement runs, each tensor of a model has a copy of its numbers, in pages of its own:
the copies are freed afterwards, and a free would change the state of the C library's allocator.
Then the tensor gets its own memory back, which nothing has written to.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.api.held import Held, module_tensors
from bench.worker.device import torch_private
from bench.worker.model import twins

Change = Callable[[Tensor], Tensor]


class KeptTensors:
    """The numbers of tensors, their gradients and flags, as they were."""

    def __init__(self, changed: Iterable[Tensor], read: Iterable[Tensor] = ()) -> None:
        """Keep tensors.  changed: they get copies.  read: only gradients and flags are kept."""
        self._swapped = [one for one in _distinct(changed) if _has_memory(one)]
        swapped = {id(one) for one in self._swapped}
        every = _distinct([*self._swapped, *read])
        self._flags = [(one, one.requires_grad) for one in every if one.is_leaf]
        self._gradients = [(one, one.grad) for one in every if one.is_leaf]
        self._own = [(one, one.data) for one in self._swapped]
        self._read = [one for one in every if id(one) not in swapped]
        self.versioned = tuple(one for one in every if not one.is_inference())

    def begin(self, change: Change = twins.apart) -> None:
        """Take the gradients away, and give each tensor a changed copy of its numbers."""
        for one, _ in self._gradients:
            one.grad = None
        self.renew(change)

    def renew(self, change: Change = twins.apart) -> None:
        """Give each tensor a new copy of the numbers that it had at the beginning."""
        for one, own in self._own:
            one.data = change(own)

    def end(self) -> None:
        """Give back all that there was."""
        for one, own in self._own:
            one.data = own
        for one, needs in self._flags:
            if one.is_leaf and one.requires_grad is not needs:
                one.requires_grad_(needs)
        for one, gradient in self._gradients:
            one.grad = gradient


def _distinct(found: Iterable[Tensor]) -> list[Tensor]:
    return list({id(one): one for one in found}.values())


def _has_memory(one: Tensor) -> bool:
    """Return whether its memory can be exchanged: an ordinary tensor that autograd may see."""
    return twins.is_strided(one) and not one.is_inference() and one.device.type != "meta"


class KeptModule:
    """The attributes of a module and of those inside: modes, hooks, lists, names of buffers."""

    def __init__(self, module: nn.Module) -> None:
        self._kept = [
            (inner, inner.training, dict(vars(inner)), _contents(vars(inner)))
            for inner in module.modules()
        ]

    def restore(self) -> None:
        for inner, training, attributes, contents in self._kept:
            own = vars(inner)
            for name in [name for name in own if name not in attributes]:
                del own[name]
            for name, value in attributes.items():
                if own.get(name, own) is not value:
                    own[name] = value
            for container, held in contents:
                _refill(container, held)
            if inner.training is not training:  # a scripted module keeps it elsewhere
                inner.training = training


def _contents(attributes: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return the containers of these attributes, and copies of what is in them."""
    kinds = (dict, OrderedDict, list, set)
    return [(one, one.copy()) for one in attributes.values() if type(one) in kinds]


def _refill(container: Any, held: Any) -> None:
    """Put the same objects into a container again, in the same order."""
    same = len(container) == len(held) and all(
        a is b for a, b in zip(_flat(container), _flat(held), strict=True)
    )
    if same:
        return
    container.clear()
    if isinstance(container, list):
        container.extend(held)
    else:
        container.update(held)


def _flat(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return [one for pair in container.items() for one in pair]
    return list(container)


class KeptOptimizer:
    """The state and the settings of an optimizer."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._groups = [
            (group, dict(group), list(group["params"])) for group in optimizer.param_groups
        ]
        self._state = [(key, held, dict(held)) for key, held in optimizer.state.items()]
        self._tensors = KeptTensors(
            value
            for _, _, held in self._state
            for value in held.values()
            if isinstance(value, Tensor)
        )
        self._rates = KeptTensors(
            value
            for _, settings, _ in self._groups
            for value in settings.values()
            if isinstance(value, Tensor)
        )

    @property
    def versioned(self) -> tuple[Tensor, ...]:
        return (*self._tensors.versioned, *self._rates.versioned)

    def begin(self) -> None:
        self._tensors.begin()
        self._rates.begin()

    def restore(self) -> None:
        for group, settings, parameters in self._groups:
            group.clear()
            group.update(settings)
            group["params"][:] = parameters
        self._optimizer.state.clear()
        for key, held, values in self._state:
            held.clear()
            held.update(values)
            self._optimizer.state[key] = held
        self._tensors.end()
        self._rates.end()


class Restorer:
    """Restores models, optimizers and inputs; `renew` does so for the time in between."""

    def __init__(self, held: Held, inputs: Iterable[Tensor]) -> None:
        self._modules = [KeptModule(one) for one in held.modules]
        self._optimizers = [KeptOptimizer(one) for one in held.optimizers]
        given = _distinct(inputs)
        ids = {id(one) for one in given}
        own = [one for module in held.modules for one in module_tensors(module)]
        changed = [one for one in (*own, *held.tensors) if id(one) not in ids]
        self._tensors = KeptTensors(changed, given)
        self._change: Change = twins.apart

    @contextlib.contextmanager
    def restored(self, change: Change = twins.apart) -> Iterator[None]:
        """Give every tensor a changed copy of its numbers and no gradient, inside the block."""
        versioned = (
            *self._tensors.versioned,
            *(tensor for one in self._optimizers for tensor in one.versioned),
        )
        self._change = change
        with torch_private.keep_versions(versioned), contextlib.ExitStack() as stack:
            stack.callback(self._tensors.end)
            for optimizer in self._optimizers:
                stack.callback(optimizer.restore)
            for module in self._modules:
                stack.callback(module.restore)
            self._tensors.begin(change)
            for optimizer in self._optimizers:
                optimizer.begin()
            yield

    def renew(self) -> None:
        """Give all tensors the numbers that they had at the beginning."""
        self._tensors.renew(self._change)


def gradients_enabled() -> contextlib.AbstractContextManager[None]:
    """Enable gradients, also inside the caller's `no_grad` or `inference_mode`."""
    stack = contextlib.ExitStack()
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.enable_grad())
    return _closing(stack)


@contextlib.contextmanager
def _closing(stack: contextlib.ExitStack) -> Iterator[None]:
    with stack:
        yield
