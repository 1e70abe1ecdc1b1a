"""A callable is searched for the models, optimizers and tensors that it uses."""

import functools
import types
from dataclasses import dataclass
from pathlib import Path
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


def test_a_model_that_a_module_or_a_class_holds_is_found() -> None:
    class Shared:
        model = small()

    place: Any = types.ModuleType("parts_of_a_user")
    place.model = small()
    names = {"place": place, "Shared": Shared}
    function = eval("lambda x: place.model(Shared.model(x))", names)
    found = held_by([function])
    wanted = (place.model, Shared.model)
    assert {id(one) for one in found.modules} == set(map(id, wanted))


def test_long_lists_do_not_hide_what_lies_beside_them() -> None:
    class Engine:
        def __init__(self) -> None:
            self.model = small()

    class Trainer:
        def __init__(self) -> None:
            self.files = [Path(str(number)) for number in range(20_000)]
            self.sizes = list(range(20_000))
            self.engine = Engine()

        def step(self) -> None:
            pass

    trainer = Trainer()
    assert held_by([trainer.step]).modules == (trainer.engine.model,)


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
