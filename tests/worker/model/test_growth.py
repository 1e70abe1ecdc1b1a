"""Objects left behind by a call are seen in lists, dicts, objects, slots, graphs and shapes."""

import itertools
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.worker.model.growth import (
    Fingerprint,
    HeldIterators,
    grown,
    holds_state,
    rising,
    sizes,
    work_of,
)


class Slotted:
    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: list[int] = []


def cycle() -> Any:
    one = SimpleNamespace(children=[], cache=torch.zeros(2))
    one.children.append(SimpleNamespace(parent=one))
    return one


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([], lambda one: one.append(1)),
        (np.zeros(3), lambda one: one.__iadd__(1)),
        ({"keys": []}, lambda one: one["keys"].append(torch.zeros(1))),
        (SimpleNamespace(count=0), lambda one: setattr(one, "count", 1)),
        (Slotted(), lambda one: one.seen.append(1)),
        (deque(maxlen=2), lambda one: one.append(1)),
        (cycle(), lambda one: one.children[0].parent.cache.add_(1)),
        (cycle(), lambda one: setattr(one, "cache", torch.zeros(2))),
        ((SimpleNamespace(inner={"a": {1}}),), lambda one: one[0].inner["a"].add(2)),
    ],
)
def test_a_change_anywhere_inside_shows(value: Any, change: Any) -> None:
    assert holds_state(value)
    before = Fingerprint.of(value)
    assert before.same_as(Fingerprint.of(value))
    change(value)
    assert not before.same_as(Fingerprint.of(value))


def test_tensors_and_plain_values_hold_nothing_that_a_call_could_leave() -> None:
    assert not holds_state((torch.zeros(2), 1, None, "a", (torch.zeros(1),)))


@pytest.mark.parametrize(
    ("iterator", "name"),
    [
        ((one for one in range(2)), "generator"),
        (iter([1, 2]), "list_iterator"),
        (iter({1: 2, 3: 4}), "dict_keyiterator"),
        (zip([1, 2], [3, 4], strict=True), "zip"),
        (map(abs, iter([1, 2])), "map"),
        (enumerate(one for one in range(2)), "enumerate"),
        (itertools.chain([1], [2]), "itertools.chain"),
        (itertools.islice([1, 2, 3], 2), "itertools.islice"),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, str) else one,
)
def test_an_iterator_is_used_up_when_its_last_item_was_taken(iterator: Any, name: str) -> None:
    held = HeldIterators.of([("steps", {"inside": [iterator]})])
    next(iterator)
    assert held.used_up() is None
    for _ in iterator:
        pass
    assert str(held.used_up()).startswith(f"steps is or holds an iterator ({name}), which")
    assert HeldIterators.of([("steps", iterator)]).kept == ()


def test_iterators_without_an_end_are_never_used_up() -> None:
    held = HeldIterators.of([("all", [itertools.count(), itertools.cycle([1]), [1]])])
    assert held.kept == ()


class Keeps(nn.Module):
    shared: list[int] = []  # noqa: RUF012 - as users write it

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.past: list[Tensor] = []
        self.last: Tensor | None = None
        self.calls = 0


def test_each_place_that_holds_more_is_named() -> None:
    module = Keeps()
    before = sizes(module)
    assert grown(before, sizes(module)) == []
    module.calls += 1
    assert grown(before, sizes(module)) == []
    module.past.append(torch.zeros(1))
    module.inner.extra = [1]  # type: ignore[assignment]
    Keeps.shared.append(1)
    try:
        assert grown(before, sizes(module)) == ["past", "Keeps.shared"]
    finally:
        Keeps.shared.clear()


def test_a_graph_that_gets_longer_is_held_as_well() -> None:
    module = Keeps()
    module.last = module.inner(torch.zeros(1, 2))
    before = sizes(module)
    module.last = module.last * 2
    assert grown(before, sizes(module)) == ["last"]


def test_work_rises_where_each_call_does_more_than_the_one_before() -> None:
    past = [torch.zeros(3)]

    def grows() -> None:
        past.append(torch.cat(past))

    first = work_of(grows)
    assert str(first) == "1 operators that put out 3 numbers"
    assert rising(first, grows, lambda: None) == (
        "each call does more work than the one before: first 1 operators that put out 3 numbers, "
        "later 1 operators that put out 6 numbers"
    )


def test_work_that_does_more_once_and_then_less_does_not_rise() -> None:
    counts = iter([1, 2, 3, 2])

    def changes() -> None:
        torch.zeros(next(counts))

    assert rising(work_of(changes), changes, lambda: None) is None
    assert rising(None, changes, lambda: None) is None


def test_what_prepares_a_call_is_no_work_of_it() -> None:
    prepared: list[int] = []

    def prepare() -> None:
        prepared.append(0)
        for _ in prepared:
            torch.zeros(8)

    def call() -> None:
        torch.ones(4)

    assert rising(work_of(call), call, prepare) is None
    assert prepared


def test_sparse_and_nested_tensors_in_a_dict_leave_their_mark() -> None:
    sparse = torch.eye(3).to_sparse()
    given = {
        "adjacency": sparse,
        "parts": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    }
    seen = Fingerprint.of(given)
    assert seen.same_as(Fingerprint.of(given))
    assert seen.tensor_bytes == sparse.indices().nbytes + sparse.values().nbytes + 5 * 4
