"""Networks with what real ones do: residuals, in-place layers, masks, states, shared modules."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """Residual blocks whose one in-place ReLU is called several times; depthwise separable."""

    layer_names = {"stem": "first", "relu": "relu1"}  # noqa: RUF012 - as users write it

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.never = nn.Linear(8, 8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        x = self.relu(x + self.pointwise(self.depthwise(x)))
        for block in self.blocks:
            x = x + block(x)
        x = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return torch.as_tensor(self.fc(x))


class Text(nn.Module):
    """Embedding of integers, an encoder layer (masks None), a dict for an output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 20)

    def forward(self, tokens: Tensor, scale: Tensor | None = None) -> dict[str, Any]:
        x = self.encoder(self.embedding(tokens))
        if scale is not None:
            x = x * scale[:, None, None]
        return {"logits": self.head(x), "hidden": (x, None), "name": "text"}

    def example_inputs(self, batch: int) -> dict[str, Tensor]:
        return {"tokens": torch.randint(20, (batch, 7)), "scale": torch.rand(batch)}


class Recurrent(nn.Module):
    """Two calls of one LSTM, the second with the state of the first; a sliced input."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 6, batch_first=True)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x, state = self.lstm(x)
        x, state = self.lstm(x, state)
        return self.last(x[:, -1]), state


class TwoInputs(nn.Module):
    """Two inputs, a module under two names, a module called through keywords, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.right = self.left
        self.join = nn.Bilinear(4, 4, 2)

    def forward(self, a: Tensor, b: Tensor) -> list[Tensor]:
        return [self.join(input1=self.left(a), input2=self.right(b)), a]


class FrozenTrunk(nn.Module):
    """(N, 8): its trunk is called without gradients, its head with; equal layers otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.trunk(x)
        return torch.as_tensor(self.head(y))


class AllFrozen(nn.Module):
    """(N, 8): nothing to train, and its first layer writes to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(8, 8)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fc(self.relu(x)))


class Lazy(nn.Module):
    """(N, 3, H, W) → (N, 2); its layers learn their sizes in the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(4, 3)
        self.norm = nn.LazyBatchNorm2d()
        self.fc = nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


class Drops(nn.Module):
    """Training drops half of the image, and has a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.auxiliary = nn.Linear(4, 2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.auxiliary(x)
            x = x[: len(x) // 2]
        return torch.as_tensor(self.last(x))


class Casts(nn.Module):
    """A forward that leaves the dtype of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.last(self.first(x).double().float()))
