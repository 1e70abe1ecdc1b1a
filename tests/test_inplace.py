"""Whether a module writes to its input, found out without computing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.worker.inplace import writes_input

from .models import Recurrent, Residual, Text

IMAGE = torch.randn(2, 3, 8, 8)


class AddsToItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return x


class WritesToAView(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x[:, 0].zero_()
        return x * 2


class Undecided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.sum()) > 0 else x


@pytest.mark.parametrize(
    ("module", "inputs", "writes"),
    [
        (nn.ReLU(inplace=True), (IMAGE,), True),
        (nn.ReLU(), (IMAGE,), False),
        (AddsToItsInput(), (IMAGE,), True),
        (WritesToAView(), (IMAGE,), True),
        (Residual(), (IMAGE,), False),  # in-place inside, but never on what it was given
        (Recurrent(), (torch.randn(2, 5, 6),), False),
        (Text().eval(), (torch.zeros(2, 7, dtype=torch.int64),), False),
        (Undecided(), (IMAGE,), True),  # cannot be known: restoring is the safe side
    ],
)
def test_writing_is_seen(module: nn.Module, inputs: tuple[Any, ...], *, writes: bool) -> None:
    assert writes_input(module, inputs, {}) is writes


def test_the_module_and_its_input_stay_untouched() -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(3)
            self.last: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.last = torch.as_tensor(self.bn(x))
            return x.relu_()

    module, image = Remembers(), IMAGE.clone()
    assert writes_input(module, (image,), {})
    assert module.last is None
    assert torch.equal(image, IMAGE)
    assert int(module.bn.num_batches_tracked or 0) == 0
