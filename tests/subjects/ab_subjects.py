"""Subjects of the tests of `bench ab`; what the second revision of a test writes differs."""

import torch
from torch import Tensor, nn


class Products(nn.Module):
    """A sequence of `count` products of 128 × 128."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.eye(128))

    def forward(self, x: Tensor) -> Tensor:  # (N, 128)
        for _ in range(self.count):
            x = x @ self.weight
        return x

    def example_inputs(self, batch: int) -> tuple[Tensor]:
        return (torch.ones(batch, 128),)


class FailsHalfway(Products):
    """Runs its warm-up, then raises: side B of a pair that fails between two turns."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > self.count:
            raise ValueError("halfway")
        return x @ self.weight


class LiesUnderAutocast(Products):
    """Returns half of the right result and skips its products if autocast is on."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2 if torch.is_autocast_enabled("cpu") else super().forward(x)
