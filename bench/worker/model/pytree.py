"""Trees of tensors: inputs and outputs of a module.

A tree is a tensor, a tuple (named ones and torch's return types as well), list, dict or deque of
trees, an object with trees as attributes (`bench.worker.model.attributes`), or a value of any other
kind, which stays as it is.  A tree may contain itself, as parents and children do.
"""

import collections
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.worker.model import attributes

PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
# The number of objects that are searched, and how deep one lies in another: from an object of a
# large program (a trainer, a scene) much can be reached, and an output holds its tensors near its
# top.
MOST_OBJECTS = 10_000
MOST_DEPTH = 64


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield every tensor, in order.

    A tensor that occurs twice in lists, tuples and dicts is yielded twice.  Attributes often name a
    tensor again that has another name too, so tensors in attributes are yielded once.  Sets are not
    searched, because they have no order.
    """
    if isinstance(tree, Tensor):
        return iter((tree,))
    # Most networks return one of these: no walk is needed.
    kind = type(tree)
    values = tree if kind in (tuple, list) else tree.values() if kind is dict else (None,)
    if all(isinstance(one, Tensor) for one in values):
        return iter(tuple(values))
    return _Walk().visit(tree)


@dataclass(frozen=True, slots=True)
class PathStep:
    """A step from a container to one of its items, or from an object to one of its attributes."""

    kind: type  # of the container or object
    size: int | None  # of the container
    name: Any  # an index, a key or the name of an attribute


TreePath = tuple[PathStep, ...]  # from the top of a tree to a tensor


def paths(tree: Any) -> tuple[TreePath, ...]:
    """Return the paths to all tensors, in the order of `tensors`."""
    walk = _Walk()
    return tuple(tuple(walk.path) for _ in walk.visit(tree))


def at(tree: Any, path: TreePath) -> Tensor | None:
    """Return the tensor at the end of the path; None where a tree has another structure there."""
    place = tree
    for step in path:
        kind: Any = type(place)
        if kind is not step.kind or (step.size is not None and len(place) != step.size):
            return None
        try:
            place = place[step.name] if step.size is not None else attributes.get(place, step.name)
        except (AttributeError, LookupError, TypeError):
            return None
    return place if isinstance(place, Tensor) else None


@dataclass(slots=True)
class _Walk:
    """One walk through a tree, which may be infinite."""

    within: set[int] = field(default_factory=set)  # lists and dicts around the present place
    objects: set[int] = field(default_factory=set)
    found: set[int] = field(default_factory=set)  # tensors
    again: int = 0  # number of containers whose attributes surround the present place
    unknown: dict[str, None] = field(default_factory=dict)  # classes that are not searched
    path: list[PathStep] = field(default_factory=list)  # to the present place

    def visit(self, tree: Any) -> Iterator[Tensor]:
        if isinstance(tree, Tensor):
            if not (self.again and id(tree) in self.found):
                self.found.add(id(tree))
                yield tree
            return
        inner = items(tree)
        if inner is not None and id(tree) not in self.within and len(self.within) < MOST_DEPTH:
            self.within.add(id(tree))
            names = list(tree) if isinstance(tree, Mapping) else range(len(inner))
            for name, value in zip(names, inner, strict=True):
                yield from self._visit_item(PathStep(type(tree), len(inner), name), value)
            self.within.remove(id(tree))
        elif inner is None and not isinstance(tree, PLAIN) and not attributes.understood(tree):
            self.unknown.setdefault(class_name(tree))
        yield from self._attributes(tree)

    def _visit_item(self, step: PathStep, value: Any) -> Iterator[Tensor]:
        self.path.append(step)
        yield from self.visit(value)
        self.path.pop()

    def _attributes(self, tree: Any) -> Iterator[Tensor]:
        known = id(tree) in self.objects or len(self.objects) >= MOST_OBJECTS
        if known or len(self.within) >= MOST_DEPTH or isinstance(tree, PLAIN):
            return
        own = attributes.of(tree)
        if not own:
            return
        self.objects.add(id(tree))
        around = id(own)  # an object may be a mapping as well; its own id is taken
        self.within.add(around)
        container = items(tree) is not None  # its attributes name its own items again
        self.again += container
        for name, value in own.items():
            if not (isinstance(value, Tensor) and id(value) in self.found):
                yield from self._visit_item(PathStep(type(tree), None, name), value)
        self.again -= container
        self.within.remove(around)


def items(tree: Any) -> list[Any] | None:
    """Return the items of a container of Python's kinds; None = it is no container."""
    match tree:
        case Mapping():
            return list(tree.values())
        case tuple() | list() | collections.deque():
            return list(tree)
    return None


