"""The values of one call of a case, by group, in the form in which they are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.worker.checks import differences
from bench.worker.checks.rounding import EPS, TINY
from bench.worker.model import graph, pieces, pytree
from bench.worker.model.step import Step, TrainingStep

SAMPLED = 997  # weights of a tensor that are compared, to see whether two builds are the same
# most numbers of a sparse tensor that are written out in full for the comparison
MOST_DENSE = 2**24
LABELS = "labels"


class NoReferenceError(RuntimeError):
    """The case cannot be compared with a reference; the message says why."""


@dataclass(frozen=True, slots=True)
class Values:
    """Results of one call, by group: float64 on the CPU, labels in int64.

    The real and the imaginary part of a complex tensor are two numbers.
    """

    groups: Mapping[str, tuple[Tensor, ...]]
    given: tuple[Tensor, ...] = ()  # some of the weights and inputs of the call


def gather(step: Step, module: nn.Module, given: Any) -> Values:
    """Call the step once and keep its results.

    step:   its buffers and random state are as its first call finds them.
    module: not compiled, the one that holds the parameters.
    given:  the tree of inputs.
    """
    sampled = _sampled(module, given)
    step.prepare(1)
    if not isinstance(step, TrainingStep):
        step()
        return Values(_nonempty(_output(step.output)), sampled)
    gradients: list[Tensor] = []
    losses: list[Tensor] = []

    def collect_gradients(inputs: Any, loss: Tensor | None) -> None:
        if loss is not None:
            losses.append(loss)
        for leaf in (*module.parameters(), *_leaves(inputs, module)):
            if leaf.requires_grad:
                gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
                gradients.extend(one / step.scale for one in _floats(gradient))

    step(observe=collect_gradients)
    groups = {
        **_output(step.output),
        "loss": _floats(losses),
        "gradients": tuple(gradients),
        "buffers": _floats(list(module.buffers())),
    }
    return Values(_nonempty(groups), sampled)


def _output(output: Any) -> dict[str, tuple[Tensor, ...]]:
    return {"output": _floats(output), LABELS: _labels(output)}


def _nonempty(groups: Mapping[str, tuple[Tensor, ...]]) -> dict[str, tuple[Tensor, ...]]:
    return {name: tensors for name, tensors in groups.items() if tensors}


def _floats(tree_: Any) -> tuple[Tensor, ...]:
    """Return the tensors of real and complex numbers; sparse ones written out in full."""
    return tuple(
        _float64(part)
        for one in pytree.tensors(tree_)
        for part in _comparable(one)
        if part.is_floating_point() or part.is_complex()
    )


def _labels(tree_: Any) -> tuple[Tensor, ...]:
    """Return the tensors of whole numbers and truth values."""
    return tuple(
        part.to("cpu", torch.int64, copy=True).contiguous()
        for one in pytree.tensors(tree_)
        for part in _comparable(one)
        if not (part.is_floating_point() or part.is_complex())
    )


def _comparable(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return plain tensors.  A sparse tensor may hold the same numbers at more or fewer indices."""
    one = tensor.detach()
    if not one.is_nested and one.layout is not torch.strided and one.numel() <= MOST_DENSE:
        return (one.to_dense(),)
    return pieces.numbers(one)


def _float64(tensor: Tensor) -> Tensor:
    with torch.no_grad():
        kept = tensor.detach()
        kept = torch.view_as_real(kept.resolve_conj()) if kept.is_complex() else kept
        wide = kept.to("cpu", torch.float64, copy=True)
        return wide.contiguous()


def _leaves(inputs: Any, module: nn.Module) -> list[Tensor]:
    """Return the leaves behind the inputs: an input that is written to copies its leaf."""
    own = {id(one) for one in module.parameters()}
    return [one for one in graph.leaves(pytree.tensors(inputs)) if id(one) not in own]


def _sampled(module: nn.Module, given: Any) -> tuple[Tensor, ...]:
    """Return some numbers of each weight and input, enough to tell two random draws apart."""
    return tuple(
        _float64(part.flatten()[:: max(1, part.numel() // SAMPLED)])
        for one in (*module.parameters(), *module.buffers(), *pytree.tensors(given))
        for part in pieces.numbers(one)
        if part.is_floating_point() or part.is_complex()
    )


def same_given(one: tuple[Tensor, ...], other: tuple[Tensor, ...], used: str) -> None:
    same = len(one) == len(other) and all(
        a.shape == b.shape and _equal_but_for_rounding(a, b, used)
        for a, b in zip(one, other, strict=True)
    )
    if not same:
        raise NoReferenceError(
            "two builds of the subject have other weights or inputs: it draws them from what the "
            "seeds of torch, numpy and Python do not set"
        )


def _equal_but_for_rounding(one: Tensor, other: Tensor, used: str) -> bool:
    """Return whether two masks or tensors are equal except for rounding; infinities must be the
    same.
    """
    finite = torch.isfinite(other)
    if not torch.equal(torch.nan_to_num(one[~finite]), torch.nan_to_num(other[~finite])):
        return False
    a, b = one[finite], other[finite]
    return differences.norm((a - b,)) <= EPS[used] * differences.norm((b,)) + TINY[used] * b.numel()
