"""Finds state that grows from call to call: in the inputs, in the module, in the work of a call."""

import functools
import io
import itertools
import operator
import sys
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.worker.device import torch_private
from bench.worker.model import pieces, pytree

MOST_OBJECTS = 20_000  # objects read in one value: a table of words holds more, and is no state
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, nn.Module)
_CONTAINERS = (list, dict, set, deque)
_MODULES_OWN = frozenset(vars(nn.Module()))
# An endless one is never used up, and a file can be read again from its start.
_READ_AGAIN = (itertools.count, itertools.cycle, io.IOBase)
# calls, each of which has to do more than the one before: this is no chance (1 in 24)
_RISING_CALLS = 3


def _objects(value: Any) -> Iterator[Any]:
    """Yield the value and its contents, each once: MOST_OBJECTS at most, no code or modules."""
    seen, left = set[int](), [value]
    while left and len(seen) < MOST_OBJECTS:
        one = left.pop()
        if id(one) in seen or isinstance(one, _CODE):
            continue
        if not isinstance(one, _PLAIN):
            seen.add(id(one))
        yield one
        match one:
            case Tensor():
                pass
            case Mapping():
                left += [*one.keys(), *one.values()]
            case list() | tuple() | set() | frozenset() | deque():
                left += one
        left += _attributes(one)


def _attributes(one: Any) -> list[Any]:
    if isinstance(one, (*_PLAIN, Tensor)):
        return []
    slots = [
        getattr(one, name)
        for kind in type(one).__mro__
        for name in _names(vars(kind).get("__slots__", ()))
        if hasattr(one, name)
    ]
    return [*getattr(one, "__dict__", {}).values(), *slots]


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def holds_state(value: Any) -> bool:
    """Return whether a call could leave state in the value, apart from tensors' numbers."""
    return any(not isinstance(one, (*_PLAIN, Tensor, tuple)) for one in _objects(value))


