"""The least that must move, by hand."""

import pytest
import torch
from torch import nn

from bench.worker.metrics import bytes_moved

X = torch.zeros(10, 100)  # 4,000 bytes


def test_inference_reads_inputs_and_weights_and_writes_outputs() -> None:
    layer = nn.Linear(100, 50, bias=False)  # 20,000 bytes
    found = bytes_moved.lower_bound(layer, (X,), layer(X), training=False)
    assert (found.total, found.by_phase) == (26_000, {"forward": 26_000})


def test_training_moves_the_gradients_as_well() -> None:
    layer = nn.Linear(100, 50, bias=False)
    first = bytes_moved.lower_bound(layer, (X,), layer(X), training=True)
    assert first.by_phase == {"forward": 26_000, "backward": 22_000, "optimizer": 60_000}
    inside = X.clone().requires_grad_()
    inner = bytes_moved.lower_bound(layer, (inside,), layer(inside), training=True)
    assert inner.by_phase == {"forward": 26_000, "backward": 26_000, "optimizer": 60_000}
    assert inner.total == 112_000


def trained(layer: nn.Module, given: torch.Tensor) -> dict[str, int]:
    """By phase, with what autograd keeps for the backward."""
    made: list[torch.Tensor] = []

    def step() -> None:
        made.append(layer(given))
        made[0].sum().backward()

    saved = bytes_moved.saved_by(step)
    return bytes_moved.lower_bound(layer, (given,), made[0], training=True, saved=saved).by_phase


def test_backward_reads_again_what_autograd_kept_of_the_call() -> None:
    layer, inside = nn.Linear(100, 50, bias=False), X.clone().requires_grad_()
    # For the weight's gradient the input alone; for the input's the weight as well.
    assert trained(layer, X)["backward"] == 22_000 + 4_000
    assert trained(layer, inside)["backward"] == 26_000 + 4_000 + 20_000
    # A ReLU needs its output alone.
    assert trained(nn.ReLU(), inside)["backward"] == 8_000 + 4_000


def test_what_lies_inside_the_module_alone_is_not_among_the_least() -> None:
    inside = X.clone().requires_grad_()
    two = nn.Sequential(nn.Tanh(), nn.Tanh())  # the first keeps what lies between them
    assert trained(two, inside)["backward"] == 8_000 + 4_000


def test_the_optimizer_reads_parameter_and_gradient_and_writes_the_parameter() -> None:
    layer = nn.Linear(100, 50)
    layer.weight.requires_grad_(False)
    assert trained(layer, X)["optimizer"] == 3 * 50 * 4
    layer.bias.requires_grad_(False)
    assert "optimizer" not in trained(layer, X.clone().requires_grad_())


def test_a_table_with_sparse_gradients_is_touched_in_a_few_rows_throughout() -> None:
    words = torch.zeros(10, dtype=torch.int64)
    dense, sparse = nn.Embedding(1000, 8), nn.Embedding(1000, 8, sparse=True)
    assert trained(dense, words)["optimizer"] == 3 * 32_000
    assert trained(sparse, words) == {"forward": 400, "backward": 400, "optimizer": 0}


def test_views_of_one_storage_are_read_again_once() -> None:
    whole = torch.zeros(10, 100)
    layer = nn.Linear(100, 50, bias=False)
    output = layer(whole)
    given = (whole, whole[:5], whole[2:])
    found = bytes_moved.lower_bound(
        layer, given, output, training=True, saved={bytes_moved.address(whole)}
    )
    assert found.by_phase["backward"] == 20_000 + 2_000 + 4_000


def test_a_tensor_given_twice_is_read_once() -> None:
    assert (
        bytes_moved.lower_bound(nn.Identity(), (X, X), (torch.zeros(1),), training=False).total
        == 4_004
    )


def test_looking_at_a_tensor_in_another_way_moves_nothing() -> None:
    assert bytes_moved.lower_bound(nn.Flatten(), (X,), X.view(1000), training=True).total == 0


def test_writing_in_place_reads_and_writes() -> None:
    found = bytes_moved.lower_bound(nn.ReLU(True), (X,), X, training=False, writes_input=True)
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
    assert bytes_moved.nbytes(tensor) == nbytes
