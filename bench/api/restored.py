"""Leave a process as it was: models, optimizers, schedulers, random numbers, switches of torch.

While the measurement runs, each tensor of a model has a copy of its numbers, in pages of its own:
the copies are freed afterwards, and a free would change the state of the C library's allocator.
Then the tensor gets its own memory back, which nothing has written to.
"""

import contextlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.api.held import Held, module_tensors, stepper_tensors
from bench.worker.device import torch_private
from bench.worker.model import random_state, twins

Change = Callable[[Tensor], Tensor]
CONTAINERS = (dict, OrderedDict, defaultdict, Counter, list, set, deque)  # of these very classes


class KeptTensors:
    """The numbers of tensors, their gradients and flags, as they were."""

    def __init__(self, changed: Iterable[Tensor], read: Iterable[Tensor] = ()) -> None:
        """Keep tensors.

        changed: get copies of their numbers, where their memory can be exchanged.
        read:    only gradients and flags are kept.
        """
        changed, read = _distinct(changed), _distinct(read)
        swapped = [one for one in changed if _has_memory(one)]
        leaves = [
            one for one in _distinct([*changed, *read]) if one.is_leaf and not one.is_inference()
        ]
        self._flags = [(one, one.requires_grad) for one in leaves]
        self._gradients = [(one, one.grad) for one in leaves]
        self._own = [(one, one.data) for one in swapped]
        self._sharing = _sharing(self._own)
        restored = _distinct([*swapped, *read])
        self.versioned = tuple(one for one in restored if not one.is_inference())

    def begin(self, change: Change = twins.apart) -> None:
        """Take the gradients away, and give each tensor a changed copy of its numbers."""
        for one, _ in self._gradients:
            one.grad = None
        self.renew(change)

    def renew(self, change: Change = twins.apart) -> None:
        """Give each tensor a new copy of the numbers that it had at the beginning."""
        # Another layout or device would part them in a real program as well.
        sharing = self._sharing if change is twins.apart else []
        shared = {id(one) for group in sharing for one, _ in group}
        with torch.inference_mode(False):  # else the copies would be tensors without autograd
            for one, own in self._own:
                if id(one) not in shared:
                    one.data = change(own)
            for group in sharing:
                copies = twins.apart_together([own for _, own in group])
                for (one, _), copy in zip(group, copies, strict=True):
                    one.data = copy

    def end(self) -> None:
        """Give back all that there was."""
        for one, own in self._own:
            one.data = own
        for one, needs in self._flags:
            if one.is_leaf and one.requires_grad is not needs:
                one.requires_grad_(needs)
        for one, gradient in self._gradients:
            one.grad = gradient


def _sharing(own: Sequence[tuple[Tensor, Tensor]]) -> list[list[tuple[Tensor, Tensor]]]:
    """Return those that lie in one storage: weights tied by `.data`, a cache and its parts.

    A few slices of a large storage, such as a data set, are left out.
    """
    groups: dict[tuple[torch.device, int], list[tuple[Tensor, Tensor]]] = {}
    for one, numbers in own:
        place = numbers.device, numbers.untyped_storage().data_ptr()
        groups.setdefault(place, []).append((one, numbers))
    return [group for group in groups.values() if len(group) > 1 and _fill(group)]


