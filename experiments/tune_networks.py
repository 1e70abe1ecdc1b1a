"""Small networks on which the search for the fastest settings is compared with a whole sweep.

A call takes a few milliseconds, so that a sweep of every setting ends in a minute or two.
`planted` has one setting that is the fastest and computes something else.
"""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.inner(x))


def residual() -> nn.Module:
    """(N, 3, H, W) → (N, 10)."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1),
        Residual(32),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        Residual(64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def _separable(channels_in: int, channels: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_in, 3, stride, 1, groups=channels_in, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU6(),
        nn.Conv2d(channels_in, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(),
    )


def depthwise() -> nn.Module:
    """(N, 3, H, W) → (N, 10), with depthwise convolutions (Howard et al. 2017)."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1),
        _separable(32, 64, 1),
        _separable(64, 128, 2),
        _separable(128, 128, 1),
        _separable(128, 256, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def transformer() -> nn.Module:
    """(N, T, 128) → (N, T, 128): a block with the norms first (Xiong et al. 2020)."""
    return nn.TransformerEncoderLayer(
        128, 4, 512, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"
    )


class _Shortcut(nn.Module):
    """Module that skips its work if its input is channels_last: faster, and wrong."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            return x
        return torch.as_tensor(self.inner(x))


def planted() -> nn.Module:
    """Return a network (N, 3, H, W) → (N, 10) with six blocks that it skips in channels_last."""
    network = residual()
    assert isinstance(network, nn.Sequential)
    network[1] = _Shortcut(nn.Sequential(*(Residual(32) for _ in range(6))))
    return network
