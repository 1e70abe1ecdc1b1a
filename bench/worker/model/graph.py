"""Walks through autograd's graph behind a tensor."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor


def nodes(tensors: Iterable[Tensor]) -> Iterator[Any]:
    """Yield the nodes that a backward from these nodes passes, each once."""
    left: list[Any] = [one.grad_fn for one in tensors]
    seen = set[Any]()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        left += [one for one, _ in node.next_functions]


def without_derivative(tensors: Iterable[Tensor]) -> str | None:
    """Return the name of a node where a backward stops for lack of a derivative."""
    return next((node.name() for node in nodes(tensors) if "NotImplemented" in node.name()), None)


def leaves(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors that require a gradient, or the leaves behind them, each once."""
    found: dict[int, Tensor] = {}
    for tensor in tensors:
        if not tensor.requires_grad:
            continue
        if tensor.is_leaf:
            found[id(tensor)] = tensor
            continue
        for node in nodes([tensor]):
            variable = getattr(node, "variable", None)  # of torch's AccumulateGrad
            if isinstance(variable, Tensor):
                found[id(variable)] = variable
    return list(found.values())
