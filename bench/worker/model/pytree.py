"""Trees of tensors: what goes into a module and what comes out of it.

A tree is a tensor, a tuple (named ones and torch's return types as well), list, dict or deque of
trees, an object with trees for attributes (`bench.worker.model.attributes`), or a value of any other
kind, which is left as it is.  A tree may hold itself, as parents and children do.
"""

import collections
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.worker.device import torch_private
from bench.worker.model import attributes

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
# Objects that are looked into, and how deep one lies in another: from an object of a large program
# (a trainer, a scene) much can be reached, and an output holds its tensors near its top.
MOST_OBJECTS = 10_000
MOST_DEPTH = 64


def tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor, in order.

    One that stands twice in lists, tuples and dicts comes twice; attributes often name a tensor
    again that is known by another name, so of those each comes once.  Not of sets, which have no
    order.
    """
    if isinstance(tree, Tensor):
        return iter((tree,))
    # What most networks put out, without the walk: a training step that is timed asks as well.
    kind = type(tree)
    values = tree if kind in (tuple, list) else tree.values() if kind is dict else (None,)
    if all(isinstance(one, Tensor) for one in values):
        return iter(tuple(values))
    return _Walk().visit(tree)


@dataclass(slots=True)
class _Walk:
    """One way through a tree, which may have no end."""

    within: set[int] = field(default_factory=set)  # lists and dicts around the present place
    objects: set[int] = field(default_factory=set)
    found: set[int] = field(default_factory=set)  # tensors
    again: int = 0  # in the attributes of how many containers
    unknown: dict[str, None] = field(default_factory=dict)  # classes that are not looked into

    def visit(self, tree: Any) -> Iterator[Tensor]:
        if isinstance(tree, Tensor):
            if not (self.again and id(tree) in self.found):
                self.found.add(id(tree))
                yield tree
            return
        inner = _items(tree)
        if inner is not None and id(tree) not in self.within and len(self.within) < MOST_DEPTH:
            self.within.add(id(tree))
            for value in inner:
                yield from self.visit(value)
            self.within.remove(id(tree))
        elif inner is None and not isinstance(tree, _PLAIN) and not attributes.understood(tree):
            self.unknown.setdefault(_class(tree))
        yield from self._attributes(tree)

    def _attributes(self, tree: Any) -> Iterator[Tensor]:
        known = id(tree) in self.objects or len(self.objects) >= MOST_OBJECTS
        if known or len(self.within) >= MOST_DEPTH or isinstance(tree, _PLAIN):
            return
        own = attributes.of(tree)
        if not own:
            return
        self.objects.add(id(tree))
        around = id(own)  # an object may be a mapping as well, whose own id is taken
        self.within.add(around)
        container = _items(tree) is not None  # its attributes name its own items again
        self.again += container
        for value in own.values():
            if not (isinstance(value, Tensor) and id(value) in self.found):
                yield from self.visit(value)
        self.again -= container
        self.within.remove(around)


def _items(tree: Any) -> list[Any] | None:
    """What a container of Python's kinds holds; None = it is none."""
    match tree:
        case Mapping():
            return list(tree.values())
        case tuple() | list() | collections.deque():
            return list(tree)
    return None


def unknown(tree: Any) -> list[str]:
    """Classes of values in which tensors would not be found: a generator, an array."""
    walk = _Walk()
    collections.deque(walk.visit(tree), maxlen=0)
    return list(walk.unknown)


def _class(value: Any) -> str:
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def floating(tree: Any) -> Iterator[Tensor]:
    """Every tensor that can have a gradient: of real or complex numbers, not of whole ones."""
    return (one for one in tensors(tree) if one.is_floating_point() or one.is_complex())


