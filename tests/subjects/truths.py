"""Networks that compute something else under some setting, and some that only look so."""

import os
from typing import Any

import numpy
import torch
from torch import Tensor, nn


class _Conv(nn.Module):
    """(N, 3, 8, 8) → (N, 4, 6, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Any:
        return self.conv(x)


class WrongInChannelsLast(_Conv):
    def forward(self, x: Tensor) -> Any:
        if x.is_contiguous(memory_format=torch.channels_last):
            x = x * 1.001
        return self.conv(x)


class WrongUnderAutocast(_Conv):
    def forward(self, x: Tensor) -> Any:
        if torch.is_autocast_enabled("cpu"):
            x = x.flip(0)
        return self.conv(x)


class _Twice(torch.autograd.Function):
    """A backward that is twice too large under autocast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, wrong: bool) -> Tensor:
        ctx.factor = 2.0 if wrong else 1.0
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[0] * ctx.factor, None


class WrongGradient(_Conv):
    def forward(self, x: Tensor) -> Any:
        result: Any = _Twice.apply(self.conv(x), torch.is_autocast_enabled("cpu"))  # type: ignore[no-untyped-call]
        return result


class WrongBuffers(_Conv):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Any:
        y = self.conv(x)
        with torch.no_grad():
            off = 1.0 if torch.is_autocast_enabled("cpu") else 0.0
            self.mean = y.mean((0, 2, 3)) + off
        return y


class WrongLoss(_Conv):
    wrong = False

    def forward(self, x: Tensor) -> Any:
        self.wrong = torch.is_autocast_enabled("cpu")
        return self.conv(x)

    def loss(self, output: Tensor) -> Tensor:
        value = output.square().mean()
        return value + 1.0 if self.wrong else value


class WrongShape(_Conv):
    def forward(self, x: Tensor) -> Any:
        y = self.conv(x)
        return y[:, :2] if torch.is_autocast_enabled("cpu") else y


class Complex(nn.Module):
    """(N, 8): its output is complex, and has no gradient that a step could begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        y = self.fc(x)
        return torch.fft.fft(y.float() if y.dtype is torch.bfloat16 else y), y


class SparseGradient(nn.Module):
    """(N, k) whole numbers under 10: the gradient of its table is sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.table(x).sum(1)
        return found


class OwnLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return {"logits": self.fc(x)}

    def loss(self, output: dict[str, Tensor]) -> Tensor:
        return output["logits"].logsumexp(1).mean()


class FloatInside(nn.Module):
    """Makes tensors of the default dtype on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x) @ torch.eye(4) + torch.arange(4) / 3.0


class RandomWeights(nn.Module):
    """Draws its weights from what no seed sets."""

    def __init__(self) -> None:
        super().__init__()
        numbers = torch.frombuffer(bytearray(os.urandom(16)), dtype=torch.uint8).float()
        self.weight = nn.Parameter(numbers.reshape(4, 4))

    def forward(self, x: Tensor) -> Any:
        return x @ self.weight


class OnlyFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x.float())


class NumpyNoise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x) * float(numpy.random.rand())