def used_up(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Say which input the first call would use up, and what to give instead; else return None.

    Each later call would do the work of an empty one.
    """
    named = {f"input {number}": one for number, one in enumerate(args, 1)}
    named |= {f"the input {name!r}": one for name, one in kwargs.items()}
    for name, value in named.items():
        for one in _objects(value):
            if _can_be_used_up(one):
                verb = "is" if one is value else "holds"
                return (
                    f"{name} {verb} an iterator ({pytree.class_name(one)}), which the first call "
                    "would use up, so that each later call would find it empty: give a list"
                )
    return None


def _can_be_used_up(one: Any) -> bool:
    """Return whether no second call can read it.

    The state of one that is written in Python shows in its attributes.
    """
    if not isinstance(one, Iterator) or isinstance(one, _READ_AGAIN):
        return False
    return not isinstance(getattr(type(one), "__next__", None), types.FunctionType)


@dataclass(frozen=True, slots=True)
class HeldIterators:
    """Iterators that are kept from call to call, with the name of the place of each.

    Only those that something was left in at first: a call that uses such a one up leaves nothing
    for the next.
    """

    kept: tuple[tuple[str, Any], ...]

    @classmethod
    def of_module(cls, *modules: nn.Module) -> "HeldIterators":
        return cls.of(itertools.chain(*map(_state_holders, modules)))

    @classmethod
    def of(cls, values: Iterable[tuple[str, Any]]) -> "HeldIterators":
        """values: by the name of their place.  Containers and objects are searched."""
        found = {
            id(one): (name, one)
            for name, value in values
            for one in _objects(value)
            if _can_be_used_up(one) and not _is_used_up(one)
        }
        return cls(tuple(found.values()))

    def within(self, module: nn.Module) -> "HeldIterators":
        """Return those that this module holds, a layer of the one before."""
        inside = {id(one) for _, value in _state_holders(module) for one in _objects(value)}
        return HeldIterators(tuple(one for one in self.kept if id(one[1]) in inside))

    def used_up(self) -> str | None:
        """Say which of them is empty by now, and what to keep instead; else return None."""
        for name, one in self.kept:
            if _is_used_up(one):
                return (
                    f"{name} is or holds an iterator ({pytree.class_name(one)}), which the calls "
                    "have used up, so that later calls find it empty: keep a list"
                )
        return None


NO_ITERATORS = HeldIterators(())


def _is_used_up(one: Any) -> bool:
    """Return whether an iterator that is not written in Python has nothing left, as far as it
    tells.

    `map`, `zip` and those of itertools end with an iterator that they hold.
    """
    if isinstance(one, types.GeneratorType):
        return one.gi_frame is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of itertools, in Python 3.12
        try:
            left = operator.length_hint(one, -1)
            if left >= 0:
                return left == 0
            kind, inner, *state = one.__reduce__()
        except Exception:  # one of any library, which does not tell
            return False
    if kind is itertools.chain:
        return not state
    return any(isinstance(part, Iterator) and _is_used_up(part) for part in inner)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Detects changes of a value: of its contents, and writes to its tensors."""

    marks: tuple[Any, ...]
    kept: tuple[Any, ...]  # keeps them alive, so that no other object gets one of their ids

    @classmethod
    def of(cls, value: Any) -> "Fingerprint":
        held = tuple(_objects(value))
        return cls(tuple(map(_mark, held)), held)

    @property
    def tensor_bytes(self) -> int:
        held = (one for one in self.kept if isinstance(one, Tensor))
        return sum(piece.nbytes for piece in pieces.all_of(held))

    def same_as(self, other: "Fingerprint") -> bool:
        return self.marks == other.marks


def _mark(one: Any) -> Any:
    match one:
        case Tensor():
            return (
                id(one),
                None if one.is_inference() else torch_private.version(one),
                None if one.is_nested else tuple(one.shape),
            )
        case _ if isinstance(one, _PLAIN):
            return repr(one)
        case _ if _is_array(one):  # no array counts its writes
            return id(one), one.shape, hash(one.tobytes())
    return id(one), _length(one)


def _is_array(one: Any) -> bool:
    """Return whether it is an array of numpy, which this suite does not need."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(one, numpy.ndarray)


def _length(one: Any) -> int:
    return len(one) if isinstance(one, (list, tuple, set, frozenset, deque, Mapping)) else 0


def sizes(module: nn.Module) -> dict[str, int]:
    """Return the size of what the module holds beside its parameters, by attribute.

    Containers of its classes, and of the files of these, count as well.
    """
    found: dict[str, int] = {}
    for name, value in _state_holders(module):
        found[name] = found.get(name, 0) + _size(value)
    return found


def graphs_kept(module: nn.Module) -> list[str]:
    """Return the names of attributes with a tensor that still has its graph."""
    names = (
        name
        for name, value in _state_holders(module)
        if any(isinstance(one, Tensor) and one.grad_fn is not None for one in _objects(value))
    )
    return list(dict.fromkeys(names))


def _state_holders(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield by name: attributes and buffers, objects that hooks hold, containers and tensors of
    classes.
    """
    places: dict[str, Any] = {}
    for name, inner in module.named_modules():
        for attribute, value in vars(inner).items():
            if attribute not in _MODULES_OWN:
                yield f"{name}.{attribute}".lstrip("."), value
        for attribute, buffer in torch_private.own_buffers(inner).items():
            if buffer is not None:
                yield f"{name}.{attribute}".lstrip("."), buffer
        for hook in torch_private.hooks(inner):
            yield f"a hook of {name or 'the module'}", _held_by_call(hook)
        for kind in type(inner).__mro__:
            own = sys.modules.get(kind.__module__)
            if own is not None and kind.__module__.partition(".")[0] not in ("torch", "builtins"):
                places |= {kind.__name__: kind, kind.__module__: own}
    for name, place in places.items():
        for attribute, value in list(vars(place).items()):
            kept = isinstance(value, (*_CONTAINERS, Tensor, Iterator))
            if kept and not attribute.startswith("__"):
                yield f"{name}.{attribute}", value


def _held_by_call(call: Any) -> list[Any]:
    """Yield what a function, a method, a partial or another callable can reach."""
    match call:
        case functools.partial():
            return [*call.args, *call.keywords.values(), *_held_by_call(call.func)]
        case types.MethodType():
            return [call.__self__, *_held_by_call(call.__func__)]
        case types.FunctionType():
            return [
                *_cells(call),
                *(call.__defaults__ or ()),
                *(call.__kwdefaults__ or {}).values(),
            ]
    return [call]


def _cells(function: types.FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not set yet
            continue
    return found


def _size(value: Any) -> int:
    """Count objects, numbers of tensors, and nodes of the graphs behind these."""
    total = 0
    for one in _objects(value):
        total += 1 + _length(one)
        if isinstance(one, Tensor):
            total += one.numel() + _nodes(one)
    return total


def _nodes(tensor: Tensor) -> int:
    seen, left = set[Any](), [tensor.grad_fn]
    while left and len(seen) < MOST_OBJECTS:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [before for before, _ in node.next_functions]
    return len(seen)


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Return the names whose size has grown."""
    return [name for name, size in after.items() if size > before.get(name, size)]


class Work(torch_private.DispatchMode):
    """Counts operators, and the numbers in their results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators = 0
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operators += 1
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, Tensor):
                self.numbers += one.numel()
        return result

    def more_than(self, other: "Work") -> bool:
        """Return whether this is no less of either, and more of one."""
        mine, others = (self.operators, self.numbers), (other.operators, other.numbers)
        return mine != others and all(a >= b for a, b in zip(mine, others, strict=True))

    def __str__(self) -> str:
        return f"{self.operators} operators that put out {self.numbers} numbers"


def work_of(call: Callable[[], object]) -> Work | None:
    """Return the work of one call; None where some tensors cannot be counted."""
    seen = Work()
    try:
        with seen:
            call()
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    return seen


def rising(
    first: Work | None, call: Callable[[], object], prepare: Callable[[], object]
) -> str | None:
    """Return a sentence where each call does more than the one before, else None.

    first:   work of a call before the samples.
    prepare: restores the inputs before each call, which is no work of the call.
    """

    def following_work() -> Work | None:
        prepare()
        return work_of(call)

    last = following_work() if first is not None else None
    if first is None or last is None or not last.more_than(first):
        return None
    seen = last
    # a module that draws random numbers does more in one call and less in another
    for _ in range(_RISING_CALLS):
        following = following_work()
        if following is None or not following.more_than(seen):
            return None
        seen = following
    return f"each call does more work than the one before: first {first}, later {last}"
