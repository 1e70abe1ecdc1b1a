"""Whether a module writes to its input: then the second call does other work than the first."""

import copy
from typing import Any

from torch import Tensor, nn

from bench.worker import tree


def versions(tensors: list[Tensor]) -> list[int]:
    """torch counts what is written to a tensor or to a view of it."""
    return [tensor._version for tensor in tensors]


def writes_input(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call writes to its input, seen without computing anything.

    A copy of the module is called on torch's meta device, where tensors have shapes, no numbers,
    and count what is written to them: a real call would be the first one, which is a figure of
    its own.  True where that cannot be found out (the forward depends on numbers): restoring an
    input that nobody wrote to costs time outside the samples only.
    """
    memo: dict[int, Any] = {id(one): _on_meta(one) for one in module.parameters()}
    memo |= {id(one): one.to("meta") for one in module.buffers()}
    try:
        copied = copy.deepcopy(module, memo)
        moved = {id(one): one.detach().to("meta") for one in tree.tensors((args, kwargs))}
        given = copy.deepcopy((args, kwargs), moved)  # objects too: the call may leave things there
        tensors = list(tree.tensors(given))
        before = versions(tensors)
        copied(*given[0], **given[1])
        return versions(tensors) != before
    except Exception:  # whatever a forward raises where there are no numbers
        return True


def _on_meta(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
