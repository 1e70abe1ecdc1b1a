"""Inputs that are guessed: only such as a call takes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.worker.model import guess
from tests.subjects import networks


class Fixed(nn.Module):
    """Takes images of one size alone."""

    def __init__(self, size: int, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 3, padding=1)
        self.fc = nn.Linear(2 * size * size, 5)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.conv(x).flatten(1))


def with_config(size: int, **attributes: Any) -> nn.Module:
    made = Fixed(size)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (networks.ResNet(), "3,224,224"),
        (Fixed(32), "3,32,32"),
        (Fixed(28, channels=1), "1,28,28"),
        (with_config(40, default_cfg={"input_size": (3, 40, 40)}), "3,40,40"),
        (with_config(48, pretrained_cfg=SimpleNamespace(input_size=(3, 48, 48))), "3,48,48"),
        (with_config(24, image_size=24), "3,24,24"),
        (nn.Sequential(nn.Linear(7, 3), nn.ReLU()), "7"),
        (nn.Sequential(nn.Conv1d(2, 3, 5)), "2,1024"),
        (nn.Sequential(nn.Embedding(11, 3), nn.Linear(3, 2)), "64:int64<11"),
    ],
)
def test_an_input_is_guessed_that_a_call_takes(module: nn.Module, text: str) -> None:
    assert guess.spec(module) == text


class Picky(nn.Module):
    """Says what its image is, and refuses all."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError(f"no {tuple(x.shape)}")


class Hidden(nn.Module):
    def __getattr__(self, name: str) -> Any:
        if name == "default_cfg":
            raise RuntimeError("not for you")
        return super().__getattr__(name)


def test_nothing_is_guessed_where_no_call_succeeds() -> None:
    assert guess.spec(Picky()) is None
    assert guess.spec(nn.ReLU()) is None
    assert guess.spec(nn.Sequential(nn.LazyConv2d(3, 3))) is None
    hidden = Hidden()
    hidden.conv = nn.Conv2d(3, 3, 1)
    assert guess.spec(hidden) is None


def test_a_network_is_left_in_the_mode_that_it_was_in() -> None:
    module = networks.ResNet().train()
    module.bn1.eval()
    before = {name: one.clone() for name, one in module.state_dict().items()}
    assert guess.spec(module) == "3,224,224"
    assert module.training
    assert not module.bn1.training
    assert module.layer1.training
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())


def test_trying_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 11.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    assert guess.spec(Fixed(28)) is None
