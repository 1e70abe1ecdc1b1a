"""Trees of tensors: what goes into a module and what comes out of it.

A tree is a tensor, a tuple (named ones and torch's return types as well), list, dict or dataclass
of trees, or a value of any other kind, which is left as it is.
"""

import copy
import dataclasses
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)


def tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor, in order; one that stands there twice comes twice."""
    match tree:
        case Tensor():
            yield tree
        case Mapping():
            for value in tree.values():
                yield from tensors(value)
        case tuple() | list():
            for value in tree:
                yield from tensors(value)
        case _ if _is_dataclass(tree):
            for field in dataclasses.fields(tree):
                yield from tensors(getattr(tree, field.name))


def floating(tree: Any) -> Iterator[Tensor]:
    """Every tensor that can have a gradient."""
    return (tensor for tensor in tensors(tree) if tensor.is_floating_point())


def map_tensors(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same tree of changed tensors.

    A tensor that stands there twice is changed once and stands there twice again: attention
    takes another path where query, key and value are one and the same.
    """
    seen: dict[int, Any] = {}

    def changed(tensor: Tensor) -> Any:
        if id(tensor) not in seen:
            seen[id(tensor)] = change(tensor)
        return seen[id(tensor)]

    return _map(changed, tree)


def _map(change: Callable[[Tensor], Any], tree: Any) -> Any:
    match tree:
        case Tensor():
            return change(tree)
        case Mapping():
            return _map_mapping(change, tree)
        case tuple() if hasattr(tree, "_make"):  # a named one
            return tree._make(_map(change, value) for value in tree)
        case tuple() | list():
            return type(tree)([_map(change, value) for value in tree])
        case _ if _is_dataclass(tree):
            result = copy.copy(tree)
            for field in dataclasses.fields(tree):
                value = _map(change, getattr(tree, field.name))
                object.__setattr__(result, field.name, value)  # frozen ones too
            return result
        case _:
            return tree


def _map_mapping(change: Callable[[Tensor], Any], tree: Mapping[Any, Any]) -> Any:
    """Copied, then filled: keeps the class, its order and its attributes (ModelOutput)."""
    result: Any = copy.copy(tree)
    for key, value in tree.items():
        result[key] = _map(change, value)
    return result


def _is_dataclass(tree: Any) -> bool:
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)


def twin(tensor: Tensor) -> Tensor:
    """A leaf with the same numbers, strides and `requires_grad`, in memory of its own.

    `clone` alone would pack a slice or unfold an expanded tensor, and the layer would be given
    another layout than it has inside its network.
    """
    with torch.no_grad():
        source = tensor.detach()
        for axis, stride in enumerate(source.stride()):
            if stride == 0 and source.size(axis) > 1:  # expanded: one copy of it is enough
                source = source.narrow(axis, 0, 1)
        try:
            result = torch.empty_strided(
                source.size(), source.stride(), dtype=source.dtype, device=source.device
            ).copy_(source)
        except RuntimeError:  # overlaps in another way (unfold): no other tensor can look like it
            result = source.clone()
        result = result.expand(tensor.size())
    return result.requires_grad_(tensor.requires_grad)


def signature(tree: Any) -> str:
    """What decides how much work a tree is: shapes, dtypes, strides, gradients, plain values."""
    match tree:
        case Tensor():
            grad = " grad" if tree.requires_grad else ""
            return f"{tree.dtype} {tuple(tree.shape)} {tree.stride()}{grad}"
        case Mapping():
            inner = (f"{key!r}: {signature(value)}" for key, value in tree.items())
            return f"{{{', '.join(inner)}}}"
        case tuple() | list():
            return f"{type(tree).__name__}({', '.join(map(signature, tree))})"
        case weakref.ref():  # an RNN keeps some to its weights
            return signature(tree())
        case _ if isinstance(tree, _PLAIN):
            return repr(tree)
        case _ if _is_dataclass(tree):
            values = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
            return f"{type(tree).__name__}{signature(values)}"
        case _:
            # Unknown: equal only to itself.  A function names itself, so does a type.
            name = getattr(tree, "__qualname__", None)
            return f"{getattr(tree, '__module__', '')}.{name}" if name else f"#{id(tree)}"