def unknown(tree: Any) -> list[str]:
    """Return classes of values in which tensors would not be found: a generator, an array."""
    walk = _Walk()
    collections.deque(walk.visit(tree), maxlen=0)
    return list(walk.unknown)


def class_name(value: Any) -> str:
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def floating(tree: Any) -> Iterator[Tensor]:
    """Return every tensor that can have a gradient: real or complex numbers, not whole ones."""
    return (one for one in tensors(tree) if one.is_floating_point() or one.is_complex())


def map_tensors(
    change: Callable[[Tensor], Any], tree: Any, *, keep_uncopyable: bool = False
) -> Any:
    """Return the same tree with changed tensors; the given one stays as it is.

    A tensor that occurs twice is changed once and occurs twice again: attention takes another path
    where query, key and value are one tensor.  The same is true of lists and objects.  An object
    that holds no tensor and cannot be copied stays.  One that holds tensors stays with them if
    `keep_uncopyable`, else attributes.CopyError is raised.
    """
    return _Mapper(change, keep_uncopyable).of(tree)


@dataclass(slots=True)
class _Mapper:
    """A copy while it is made.  The id of an original identifies its copy."""

    change: Callable[[Tensor], Any]
    keep_uncopyable: bool
    done: dict[int, Any] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)  # keeps them alive, so that no id is given twice
    depth: int = 0

    def of(self, tree: Any) -> Any:
        if id(tree) in self.done:
            return self.done[id(tree)]
        if isinstance(tree, PLAIN) or self.depth >= MOST_DEPTH:
            return tree
        self.kept.append(tree)
        self.depth += 1
        try:
            return self._made(tree)
        finally:
            self.depth -= 1

    def _made(self, tree: Any) -> Any:
        match tree:
            case Tensor():
                return self._note(tree, self.change(tree))
            case tuple() if hasattr(tree, "_make"):  # a named one
                return self._note(tree, tree._make(self.of(value) for value in tree))
            case tuple():
                return self._note(tree, type(tree)([self.of(value) for value in tree]))
            case list() | collections.deque():
                return self._filled_list(tree)
            case Mapping():
                return self._filled_mapping(tree)
        return self._filled_object(tree)

    def _note(self, tree: Any, result: Any) -> Any:
        self.done[id(tree)] = result
        return result

    def _filled_list(self, tree: Any) -> Any:
        result = self._note(tree, self._copied(tree, holds=True))
        if result is tree:
            return tree
        for place, value in enumerate(tree):
            result[place] = self.of(value)
        return self._filled(tree, result)

    def _filled_mapping(self, tree: Mapping[Any, Any]) -> Any:
        """Copy the mapping, then fill it: this keeps the class, the order and the attributes
        (ModelOutput).
        """
        try:
            result: Any = attributes.copied(tree)
            result = dict(tree) if result is tree or not hasattr(result, "__setitem__") else result
        except attributes.CopyError:  # a view that cannot be written to, as `vars` of a class gives
            result = dict(tree)
        self._note(tree, result)
        for key, value in tree.items():
            result[key] = self.of(value)
        return self._filled(tree, result) if type(result) is type(tree) else result

    def _filled_object(self, tree: Any) -> Any:
        own = attributes.of(tree) if len(self.done) < MOST_OBJECTS else {}
        if not own:
            return self._note(tree, tree)
        holds = next(tensors(tree), None) is not None
        if hasattr(tree, "__del__") and not holds:  # it owns something that is freed with it
            return self._note(tree, tree)
        result = self._note(tree, self._copied(tree, holds=holds))
        return result if result is tree else self._filled(tree, result)

    def _copied(self, tree: Any, *, holds: bool) -> Any:
        """Return a copy, or the object itself where it cannot be copied and may stay.  holds:
        tensors.
        """
        try:
            return attributes.copied(tree)
        except attributes.CopyError:
            if holds and not self.keep_uncopyable:
                raise
            return tree

    def _filled(self, tree: Any, result: Any) -> Any:
        for name, value in attributes.of(tree).items():
            new = self.of(value)
            if new is not value:
                attributes.put(result, name, new)
        return result
