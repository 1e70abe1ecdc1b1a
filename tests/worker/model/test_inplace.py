"""Writes of a module to its input, seen in its first call."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.worker.model import inplace, twins
from bench.worker.model.loss import FixedGradient
from bench.worker.model.step import InferenceStep, Step, TrainingStep
from tests.subjects.models import Recurrent, Residual, Text

IMAGE = torch.randn(2, 3, 8, 8)


class AddsToItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return x


class WritesToAView(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x[:, 0].zero_()
        return x * 2


class WritesThroughNumpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.numpy()[0] = 5.0
        return x * 2


class WritesToItsData(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.data.mul_(2.0)
        return x * 2


class Undecided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.sum()) > 0 else x


class WritesToSparse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2.0)
        return x.to_dense()


class WritesToNested(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2.0)
        return x * 1.0


class Keeps(nn.Module):
    """Reads alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1.0


def nested() -> Tensor:
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)


def inference(module: nn.Module, *inputs: Any) -> Step:
    return InferenceStep(module.eval(), inputs, {}, device_type="cpu", restore=None)


@pytest.mark.parametrize(
    ("module", "inputs", "writes"),
    [
        (nn.ReLU(inplace=True), (IMAGE,), True),
        (nn.ReLU(), (IMAGE,), False),
        (AddsToItsInput(), (IMAGE,), True),
        (WritesToAView(), (IMAGE,), True),
        (WritesThroughNumpy(), (IMAGE,), True),
        (WritesToItsData(), (IMAGE,), True),
        (Residual(), (IMAGE,), False),  # in-place inside, but never on what it was given
        (Recurrent(), (torch.randn(2, 5, 6),), False),
        (Text().eval(), (torch.zeros(2, 7, dtype=torch.int64),), False),
        (Undecided(), (IMAGE,), False),
        (Keeps(), (torch.full((2, 3), float("nan")),), False),
        (Keeps(), (torch.ones(2, dtype=torch.complex64).conj(),), False),
        (Keeps(), (torch.eye(3).to_sparse(),), False),
        (WritesToSparse(), (torch.eye(3).to_sparse(),), True),
        (Keeps(), (nested(),), False),
        (WritesToNested(), (nested(),), True),
    ],
)
def test_writing_is_seen(module: nn.Module, inputs: tuple[Any, ...], *, writes: bool) -> None:
    step = inference(module, *inputs)
    assert step.restores is None
    step.prepare(1)
    step()
    step.prepare(1)
    assert step.restores is writes


def test_every_call_gets_the_numbers_that_were_given() -> None:
    seen: list[float] = []

    class Doubles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(float(x[0]))
            return x.mul_(2.0)

    given = torch.ones(3)
    step = inference(Doubles(), given)
    for _ in range(3):
        step.prepare(1)
        step()
    assert seen == [1.0, 1.0, 1.0]
    assert torch.equal(given, torch.ones(3))


def test_an_input_that_is_kept_is_given_itself_from_the_second_call_on() -> None:
    seen: list[Tensor] = []

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x * 2.0

    given = torch.ones(3)
    step = inference(Looks(), given)
    assert step.prepare(10) == 1  # the first one shows what comes after it
    step()
    assert step.prepare(10) == 10
    step()
    assert seen[0] is not given
    assert seen[1] is given


def test_in_training_an_input_that_is_written_to_still_gets_its_gradient() -> None:
    step = TrainingStep(
        AddsToItsInput().train(),
        (torch.ones(3, requires_grad=True),),
        {},
        loss=FixedGradient(scaled=False),
        device_type="cpu",
        restore=None,
    )
    gradients: list[bool] = []
    for _ in range(2):
        step.prepare(1)
        step(observe=lambda given, _: gradients.append(given[0][0].grad_fn is not None))
    assert gradients == [True, True]
    assert step.restores is True


TABLES: dict[int, Tensor] = {}


class KeptTable(nn.Module):
    """Keeps a table by length, not by device, for all instances."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] not in TABLES:
            TABLES[x.shape[1]] = torch.linspace(0, 1, x.shape[1], device=x.device)
        return x + TABLES[x.shape[1]]


def test_nothing_without_numbers_is_left_in_a_cache_outside_the_module() -> None:
    TABLES.clear()
    step = inference(KeptTable(), torch.zeros(2, 3))
    for _ in range(2):
        step.prepare(1)
        step()
    assert TABLES[3].tolist() == [0.0, 0.5, 1.0]
    assert step.output.tolist() == [[0.0, 0.5, 1.0]] * 2


def test_a_slice_that_nobody_writes_to_is_not_changed() -> None:
    data = torch.arange(12.0).reshape(4, 3)
    one, other = data[:, 0], data.clone()[:, 0]
    assert not inplace.changed([one], [other])
    other[1] = 5
    assert inplace.changed([one], [other])


class Looks(nn.Module):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(x)
        return x * 2


@pytest.mark.parametrize("training", [False, True])
def test_the_copy_of_the_first_call_is_out_of_sight_of_the_c_librarys_allocator(
    training: bool,
) -> None:
    # A free of a large block changes how glibc's allocator serves every later call.
    module, x = Looks().train(training), torch.randn(2, 3, 100, 100)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(training)
    how: dict[str, Any] = {"device_type": "cpu", "restore": None}
    step: Step = (
        TrainingStep(module, (x,), {}, loss=FixedGradient(scaled=False), **how)
        if training
        else InferenceStep(module, (x,), {}, **how)
    )
    for _ in range(3):
        step.prepare(1)
        step()
    first, second, third = module.given
    assert not first.untyped_storage().resizable()
    assert second is third is x
    assert torch.equal(first, x)
    assert first.stride() == x.stride()
    assert first.requires_grad is training
    assert first.is_leaf is not training


def test_small_copies_and_those_of_an_accelerator_are_ordinary() -> None:
    for size, device in (((3,), "cpu"), ((0, 5), "cpu"), ((100, 1000), "meta")):
        made = twins.in_own_pages(
            size, torch.empty(size).stride(), dtype=torch.float32, device=torch.device(device)
        )
        assert made.shape == size
        assert made.device.type == device
        assert made.untyped_storage().resizable()
