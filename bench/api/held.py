"""Find the models, optimizers and tensors that a callable uses, so that they can be restored."""

import functools
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim.lr_scheduler import LRScheduler

from bench.worker.model import random_state
from bench.worker.model.pytree import tensors

MOST_OBJECTS = 5_000  # that are looked at for one callable
MANY = 100  # items of a container
PLAIN = (type(None), str, bytes, int, float, complex)
# Code of these packages holds no state of the user's.
LIBRARIES = frozenset({"bench", "numpy", "pandas", "torch", "torchvision"})


@dataclass(frozen=True, slots=True)
class Held:
    """Everything that a call may change and that can be restored.

    modules: without those inside another one.  tensors: beside the modules' own.
    iterators: beside the modules' own; they cannot be restored.
    beside:  schedulers of the optimizers' rates, and scalers of gradients.
    generators: of random numbers, beside the process' own; those of modules as well.
    """

    modules: tuple[nn.Module, ...]
    optimizers: tuple[torch.optim.Optimizer, ...]
    tensors: tuple[Tensor, ...]
    iterators: tuple[Iterator[Any], ...] = ()
    beside: tuple[LRScheduler | GradScaler, ...] = ()
    generators: tuple[random_state.Drawn, ...] = ()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of all modules, without duplicates."""
        every = (one for module in self.modules for one in module.parameters())
        return list({id(one): one for one in every}.values())


def held_by(functions: Iterable[Any], *trees: Any) -> Held:
    """Return what these callables, and the trees of their inputs, hold.

    A function is searched for names: its closure, its defaults, and the globals in its code.  A
    notebook's `lambda x: model(x)` finds `model` among its globals.
    """
    modules: dict[int, nn.Module] = {}
    optimizers: dict[int, torch.optim.Optimizer] = {}
    found: dict[int, Tensor] = {}
    iterators: dict[int, Iterator[Any]] = {}
    beside: dict[int, LRScheduler | GradScaler] = {}
    generators: dict[int, random_state.Drawn] = {}
    for one in _walk([*functions, *trees]):
        match one:
            case nn.Module():
                modules[id(one)] = one
            case torch.optim.Optimizer():
                optimizers[id(one)] = one
            case Tensor():
                found[id(one)] = one
            case LRScheduler() | GradScaler():
                beside[id(one)] = one
            case _ if random_state.draws(one):
                generators[id(one)] = one
            case Iterator():
                iterators[id(one)] = one
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            found |= {id(one): one for one in group["params"]}
    for module in modules.values():
        own_values = (value for inner in module.modules() for value in vars(inner).values())
        generators |= {id(one): one for one in own_values if random_state.draws(one)}
    inner = {
        id(one) for module in modules.values() for one in module.modules() if one is not module
    }
    roots = tuple(one for one in modules.values() if id(one) not in inner)
    own = {id(one) for root in roots for one in module_tensors(root)}
    return Held(
        roots,
        tuple(optimizers.values()),
        tuple(one for one in found.values() if id(one) not in own),
        tuple(iterators.values()),
        tuple(beside.values()),
        tuple(generators.values()),
    )


def module_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and tensors that are attributes or stand in containers of these."""
    for inner in module.modules():
        yield from inner.parameters(recurse=False)
        yield from inner.buffers(recurse=False)
        for value in vars(inner).values():
            if isinstance(value, Tensor | list | tuple | dict | deque):
                yield from tensors(value)


def stepper_tensors(one: object) -> list[Tensor]:
    """Tensors of the state and the settings of an optimizer, a scheduler or a scaler.

    The parameters that an optimizer takes are not among them.
    """
    groups = one.param_groups if isinstance(one, torch.optim.Optimizer) else ()
    taken = {id(parameter) for group in groups for parameter in group["params"]}
    found, seen, left = list[Tensor](), set[int](), list(vars(one).values())
    while left:
        value = left.pop()
        if id(value) in seen or id(value) in taken:
            continue
        match value:
            case Tensor():
                found.append(value)
            case Mapping():
                left += value.values()
            case list() | tuple() | deque():
                left += value
            case _:
                continue
        seen.add(id(value))
    return found


def _walk(starts: list[Any]) -> Iterator[Any]:
    """Yield all objects that can be reached, the near ones first.

    The items of a long list (the files of a data set) come after all else.
    """
    seen, left, long = set[int](), deque(starts), deque[Any]()
    while (left or long) and len(seen) < MOST_OBJECTS:
        one = (left or long).popleft()
        if id(one) in seen or isinstance(one, PLAIN):
            continue
        seen.add(id(one))
        yield one
        inside = list(_next(one))
        (long if len(inside) > MANY else left).extend(inside)


def _next(one: Any) -> Iterable[Any]:
    match one:
        case type() | types.ModuleType():
            return ()
        case Tensor() | nn.Module():
            return ()
        case torch.optim.Optimizer() | LRScheduler() | GradScaler():
            inside = (torch.optim.Optimizer, LRScheduler)  # Lookahead, SequentialLR
            return [part for part in _flat(vars(one)) if isinstance(part, inside)]
        case Mapping():
            return list(one.values())
        case list() | tuple() | set() | frozenset() | deque():
            return list(one)
        case functools.partial():
            return (one.func, *one.args, *one.keywords.values())
        case types.MethodType():
            return (one.__self__, one.__func__)
        case types.FunctionType():
            return _named_in(one)
    if _is_library(type(one)):
        return ()
    call = getattr(type(one), "__call__", None)  # noqa: B004 - its code is searched
    return (*getattr(one, "__dict__", {}).values(), *_in_slots(one), call)


def _in_slots(one: Any) -> Iterator[Any]:
    """Yield what stands in the `__slots__` of an object's class."""
    members = [
        member
        for kind in type(one).__mro__
        if "__slots__" in vars(kind)
        for member in vars(kind).values()
        if isinstance(member, types.MemberDescriptorType)
    ]
    for member in members:
        try:
            yield member.__get__(one)
        except AttributeError:  # not set
            continue


def _flat(attributes: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values, and those in lists and tuples."""
    for value in attributes.values():
        yield from value if isinstance(value, list | tuple) else (value,)


def _is_library(one: Any) -> bool:
    module = getattr(one, "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] in LIBRARIES


def _named_in(function: types.FunctionType) -> list[Any]:
    """Return the objects that the code of a function names."""
    found: list[Any] = [
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
        getattr(function, "__wrapped__", None),
    ]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not set yet
            continue
    if not _is_library(function):
        names = _names(function.__code__)
        named = [function.__globals__[name] for name in names if name in function.__globals__]
        # `parts.model(x)`, where `parts` is a module of the user's or a class
        places = [vars(one) for one in named if isinstance(one, type) or _is_users_module(one)]
        found += [*named, *(place[name] for place in places for name in names if name in place)]
    return found


def _is_users_module(one: Any) -> bool:
    return isinstance(one, types.ModuleType) and one.__name__.partition(".")[0] not in LIBRARIES


def _names(code: types.CodeType) -> set[str]:
    """Return the global names in a function's code and in the functions inside it."""
    inner = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))
