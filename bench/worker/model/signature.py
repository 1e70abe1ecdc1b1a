"""Describes a tree of tensors in words: equal descriptions mean the same work."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from bench.worker.model import attributes, pieces, twins
from bench.worker.model.pytree import MOST_DEPTH, PLAIN, class_name, items


def of(tree: Any) -> str:
    """Describe what decides the work: shapes, dtypes, strides, gradients, plain values."""
    return _Description().of(tree)


@dataclass(slots=True)
class _Description:
    """A description while it is made, of a tree that may be infinite."""

    within: list[int] = field(default_factory=list)  # lists and dicts around the present place
    # by id: the index of its first occurrence
    objects: dict[int, int] = field(default_factory=dict)

    def of(self, tree: Any) -> str:
        if isinstance(tree, Tensor):
            return _tensor_signature(tree)
        if isinstance(tree, PLAIN):
            return repr(tree)
        if isinstance(tree, weakref.ref):  # an RNN keeps some to its weights
            return self.of(tree())
        inner, own = items(tree), attributes.of(tree)
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
        said = class_name(tree) + self._items(tree, inner) + self._own(own)
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
    if twins.is_strided(tensor):
        mirrored = " conj" if tensor.is_conj() else ""
        return f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}{mirrored}{grad}"
    # The work on a sparse or nested tensor depends on the places of its numbers.
    inner = [
        f"{tuple(one.shape)}" if one.is_floating_point() or one.is_complex() else f"{one.tolist()}"
        for one in pieces.numbers(tensor)
    ]
    kind = f"{tensor.layout} {tensor.dtype}"
    return f"{kind} {' '.join(inner)}{grad}"
