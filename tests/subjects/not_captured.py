"""A network all of whose arithmetic is in an operator that no CUDA graph may capture."""

import torch
from torch import Tensor, nn


@torch.library.custom_op(
    "bench_tests::doubled", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,)
)
def doubled(x: Tensor) -> Tensor:
    return x * 2


@doubled.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Doubles(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = doubled(x)
        return out
