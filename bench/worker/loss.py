"""The loss of a subject: its own, or one whose gradient is a fixed tensor."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.worker import tree

SEED = 1
Loss = Callable[[Any], Tensor]


class LossError(ValueError):
    """An output from which no gradient can start."""


def of(module: nn.Module, *, scaled: bool) -> Loss:
    """The module's own `loss(output)` where it has one, else `FixedGradient`."""
    own = getattr(module, "loss", None)
    return own if callable(own) and not isinstance(own, nn.Module) else FixedGradient(scaled=scaled)


class FixedGradient:
    """Stands for Σ⟨output, g⟩ over the floating tensors of the output, g seeded normal.

    Only its gradient is real: computing the sum, and g times one in the backward, would cost
    more than a ReLU does and would be timed with it.  The value is 0.

    g has the output's own memory format: a contiguous gradient would slow channels_last layers.
    A plain sum would give BatchNorm a zero gradient.  g is made once per shape.

    scaled: a GradScaler multiplies the loss, so g has to be multiplied as well.
    """

    def __init__(self, *, scaled: bool) -> None:
        self._scaled = scaled
        self._numbers: dict[Any, Tensor] = {}

    def __call__(self, output: Any) -> Tensor:
        """A scalar, for a GradScaler to multiply.  Raises LossError."""
        wanted, gradients = self.seeds(output)
        loss: Tensor = _Seed.apply(gradients, self._scaled, *wanted)  # type: ignore[no-untyped-call]
        return loss

    def seeds(self, output: Any) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """What `torch.autograd.backward` begins with: the tensors and the g of each.

        Without the detour over a scalar, which costs some 40 µs, three times a small ReLU.
        Raises LossError where nothing in the output has a gradient.
        """
        wanted = [one for one in tree.floating(output) if one.requires_grad]
        if not wanted:
            raise LossError(
                "training is not supported here: nothing in the output requires a gradient (no "
                "parameter, no input that does), so there is no backward"
            )
        return wanted, tuple(self.gradient(place, one) for place, one in enumerate(wanted))

    def gradient(self, place: int, one: Tensor) -> Tensor:
        """g for the `place`-th tensor of the output, in its shape, strides and dtype."""
        key = (place, one.shape, one.dtype, one.device, one.stride())
        if key not in self._numbers:
            numbers = torch.Generator().manual_seed(SEED + place)
            # float32 whatever the default is: the same numbers in every dtype
            made = torch.randn(one.shape, generator=numbers, dtype=torch.float32)
            made = made.to(one.device, one.dtype)
            with torch.no_grad():
                self._numbers[key] = torch.empty_like(one, requires_grad=False).copy_(made)
        return self._numbers[key]

    def held(self) -> tuple[Tensor, ...]:
        """What was made so far: it is alive in every call."""
        return tuple(self._numbers.values())


class _Seed(torch.autograd.Function):
    """0, with the given tensors as gradients.  Source: torch's notes on extending autograd."""

    @staticmethod
    def forward(ctx: Any, gradients: tuple[Tensor, ...], scaled: bool, *wanted: Tensor) -> Tensor:
        ctx.gradients, ctx.scaled = gradients, scaled
        return torch.zeros((), device=wanted[0].device)

    @staticmethod
    def backward(ctx: Any, *scale: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.scaled:
            return (None, None, *(one * scale[0] for one in ctx.gradients))
        return (None, None, *ctx.gradients)
