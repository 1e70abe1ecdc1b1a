"""Subjects with known extra work: a tenth more, say, is a tenth more in any noise.

`experiments.live` copies this file into a repository of its own, where one revision has EXTRA = 0.0
and the next one more.  Forward and backward each wait, busy, for that share of the time that they
took themselves.  What stands around them in a call is not slowed; a layer that takes no longer than
that is called REPEATS times, else a tenth more of it would be a twentieth of what is timed.
"""

import time

import torch
from torch import Tensor, nn

from convnet.network import ConvNet

EXTRA = 0.0
SHAPES = {  # of what the ConvNet and its layers with parameters get, without the batch
    "": (3, 224, 224),
    "conv1": (3, 224, 224),
    "bn1": (32, 55, 55),
    "conv2": (32, 27, 27),
    "bn2": (64, 11, 11),
    "fc": (1600,),
}
REPEATS = {"bn1": 4, "bn2": 20, "fc": 20}


class Slowed(nn.Module):
    """The ConvNet, or one of its layers with parameters, with extra work."""

    def __init__(self, layer: str = "") -> None:
        super().__init__()
        net = ConvNet()
        layers: dict[str, nn.Module] = {
            "": net,
            "conv1": net.model[0],
            "bn1": net.model[1],
            "conv2": net.model[4],
            "bn2": net.model[5],
            "fc": net.fc,
        }
        self.subject = layers[layer]
        self.shape, self.repeats = SHAPES[layer], REPEATS.get(layer, 1)
        self.began_s = 0.0
        first = next(self.subject.parameters())  # its gradient is the last one that backward finds
        first.register_post_accumulate_grad_hook(lambda _: wait_busy(self.began_s))

    def forward(self, x: Tensor) -> Tensor:
        began_s = time.perf_counter()
        y: Tensor = self.subject(x)
        for _ in range(self.repeats - 1):
            y = y + self.subject(x)
        if y.requires_grad:
            y.register_hook(self.begin_backward)
        wait_busy(began_s)
        return y

    def begin_backward(self, _: Tensor) -> None:
        self.began_s = time.perf_counter()

    def example_inputs(self, batch: int) -> tuple[Tensor]:
        return (torch.randn(batch, *self.shape),)


def wait_busy(began_s: float) -> None:
    """Wait, busy, for EXTRA times the time that has passed since `began_s`."""
    now_s = time.perf_counter()
    end_s = now_s + EXTRA * (now_s - began_s)
    while time.perf_counter() < end_s:
        pass
