"""Networks for checks for which the project has no network."""

from torch import Tensor, nn


class Chain(nn.Module):
    """(N, 64) → (N, 64) through many small matrix products: launching takes longer than working.

    A compiler cannot fuse them, so that a CUDA graph of them has all of them to launch.
    """

    def __init__(self, length: int = 40) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(length)))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layers(x)
        return output
