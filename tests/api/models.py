"""Models that change when they are called: statistics, counters, lists, weights."""

from typing import Any

import torch
from torch import Tensor, nn


class Restless(nn.Module):
    """Each forward moves buffers, counters and lists, and writes to a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 3)
        self.calls = 0
        self.seen: list[int] = []
        self.register_buffer("total", torch.zeros(4))
        self.total: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(len(x))
        self.total = self.total + x.detach().sum(0)
        with torch.no_grad():
            self.fc.bias.data += 1
        out: Tensor = self.fc(self.drop(self.norm(x)))
        return out


def restless() -> Restless:
    """One in training, with gradients, a frozen weight and a hook."""
    torch.manual_seed(0)
    made = Restless()
    made(torch.randn(5, 4)).sum().backward()
    made.norm.weight.requires_grad_(False)
    made.fc.register_forward_hook(_nothing)
    return made


def _nothing(_module: nn.Module, _args: Any, _output: Any) -> None:
    pass


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def images() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
