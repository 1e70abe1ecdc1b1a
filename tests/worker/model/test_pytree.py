"""Trees of tensors."""

import dataclasses
import logging
from collections import OrderedDict, UserDict, deque, namedtuple
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.worker.model import attributes, pieces, pytree, signature, twins
from tests.subjects.odd_outputs import Node, Slots

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
        (deque([A, B]), 2),
        (UserDict(a=A), 1),
        (MappingProxyType({"a": A}), 1),
        (SimpleNamespace(a=A, b=[B]), 2),
        (Slots(A, {"x": B}), 2),
        (torch.distributions.Normal(A, B[:2]), 2),
        (torch.distributions.Categorical(logits=B), 1),
        ([SimpleNamespace(a=A), nn.Linear(2, 2)], 1),
        (nn.Linear(2, 2), 0),
        (logging.getLogger("bench"), 0),
        (lambda: A, 0),
        (Slots(A, A), 1),
    ],
)
def test_every_tensor_of_a_tree_is_found(value: Any, count: int) -> None:
    assert len(list(pytree.tensors(value))) == count


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
        deque([A, B]),
        UserDict(a=A),
        SimpleNamespace(a=A, b=[B]),
        Slots(A, {"x": B}),
        torch.distributions.Normal(A, B[:2]),
        [torch.distributions.Categorical(logits=B), A],
    ],
)
def test_mapping_keeps_the_kind_of_the_tree(value: Any) -> None:
    doubled = pytree.map_tensors(lambda tensor: tensor * 2, value)
    assert type(doubled) is type(value)
    for before, after in zip(pytree.tensors(value), pytree.tensors(doubled), strict=True):
        assert torch.equal(after, before * 2)
        assert after is not before


def test_a_tensor_that_stands_there_twice_is_one_again() -> None:
    query, key = pytree.map_tensors(torch.clone, (A, A))
    assert query is key


def test_only_floating_tensors_can_have_gradients() -> None:
    assert list(pytree.floating((A, torch.tensor([1]), torch.tensor([True])))) == [A]


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
    twin = twins.twin(tensor)
    assert torch.equal(twin, tensor)
    assert twin.stride() == tensor.stride()
    assert twin.requires_grad == tensor.requires_grad
    assert twin.is_leaf
    assert tensor.numel() == 0 or twin.data_ptr() != tensor.data_ptr()


def test_a_twin_of_overlapping_windows_has_at_least_their_numbers() -> None:
    windows = torch.arange(6.0).unfold(0, 3, 1)
    assert torch.equal(twins.twin(windows), windows)


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
    assert len({signature.of(one) for one in different}) == len(different)


def test_equal_trees_have_equal_signatures() -> None:
    assert signature.of((A, {"x": 1})) == signature.of((torch.ones(2), {"x": 1}))


def test_a_tree_that_holds_itself_has_an_end_and_its_copy_holds_itself() -> None:
    root = Node("root")
    leaf = Node("leaf", root)
    leaf.logits = A  # type: ignore[attr-defined]
    root.children.append(leaf)
    assert list(pytree.tensors(root)) == [A]
    copied: Any = pytree.map_tensors(torch.clone, root)
    assert copied is not root
    assert copied.children[0].parent is copied
    assert copied.children[0].logits is not A
    assert leaf.logits is A  # type: ignore[attr-defined]
    assert signature.of(root) == signature.of(copied)
    assert signature.of(root) != signature.of(leaf)

    own: list[Any] = [B]
    own.append(own)
    assert list(pytree.tensors(own)) == [B]
    again = pytree.map_tensors(torch.clone, own)
    assert again[1] is again
    assert signature.of(own) == signature.of(again)


def test_a_long_chain_of_objects_is_followed_for_a_while_and_then_left() -> None:
    first = node = Node("0")
    for number in range(3000):
        node.children.append(Node(str(number), node))
        node = node.children[0]
    assert list(pytree.tensors(first)) == []
    assert signature.of(first)
    assert pytree.map_tensors(torch.clone, first).name == "0"


def test_the_attributes_of_a_mapping_are_changed_with_its_values() -> None:
    given = ModelOutput(a=A)
    given.first = A  # type: ignore[attr-defined]
    made: Any = pytree.map_tensors(lambda tensor: tensor + 1, given)
    assert made.first is made["a"]
    assert given["a"] is A


def test_an_object_with_tensors_that_cannot_be_copied_is_named() -> None:
    class Single:
        def __init__(self, held: Any) -> None:
            self.held = held

        def __reduce_ex__(self, _: Any) -> Any:
            raise TypeError("there is one")

    empty = Single(None)
    assert pytree.map_tensors(torch.clone, [empty])[0] is empty
    with pytest.raises(
        attributes.CopyError, match=r"Single holds tensors and cannot be copied: there"
    ):
        pytree.map_tensors(torch.clone, Single(A))


def test_an_object_that_remembers_is_not_the_same_in_a_copy() -> None:
    class Log:
        def __init__(self) -> None:
            self.seen: list[Tensor] = []

    log = Log()
    copied = pytree.map_tensors(torch.clone, (A, log))[1]
    copied.seen.append(B)
    assert log.seen == []


def test_what_is_not_looked_into_is_named() -> None:
    assert pytree.unknown([A, (one for one in [A]), 3, SimpleNamespace(x={1})]) == [
        "generator",
        "set",
    ]


def jagged() -> Tensor:
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)


@pytest.mark.parametrize(
    ("tensor", "count"),
    [
        (torch.eye(3).to_sparse(), 2),
        (torch.eye(3).to_sparse_csr(), 3),
        (torch.eye(3).to_sparse_csc(), 3),
        (torch.eye(4).to_sparse_bsr((2, 2)), 3),
        (jagged(), 2),
        (torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)]), 2),
        (torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), 1),
        (torch.randn(3, dtype=torch.complex64).conj(), 1),
    ],
)
def test_a_twin_of_a_tensor_of_another_kind_is_of_that_kind(tensor: Tensor, count: int) -> None:
    twin = twins.twin(tensor.requires_grad_(tensor.is_floating_point()))
    assert (twin.layout, twin.is_nested, twin.dtype) == (
        tensor.layout,
        tensor.is_nested,
        tensor.dtype,
    )
    assert (twin.requires_grad, twin.is_conj()) == (tensor.requires_grad, tensor.is_conj())
    parts, others = pieces.numbers(tensor), pieces.numbers(twin)
    assert len(parts) == len(others) == count
    assert all(torch.equal(one, other) for one, other in zip(parts, others, strict=True))
    assert signature.of(tensor) == signature.of(twin)


def test_signatures_of_sparse_tensors_say_where_their_numbers_lie() -> None:
    one, other = torch.eye(3).to_sparse(), torch.eye(3).flip(0).to_sparse()
    assert len({signature.of(each) for each in (one, other, one.double(), torch.eye(3))}) == 4


def test_complex_tensors_can_have_gradients() -> None:
    z = torch.zeros(2, dtype=torch.complex64)
    assert list(pytree.floating((A, z, torch.tensor([1])))) == [A, z]
