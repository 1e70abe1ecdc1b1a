"""The loss of a subject: its own, or one whose gradient is a fixed tensor."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.worker.device import torch_private
from bench.worker.model import pytree, twins
from bench.worker.model.step_inputs import UnsupportedError

SEED = 1
# Gradients kept for each tensor of the output.  Its size should not change, but compiled code may
# lay it out in another way than eager code does.
MOST_KEPT = 4
Loss = Callable[[Any], Tensor]


class LossError(UnsupportedError):
    """No gradient can start from this output."""


def of(module: nn.Module, *, scaled: bool) -> Loss:
    """Return the module's own `loss(output)` where it has one, else `FixedGradient`."""
    own: Loss | None = getattr(module, "loss", None)
    if own is None or not callable(own) or isinstance(own, nn.Module) or not _takes_output(own):
        return FixedGradient(scaled=scaled)
    return own


def _takes_output(own: Callable[..., Any]) -> bool:
    """Return whether it can be called with the output alone, without targets."""
    try:
        inspect.signature(own).bind(None)
    except TypeError:
        return False
    except ValueError:  # written in C: its call says
        return True
    return True


def unused_loss(module: nn.Module) -> str | None:
    """Return a sentence where the module has a method `loss` that is not used."""
    own = getattr(module, "loss", None)
    if not callable(own) or isinstance(own, nn.Module) or _takes_output(own):
        return None
    return (
        f"the method loss{inspect.signature(own)} of {type(module).__name__} needs more than the "
        "output, so a fixed gradient stands for it; give the other arguments defaults, or write "
        "loss(output)"
    )


def no_backward_message(output: Any) -> str:
    """Say why no gradient can start from an output in which nothing requires a gradient."""
    dtypes = sorted({str(one.dtype).removeprefix("torch.") for one in pytree.tensors(output)})
    real = any(True for _ in pytree.floating(output))
    why = (
        f"it is {', '.join(dtypes)}, computed without gradients or from nothing that requires one"
        if real
        else f"it is {', '.join(dtypes)}, and whole numbers have none"
        if dtypes
        else "no tensor is found in it"
    )
    return (
        "training is not supported here: nothing in the output requires a gradient "
        f"({why}), so there is no backward"
    )


class FixedGradient:
    """Stands for Σ⟨output, g⟩ over the tensors of the output that have a gradient, g seeded normal.

    For complex numbers ⟨z, g⟩ is the real part of conj(g)·z, whose gradient in torch's convention
    is g: its real part belongs to that of z, its imaginary part to that of z.

    Only its gradient is real: the sum itself, and g times one in the backward, would cost more than
    a ReLU and would be timed with it.  The value is 0.

    g has the output's own memory format: a contiguous gradient would slow channels_last layers.  A
    plain sum would give BatchNorm a zero gradient.  g is made once per shape; the last
    MOST_KEPT of each tensor are kept.

    scaled: a GradScaler multiplies the loss, so g has to be multiplied as well.
    """

    def __init__(self, *, scaled: bool) -> None:
        self._scaled = scaled
        self._numbers: dict[Any, Tensor] = {}
        self.drawn = 0  # how many were made so far

    def __call__(self, output: Any) -> Tensor:
        """Return a scalar for a GradScaler to multiply.  Raises LossError."""
        wanted, gradients = self.seeds(output)
        loss: Tensor = _SeedGradients.apply(gradients, self._scaled, *wanted)  # type: ignore[no-untyped-call]
        return loss

    def seeds(self, output: Any) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Return the start of `torch.autograd.backward`: the tensors and the g of each.

        Without the detour over a scalar, which costs some 40 µs, three times a small ReLU.
        Raises LossError where nothing in the output has a gradient.
        """
        wanted = [one for one in pytree.floating(output) if one.requires_grad]
        if not wanted:
            raise LossError(no_backward_message(output))
        return wanted, tuple(self.gradient(place, one) for place, one in enumerate(wanted))

    def gradient(self, place: int, one: Tensor) -> Tensor:
        """Return g for the tensor of the output at index `place`, in its shape, strides and dtype.

        A sparse one has one number for each of its own, at the same indices; a nested one has one
        for each number of its sequences.
        """
        if twins.is_strided(one):
            return self._drawn(place, one)
        return _wrap_like(one, lambda numbers: self._drawn(place, numbers))

    def _drawn(self, place: int, one: Tensor) -> Tensor:
        key = (place, one.shape, one.dtype, one.device, one.stride())
        if key not in self._numbers:
            self._make_room(place)
            self.drawn += 1
            numbers = torch.Generator().manual_seed(SEED + place)
            # float32 whatever the default is: the same numbers in every dtype
            single = torch.complex64 if one.is_complex() else torch.float32
            made = torch.randn(one.shape, generator=numbers, dtype=single, device="cpu")
            made = made.to(one.device, one.dtype)
            with torch.no_grad():
                self._numbers[key] = torch.empty_like(one, requires_grad=False).copy_(made)
        return self._numbers[key]

    def _make_room(self, place: int) -> None:
        kept = [key for key in self._numbers if key[0] == place]
        if len(kept) >= MOST_KEPT:
            del self._numbers[kept[0]]

    def held(self) -> tuple[Tensor, ...]:
        """Return the tensors made so far: they are in use in every call."""
        return tuple(self._numbers.values())


class _SeedGradients(torch.autograd.Function):
    """Returns 0, with given gradients.  Source: torch's notes on extending autograd."""

    @staticmethod
    def forward(ctx: Any, gradients: tuple[Tensor, ...], scaled: bool, *wanted: Tensor) -> Tensor:
        ctx.gradients, ctx.scaled = gradients, scaled
        return torch.zeros((), device=wanted[0].device)

    @staticmethod
    def backward(ctx: Any, *scale: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.scaled:
            return (None, None, *(one * scale[0] for one in ctx.gradients))
        return (None, None, *ctx.gradients)


def _wrap_like(one: Tensor, drawn: Callable[[Tensor], Tensor]) -> Tensor:
    """Return drawn numbers as a gradient with the structure of a sparse or nested tensor."""
    with torch.no_grad():
        own: Any = one.detach()
        if own.is_nested:
            if own.layout is torch.jagged:
                flat = drawn(own.values())
                return torch.nested.nested_tensor_from_jagged(flat, offsets=own.offsets())
            filled: Tensor = own.clone()
            flat = drawn(torch.cat([part.flatten() for part in own.unbind()]))
            for part, numbers in zip(
                filled.unbind(), flat.split([part.numel() for part in own.unbind()]), strict=True
            ):
                part.copy_(numbers.view(part.shape))
            return filled
        match own.layout:
            case torch.sparse_coo:
                places, values = torch_private.coo_parts(own)
                return torch.sparse_coo_tensor(
                    places,
                    drawn(values),
                    own.shape,
                    is_coalesced=own.is_coalesced(),
                    check_invariants=False,
                )
            case torch.sparse_csr | torch.sparse_bsr:
                rows, columns = own.crow_indices(), own.col_indices()
            case torch.sparse_csc | torch.sparse_bsc:
                rows, columns = own.ccol_indices(), own.row_indices()
            case _:
                return drawn(own.to_dense()).to(own.dtype)
        return torch.sparse_compressed_tensor(
            rows, columns, drawn(own.values()), own.shape, layout=own.layout, check_invariants=False
        )
