"""The loss of a module that brings none."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.worker import loss
from bench.worker.loss import FixedGradient, LossError


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
