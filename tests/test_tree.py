"""Trees of tensors."""

import dataclasses
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.worker import tree

Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True)
class Output:
    logits: Tensor
    hidden: Any = None


class ModelOutput(OrderedDict[str, Any]):
    """A dictionary with attributes, as the transformers library has."""

    note = "kept"


A, B = torch.zeros(2), torch.ones(3)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (A, 1),
        (None, 0),
        ("text", 0),
        ((A, [B, {"x": A}], 3), 3),
        (Pair(A, B), 2),
        (Output(A, (B, B)), 3),
        (ModelOutput(a=A, b=None), 1),
        (torch.ones(2, 2).max(0), 2),
        (Output, 0),
    ],
)
def test_every_tensor_of_a_tree_is_found(value: Any, count: int) -> None:
    assert len(list(tree.tensors(value))) == count


@pytest.mark.parametrize(
    "value",
    [
        (A, 1),
        [A, None],
        {"a": A, "b": [B]},
        Pair(A, "x"),
        Output(A, B),
        ModelOutput(a=A),
        torch.ones(2, 2).max(0),
    ],
)
def test_mapping_keeps_the_kind_of_the_tree(value: Any) -> None:
    doubled = tree.map_tensors(lambda tensor: tensor * 2, value)
    assert type(doubled) is type(value)
    for before, after in zip(tree.tensors(value), tree.tensors(doubled), strict=True):
        assert torch.equal(after, before * 2)
        assert after is not before


def test_a_tensor_that_stands_there_twice_is_one_again() -> None:
    query, key = tree.map_tensors(torch.clone, (A, A))
    assert query is key


def test_only_floating_tensors_can_have_gradients() -> None:
    assert list(tree.floating((A, torch.tensor([1]), torch.tensor([True])))) == [A]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(4, 6).t(),
        torch.randn(4, 6, 3)[:, -1],  # rows with gaps between them
        torch.randn(3, 1, 2).expand(3, 5, 2),
        torch.randn(()),
        torch.zeros(0, 3),
        torch.arange(5),
        torch.randn(2, 3, requires_grad=True) * 2,
    ],
)
def test_a_twin_has_the_numbers_strides_and_gradient_but_not_the_memory(tensor: Tensor) -> None:
    twin = tree.twin(tensor)
    assert torch.equal(twin, tensor)
    assert twin.stride() == tensor.stride()
    assert twin.requires_grad == tensor.requires_grad
    assert twin.is_leaf
    assert tensor.numel() == 0 or twin.data_ptr() != tensor.data_ptr()


def test_a_twin_of_overlapping_windows_has_at_least_their_numbers() -> None:
    windows = torch.arange(6.0).unfold(0, 3, 1)
    assert torch.equal(tree.twin(windows), windows)


def test_a_signature_tells_shapes_layouts_gradients_and_values_apart() -> None:
    image = torch.zeros(1, 2, 3, 3)
    different = [
        (image,),
        (image.contiguous(memory_format=torch.channels_last),),
        (image.half(),),
        (image.clone().requires_grad_(),),
        (image, None),
        (image, 2),
        (image, True),
        {"x": image},
        (torch.relu,),
        (object(),),
    ]
    assert len({tree.signature(one) for one in different}) == len(different)


def test_equal_trees_have_equal_signatures() -> None:
    assert tree.signature((A, {"x": 1})) == tree.signature((torch.ones(2), {"x": 1}))
