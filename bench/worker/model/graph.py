"""What hangs on a tensor in autograd's graph."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor


def nodes(tensors: Iterable[Tensor]) -> Iterator[Any]:
    """The nodes that a backward from these passes, each once."""
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
    """The name of a node at which a backward stops because torch has none for it."""
    return next((node.name() for node in nodes(tensors) if "NotImplemented" in node.name()), None)


def leaves(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Those that require a gradient, or the leaves behind them: each once."""
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
