"""A callable is searched for the models, optimizers and tensors that it uses."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.api.held import held_by
from tests.api.models import small

AT_TOP = small()


def uses_a_global(x: Tensor) -> Tensor:
    inner = [lambda: AT_TOP(x)]
    out: Tensor = inner[0]()
    return out


def test_a_global_that_is_used_in_an_inner_function_is_found() -> None:
    assert held_by([uses_a_global]).modules == (AT_TOP,)


def test_closures_defaults_partials_and_objects_are_searched() -> None:
    one, two, three, four = small(), small(), small(), small()

    class Trainer:
        def __init__(self) -> None:
            self.parts = {"model": four}

        def step(self) -> None:
            pass

    def inside(x: Any, other: nn.Module = two) -> Any:
        return one(other(x))

    found = held_by([inside, functools.partial(torch.add, three), Trainer().step])
    assert {id(module) for module in found.modules} == {id(m) for m in (one, two, three, four)}


@dataclass(slots=True)
class Slotted:
    model: nn.Module
    optimizer: torch.optim.Optimizer

    def step(self) -> None:
        pass


def test_an_object_with_slots_is_searched() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = held_by([Slotted(model, optimizer).step])
    assert (found.modules, found.optimizers) == ((model,), (optimizer,))


def test_a_part_of_a_model_is_not_named_beside_it_and_an_optimizer_is_found() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = held_by([lambda: (model, model[0], optimizer)], ())
    assert found.modules == (model,)
    assert found.optimizers == (optimizer,)
    assert found.tensors == ()


def test_tensors_beside_the_models_are_found() -> None:
    mask = torch.ones(3)
    assert [id(one) for one in held_by([lambda x: x * mask]).tensors] == [id(mask)]
