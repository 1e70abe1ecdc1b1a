"""The device of callables, by the tensors that they hold and by the effects of a call."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.api import places
from bench.api.held import Held
from bench.api.inputs import Inputs


class Lying(Tensor):
    """A tensor of no memory that says where it lies."""

    place = "cuda:1"

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device(self.place)


def on(place: str) -> Tensor:
    found = Lying()
    found.place = place
    return found


def held(*tensors: Tensor, modules: tuple[nn.Module, ...] = ()) -> Held:
    return Held(modules, (), tensors)


NOTHING = Inputs((((), {}),))


def given(*tensors: Tensor) -> Inputs:
    return Inputs(((tensors, {}),))


def test_a_callable_without_inputs_works_where_the_tensors_lie_that_it_uses() -> None:
    assert places.device_of(held(on("cuda:1"), torch.ones(2)), NOTHING, None) == "cuda:1"


def test_inputs_on_the_cpu_give_way_to_a_tensor_on_an_accelerator_that_is_used() -> None:
    found = places.device_of(held(on("cuda:1")), given(torch.ones(2)), None)
    assert found == "cuda:1"


def test_tensors_that_are_used_on_the_cpu_do_not_count_beside_inputs_on_an_accelerator() -> None:
    assert places.device_of(held(torch.ones(2)), given(on("cuda:1")), None) == "cuda:1"


def test_without_any_tensor_it_is_the_cpu() -> None:
    assert places.device_of(held(), NOTHING, None) == "cpu"


def test_tensors_on_two_accelerators_are_refused() -> None:
    with pytest.raises(places.PlaceError, match="on cuda:0, a tensor that a callable uses is on c"):
        places.device_of(held(on("cuda:0"), on("cuda:1")), NOTHING, None)


def test_a_device_that_is_asked_for_is_taken_wherever_all_lies() -> None:
    assert places.device_of(held(on("cuda:0"), on("cuda:1")), NOTHING, "mps") == "mps"


class Accelerator:
    """`torch.accelerator` of two devices, of which the second counts nothing."""

    def __init__(self, allocated: int) -> None:
        self.allocated = allocated

    def current_accelerator(self) -> torch.device:
        return torch.device("cuda")

    def device_count(self) -> int:
        return 2

    def memory_stats(self, index: int) -> dict[str, int]:
        if index:
            raise NotImplementedError
        return {"allocation.all.allocated": self.allocated}


def test_an_accelerator_is_in_use_once_it_is_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert places.accelerators_in_use(Accelerator(3)) == {}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert places.accelerators_in_use(Accelerator(3)) == {"cuda:0": 3, "cuda:1": 0}


@pytest.mark.parametrize(
    ("before", "after", "outputs", "expected"),
    [
        ({}, {}, [torch.ones(1)], None),
        ({"cuda:0": 3, "cuda:1": 0}, {"cuda:0": 3, "cuda:1": 0}, [], None),
        ({"cuda:0": 3, "cuda:1": 0}, {"cuda:0": 4, "cuda:1": 0}, [], "cuda:0"),
        ({}, {"cuda:0": 0, "cuda:1": 2}, [], "cuda:1"),
        ({}, {"cuda:0": 0, "cuda:1": 0}, [torch.ones(1), on("cuda:1")], "cuda:1"),
    ],
)
def test_a_call_worked_where_its_output_lies_or_where_it_allocated(
    before: dict[str, int], after: dict[str, int], outputs: Any, expected: str | None
) -> None:
    assert places.worked_on(before, after, outputs) == expected


def test_the_only_accelerator_of_a_callable_is_found_beside_tensors_on_the_cpu() -> None:
    assert places.accelerator_of(held(torch.ones(2)), given(on("cuda:1"))) == "cuda:1"
    assert places.accelerator_of(held(on("cuda:1")), given(torch.ones(2))) == "cuda:1"
    assert places.accelerator_of(held(torch.ones(2)), given(torch.ones(2))) is None
    with pytest.raises(places.PlaceError, match="on cuda:0 and cuda:1: say by on= which one"):
        places.accelerator_of(held(on("cuda:0")), given(on("cuda:1")))
