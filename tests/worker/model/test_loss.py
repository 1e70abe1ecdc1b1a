"""The loss of a module that brings none."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.worker.model import loss
from bench.worker.model.loss import FixedGradient, LossError


def output(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    made = torch.zeros(shape).contiguous(memory_format=layout).requires_grad_()
    return made * 1  # not a leaf


def test_the_gradient_of_the_output_is_normal_and_the_same_every_time() -> None:
    for made in (FixedGradient(scaled=False), FixedGradient(scaled=False)):
        x = torch.zeros(100, 100, requires_grad=True)
        made(x * 1).backward()
        assert x.grad is not None
        assert torch.equal(x.grad, torch.randn(100, 100, generator=torch.manual_seed(loss.SEED)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_has_the_memory_format_of_the_output(layout: torch.memory_format) -> None:
    made = output(2, 3, 4, 5, layout=layout)
    assert FixedGradient(scaled=False).gradient(0, made).stride() == made.stride()


def test_every_floating_tensor_of_the_output_gets_a_gradient_of_its_own() -> None:
    a, b = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    tree: Any = {"a": a * 1, "more": [b * 1, torch.tensor([1]), None, "x"]}
    FixedGradient(scaled=False)(tree).backward()
    assert a.grad is not None
    assert b.grad is not None
    assert not torch.equal(a.grad, b.grad)


def test_a_gradient_is_drawn_once() -> None:
    made = FixedGradient(scaled=False)
    first = made.gradient(0, output(3))
    assert made.gradient(0, output(3)) is first
    assert made.gradient(1, output(3)) is not first
    assert len(made.held()) == 2


def test_the_last_gradients_of_each_tensor_are_kept_and_no_others() -> None:
    made = FixedGradient(scaled=False)
    beside = made.gradient(1, output(3))
    for size in range(1, 30):
        made.gradient(0, output(size))
    assert made.drawn == 30
    assert sorted(len(one) for one in made.held()) == [3, 26, 27, 28, 29]
    assert made.gradient(1, output(3)) is beside


def test_a_scaled_loss_scales_the_gradient() -> None:
    x = torch.zeros(4, requires_grad=True)
    made = FixedGradient(scaled=True)
    (made(x * 1) * 8).backward()
    assert x.grad is not None
    assert torch.equal(x.grad, made.gradient(0, x) * 8)


@pytest.mark.parametrize("nothing", [torch.zeros(3), torch.tensor([1]), None])
def test_an_output_without_a_gradient_is_said_not_to_be_supported(nothing: Any) -> None:
    with pytest.raises(LossError, match="is not supported"):
        FixedGradient(scaled=False)(nothing)


def test_a_modules_own_loss_is_taken() -> None:
    class Own(nn.Module):
        def loss(self, output: Tensor) -> Tensor:
            return output.sum()

    own = Own()
    assert loss.of(own, scaled=False) == own.loss
    assert isinstance(loss.of(nn.ReLU(), scaled=False), FixedGradient)


def test_the_gradient_of_a_complex_output_is_complex_and_that_of_a_real_loss() -> None:
    made = FixedGradient(scaled=False)
    z = torch.randn(50, dtype=torch.complex64, requires_grad=True)
    made(z * 1).backward()
    assert z.grad is not None
    assert z.grad.dtype is torch.complex64
    assert bool((z.grad.imag != 0).all())
    gradient = made.gradient(0, z)
    again = z.detach().clone().requires_grad_()
    (again.real * gradient.real + again.imag * gradient.imag).sum().backward()
    assert again.grad is not None
    assert torch.equal(again.grad, z.grad)


def test_sparse_and_nested_outputs_get_a_gradient_of_their_own_kind() -> None:
    dense = torch.eye(4).requires_grad_()
    made = FixedGradient(scaled=False)
    for turned in (torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr):
        dense.grad = None
        torch.autograd.backward(*made.seeds(turned(dense)))
        assert dense.grad is not None
        assert int((dense.grad != 0).sum()) == 4
    nested_layouts: Any = (torch.jagged, torch.strided)
    for layout in nested_layouts:
        layer = nn.Linear(3, 2)
        given = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=layout)
        torch.autograd.backward(*FixedGradient(scaled=False).seeds(layer(given)))
        assert layer.bias.grad is not None
        flat = torch.randn(6, 2, generator=torch.manual_seed(loss.SEED))
        assert torch.allclose(layer.bias.grad, flat.sum(0))


def test_a_loss_that_needs_more_than_the_output_is_passed_over() -> None:
    class NeedsTargets(nn.Module):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return (output - target).sum()

    class HasDefaults(nn.Module):
        def loss(self, output: Tensor, scale: float = 1.0) -> Tensor:
            return output.sum() * scale

    assert isinstance(loss.of(NeedsTargets(), scaled=False), FixedGradient)
    said = loss.unused_loss(NeedsTargets())
    assert said is not None
    assert "of NeedsTargets needs more than the output, so a fixed gradient stands for it" in said
    own = HasDefaults()
    assert loss.of(own, scaled=False) == own.loss
    assert loss.unused_loss(own) is None
    assert loss.unused_loss(nn.ReLU()) is None


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (torch.tensor([1]), "it is int64, and whole numbers have none"),
        (torch.zeros(3), "it is float32, computed without gradients"),
        (None, "no tensor is found in it"),
    ],
)
def test_why_an_output_has_no_gradient_is_said_as_it_is(output: Any, why: str) -> None:
    with pytest.raises(LossError) as caught:
        FixedGradient(scaled=False).seeds(output)
    assert why in str(caught.value)
