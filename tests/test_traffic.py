"""The least that must move, by hand."""

import pytest
import torch
from torch import nn

from bench.worker import traffic

X = torch.zeros(10, 100)  # 4,000 bytes


def test_inference_reads_inputs_and_weights_and_writes_outputs() -> None:
    layer = nn.Linear(100, 50, bias=False)  # 20,000 bytes
    found = traffic.least(layer, (X,), layer(X), training=False)
    assert (found.total, found.by_phase) == (26_000, {"forward": 26_000})


def test_training_moves_the_gradients_as_well() -> None:
    layer = nn.Linear(100, 50, bias=False)
    first = traffic.least(layer, (X,), layer(X), training=True)
    assert first.by_phase == {"forward": 26_000, "backward": 22_000}
    inside = X.clone().requires_grad_()
    inner = traffic.least(layer, (inside,), layer(inside), training=True)
    assert inner.by_phase == {"forward": 26_000, "backward": 26_000}
    assert inner.total == 52_000


def test_a_tensor_given_twice_is_read_once() -> None:
    assert traffic.least(nn.Identity(), (X, X), (torch.zeros(1),), training=False).total == 4_004


def test_looking_at_a_tensor_in_another_way_moves_nothing() -> None:
    assert traffic.least(nn.Flatten(), (X,), X.view(1000), training=True).total == 0


def test_writing_in_place_reads_and_writes() -> None:
    found = traffic.least(nn.ReLU(True), (X,), X, training=False, writes_input=True)
    assert found.total == 8_000


@pytest.mark.parametrize(
    ("tensor", "nbytes"),
    [
        (X, 4000),
        (torch.zeros(1, 100).expand(10, 100), 400),
        (torch.zeros(3, dtype=torch.int64), 24),
        (torch.zeros(0, 3), 0),
        (torch.zeros(()), 4),
        (X[:, :10], 400),
    ],
)
def test_the_bytes_of_a_tensor_are_those_of_its_numbers(tensor: torch.Tensor, nbytes: int) -> None:
    assert traffic.nbytes(tensor) == nbytes
