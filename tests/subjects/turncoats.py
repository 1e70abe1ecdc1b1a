"""Networks that turn what a process has once, or do their work otherwise than they were asked."""

import os
from typing import Any

import torch
from torch import Tensor, nn


class _Small(nn.Module):
    """(N, 4) → (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        self.turn()
        return self.fc(x)

    def turn(self) -> None:
        """Change the process; subclasses override this."""


class Precision(_Small):
    def turn(self) -> None:
        torch.set_float32_matmul_precision("medium")


class Mkldnn(_Small):
    def turn(self) -> None:
        torch._C._set_mkldnn_enabled(False)


class Denormals(_Small):
    def turn(self) -> None:
        torch.set_flush_denormal(True)


class Deterministic(_Small):
    def turn(self) -> None:
        torch.use_deterministic_algorithms(True)


class DefaultDtype(_Small):
    def turn(self) -> None:
        torch.set_default_dtype(torch.bfloat16)


class GradOff(_Small):
    """Switches gradients off when it is built, since inference_mode undoes that in a forward."""

    def __init__(self) -> None:
        super().__init__()
        torch.set_grad_enabled(False)


class Pinned(_Small):
    def turn(self) -> None:
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


class Nice(_Small):
    def turn(self) -> None:
        os.setpriority(os.PRIO_PROCESS, 0, 19)


class InItsConstructor(_Small):
    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(1)
        torch.backends.cudnn.deterministic = True


class LateTurn(_Small):
    """Behaves while it is looked at, and turns at its fiftieth call, inside the samples."""

    calls = 0

    def turn(self) -> None:
        self.calls += 1
        if self.calls == 50:
            torch.set_float32_matmul_precision("medium")


class _Parts(nn.Module):
    """(N, 4): one large and one small linear layer; one of them is kept out of autocast."""

    large_outside: bool

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Linear(4, 400), nn.Linear(400, 2)

    def forward(self, x: Tensor) -> Any:
        with torch.autocast("cpu", enabled=not self.large_outside, dtype=torch.bfloat16):
            x = self.large(x)
        with torch.autocast("cpu", enabled=self.large_outside, dtype=torch.bfloat16):
            return self.small(x.float())


class HeadInFloat32(_Parts):
    large_outside = False


class TrunkInFloat32(_Parts):
    large_outside = True


class _Images(nn.Module):
    """(N, 3, 8, 8): two convolutions, one of which undoes channels_last."""

    undone: str

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 32, 3)
        getattr(self, self.undone).register_forward_pre_hook(_undo)

    def forward(self, x: Tensor) -> Any:
        return self.large(self.small(x))


def _undo(layer: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    layer.weight.data = layer.weight.data.contiguous()
    return tuple(one.contiguous() for one in args)


class SmallContiguous(_Images):
    undone = "small"


class LargeContiguous(_Images):
    undone = "large"
