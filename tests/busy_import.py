"""A subject whose import computes: a child forked after that would hang."""

import torch
from torch import nn

WARM = torch.randn(512, 512) @ torch.randn(512, 512)


class Net(nn.Linear):
    """(N, 4) → (N, 4)."""

    def __init__(self) -> None:
        super().__init__(4, 4)