def _fill(group: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Return whether these tensors have at least half as many bytes as their storage."""
    storage = group[0][1].untyped_storage()
    plain = not any(numbers.is_conj() or numbers.is_neg() for _, numbers in group)
    return plain and 0 < storage.nbytes() <= 2 * sum(numbers.nbytes for _, numbers in group)


def _distinct(found: Iterable[Tensor]) -> list[Tensor]:
    return list({id(one): one for one in found}.values())


def _has_memory(one: Tensor) -> bool:
    """Return whether its memory can be exchanged: an ordinary tensor that autograd may see."""
    return twins.is_strided(one) and not one.is_inference() and one.device.type != "meta"


class KeptObject:
    """The attributes of an object: which they are, and what the containers in them hold."""

    def __init__(self, one: object) -> None:
        self._own = vars(one)
        self._attributes = dict(self._own)
        self._contents = _contents(self._own)

    def restore(self) -> None:
        for name in [name for name in self._own if name not in self._attributes]:
            del self._own[name]
        for name, value in self._attributes.items():
            if self._own.get(name, self._own) is not value:
                self._own[name] = value
        for container, held in self._contents:
            _refill(container, held)


class KeptModule:
    """The attributes of a module and of those inside: modes, hooks, lists, names of buffers."""

    def __init__(self, module: nn.Module) -> None:
        self._kept = [(inner, inner.training, KeptObject(inner)) for inner in module.modules()]

    def restore(self) -> None:
        for inner, training, attributes in self._kept:
            attributes.restore()
            if inner.training is not training:  # a scripted module keeps it elsewhere
                inner.training = training


def _contents(attributes: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return the containers in these attributes, also inside each other, and copies of them."""
    found: dict[int, tuple[Any, Any]] = {}
    left = list(attributes.values())
    while left:
        one = left.pop()
        if type(one) in CONTAINERS and id(one) not in found:
            found[id(one)] = one, _copied(one)
            left += [inner for inner in _flat(one) if type(inner) in (tuple, *CONTAINERS)]
        elif type(one) is tuple:
            left += [inner for inner in one if type(inner) in (tuple, *CONTAINERS)]
    return list(found.values())


def _copied(container: Any) -> Any:
    return list(container.items()) if isinstance(container, dict) else list(container)


def _refill(container: Any, held: Any) -> None:
    """Put the same objects into a container again, in the same order."""
    now = _copied(container)
    if len(now) == len(held) and all(map(_same, now, held)):
        return
    container.clear()
    if isinstance(container, dict):
        for key, value in held:
            container[key] = value
    elif isinstance(container, set):
        container.update(held)
    else:
        container.extend(held)


def _same(one: Any, other: Any) -> bool:
    """Return whether they are one object, or pairs of the same ones."""
    if one is other:
        return True
    pairs = type(one) is tuple and type(other) is tuple and len(one) == len(other) == 2
    return pairs and one[0] is other[0] and one[1] is other[1]


def _flat(container: Any) -> list[Any]:
    return list(container.values()) if isinstance(container, dict) else list(container)


class KeptStepper:
    """An optimizer, or what steps beside one: a scheduler of its rates, a scaler of gradients.

    Its attributes with its hooks, its state and its settings, and the numbers of its tensors.
    """

    def __init__(self, one: object) -> None:
        self._attributes = KeptObject(one)
        self._tensors = KeptTensors(stepper_tensors(one))

    @property
    def versioned(self) -> tuple[Tensor, ...]:
        return self._tensors.versioned

    def begin(self) -> None:
        self._tensors.begin()

    def restore(self) -> None:
        self._attributes.restore()
        self._tensors.end()


class Restorer:
    """Restores models, optimizers and inputs; `renew` does so for the time in between."""

    def __init__(self, held: Held, inputs: Iterable[Tensor]) -> None:
        self._modules = [KeptModule(one) for one in held.modules]
        self._steppers = [KeptStepper(one) for one in (*held.optimizers, *held.beside)]
        given = _distinct(inputs)
        ids = {id(one) for one in given}
        own = [one for module in held.modules for one in module_tensors(module)]
        changed = [one for one in (*own, *held.tensors) if id(one) not in ids]
        self._tensors = KeptTensors(changed, given)
        self._generators = [random_state.restorer(one) for one in held.generators]
        self._change: Change = twins.apart
        self._ready: list[KeptModule] = []

    @contextlib.contextmanager
    def restored(self, change: Change = twins.apart) -> Iterator[None]:
        """Give every tensor a changed copy of its numbers and no gradient, inside the block."""
        versioned = (
            *self._tensors.versioned,
            *(tensor for one in self._steppers for tensor in one.versioned),
        )
        self._change = change
        with torch_private.keep_versions(versioned), contextlib.ExitStack() as stack:
            stack.callback(self._tensors.end)
            for again in self._generators:
                stack.callback(again)
            for stepper in self._steppers:
                stack.callback(stepper.restore)
            for module in self._modules:
                stack.callback(module.restore)
            self._tensors.begin(change)
            for stepper in self._steppers:
                stepper.begin()
            yield

    def ready(self, modules: Iterable[nn.Module]) -> None:
        """Remember these modules as they are now, in their modes: `renew` makes them so again."""
        self._ready = [KeptModule(one) for one in modules]

    def renew(self) -> None:
        """Give all tensors the numbers of the beginning, and attributes their values in `ready`."""
        for again in self._generators:
            again()
        for one in self._ready:
            one.restore()
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