def map_tensors(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same tree of changed tensors; the given one stays as it is.

    A tensor that stands there twice is changed once and stands there twice again: attention
    takes another path where query, key and value are one and the same.  So do lists and objects.
    An object that holds no tensor and cannot be copied stays.  Raises attributes.CopyError for one
    that does.
    """
    return _Map(change).of(tree)


@dataclass(slots=True)
class _Map:
    """A copy in the making.  What is done is known by the id of what it was made of."""

    change: Callable[[Tensor], Any]
    done: dict[int, Any] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)  # alive, so that no id is given twice
    depth: int = 0

    def of(self, tree: Any) -> Any:
        if id(tree) in self.done:
            return self.done[id(tree)]
        if isinstance(tree, _PLAIN) or self.depth >= MOST_DEPTH:
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
        result = self._note(tree, attributes.copied(tree))
        for place, value in enumerate(tree):
            result[place] = self.of(value)
        return self._filled(tree, result)

    def _filled_mapping(self, tree: Mapping[Any, Any]) -> Any:
        """Copied, then filled: keeps the class, its order and its attributes (ModelOutput)."""
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
        try:
            result = attributes.copied(tree)
        except attributes.CopyError:
            if holds:
                raise
            result = tree
        self._note(tree, result)
        return result if result is tree else self._filled(tree, result)

    def _filled(self, tree: Any, result: Any) -> Any:
        for name, value in attributes.of(tree).items():
            new = self.of(value)
            if new is not value:
                attributes.put(result, name, new)
        return result


def parts(tensor: Tensor) -> list[Tensor]:
    """Plain tensors that together are all there is to this one, without its graph.

    Of a sparse one its indices and values, of a nested one its sequences laid in a row and where
    each begins, of a quantised one its numbers.
    """
    one = tensor.detach()
    if one.is_nested:
        return _sequences(one)
    if one.is_quantized:
        return [one.dequantize()]
    match one.layout:
        case torch.strided:
            return [one]
        case torch.sparse_coo:
            one = one.coalesce()
            return [one.indices(), one.values()]
        case torch.sparse_csr | torch.sparse_bsr:
            return [one.crow_indices(), one.col_indices(), one.values()]
        case torch.sparse_csc | torch.sparse_bsc:
            return [one.ccol_indices(), one.row_indices(), one.values()]
    return [one.to_dense()]  # oneDNN's own layout


def _sequences(one: Any) -> list[Tensor]:
    if one.layout is not torch.jagged:
        return list(one.unbind())
    return torch_private.jagged_parts(one)


def twin(tensor: Tensor) -> Tensor:
    """A leaf with the same numbers, strides and `requires_grad`, in memory of its own.

    `clone` alone would pack a slice or unfold an expanded tensor, and the layer would be given
    another layout than it has inside its network.
    """
    with torch.no_grad():
        source = tensor.detach()
        result = _strided_twin(source) if is_strided(source) else source.clone()
    return result.requires_grad_(tensor.requires_grad)


def is_strided(tensor: Tensor) -> bool:
    """An ordinary tensor: neither sparse, nested, quantised nor of a class of its own."""
    ordinary = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    return ordinary and not tensor.is_nested and not tensor.is_quantized


def is_image(tensor: Tensor) -> bool:
    """4-dimensional, (N, C, H, W) as a rule: it may lie as contiguous or as channels_last."""
    return is_strided(tensor) and tensor.ndim == 4


def _strided_twin(source: Tensor) -> Tensor:
    size, mirrored = source.size(), source.is_conj()  # a conjugate is a view: computed where read
    source = source.conj() if mirrored else source
    for axis, stride in enumerate(source.stride()):
        if stride == 0 and source.size(axis) > 1:  # expanded: one copy of it is enough
            source = source.narrow(axis, 0, 1)
    try:
        result = torch.empty_strided(
            source.size(), source.stride(), dtype=source.dtype, device=source.device
        ).copy_(source)
    except RuntimeError:  # overlaps in another way (unfold): no other tensor can look like it
        result = source.clone()
    result = result.expand(size)
    return result.conj() if mirrored else result


def signature(tree: Any) -> str:
    """What decides how much work a tree is: shapes, dtypes, strides, gradients, plain values."""
    return _Words().of(tree)


@dataclass(slots=True)
class _Words:
    """A description in the making, of a tree that may have no end."""

    within: list[int] = field(default_factory=list)  # lists and dicts around the present place
    objects: dict[int, int] = field(default_factory=dict)  # by id: the how manieth it is

    def of(self, tree: Any) -> str:
        if isinstance(tree, Tensor):
            return _tensor_signature(tree)
        if isinstance(tree, _PLAIN):
            return repr(tree)
        if isinstance(tree, weakref.ref):  # an RNN keeps some to its weights
            return self.of(tree())
        inner, own = _items(tree), attributes.of(tree)
        if inner is None and not attributes.understood(tree):
            # Unknown: equal only to itself.  A function names itself, so does a type.
            name = getattr(tree, "__qualname__", None)
            return f"{getattr(tree, '__module__', '')}.{name}" if name else f"#{id(tree)}"
        if id(tree) in self.objects:
            return f"^{self.objects[id(tree)]}"
        if id(tree) in self.within or len(self.within) >= MOST_DEPTH:
            return f"^^{len(self.within)}"
        if own or inner is None:
            self.objects[id(tree)] = len(self.objects)
        self.within.append(id(tree))
        said = _class(tree) + self._items(tree, inner) + self._own(own)
        self.within.pop()
        return said

    def _items(self, tree: Any, inner: list[Any] | None) -> str:
        if inner is None:
            return ""
        if isinstance(tree, Mapping):
            return f"{{{', '.join(f'{key!r}: {self.of(tree[key])}' for key in tree)}}}"
        return f"({', '.join(map(self.of, inner))})"

    def _own(self, own: Mapping[str, Any]) -> str:
        return (
            f"<{', '.join(f'{name}={self.of(one)}' for name, one in own.items())}>" if own else ""
        )


def _tensor_signature(tensor: Tensor) -> str:
    grad = " grad" if tensor.requires_grad else ""
    if is_strided(tensor):
        mirrored = " conj" if tensor.is_conj() else ""
        return f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}{mirrored}{grad}"
    # The work on a sparse or nested tensor depends on where its numbers lie.
    inner = [
        f"{tuple(one.shape)}" if one.is_floating_point() or one.is_complex() else f"{one.tolist()}"
        for one in parts(tensor)
    ]
    kind = f"{tensor.layout} {tensor.dtype}"
    return f"{kind} {' '.join(inner)}{grad}"
