"""Runs float64 eager code whose results are rounded as a coarser arithmetic rounds.

This is Monte Carlo arithmetic in its simplest form (Parker, 1997).  The weights and inputs are
moved by a random rounding error, then the network runs as always, and each result is rounded to a
few bits.  A network cannot tell this from float64, so that code which is wrong in one dtype, in one
layout or under autocast is not wrong here.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bench.worker.device import torch_private
from bench.worker.model import pieces, pytree, twins

# Bits of the significand, with the hidden one (IEEE 754; TensorFloat-32 has as many as float16).
BITS = {"float32": 24, "tf32": 11, "float16": 11, "bfloat16": 8}
# Bits fewer than the arithmetic itself has: a sum is rounded once here and after each term there,
# and a few runs have to find every place that depends on rounding.
COARSER = 2
_OF_FLOAT64 = 53


class Rounded(torch_private.DispatchMode):
    """Rounds the result of every operator to `bits`; the range stays that of float64."""

    def __init__(self, bits: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._factor = 2.0 ** (_OF_FLOAT64 - bits) + 1

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        results = made if isinstance(made, tuple | list) else (made,)
        for one, view in zip(results, torch_private.makes_views(func), strict=False):
            if isinstance(one, Tensor) and not view:
                self._round(one)
        return made

    def _round(self, tensor: Tensor) -> None:
        if not twins.is_strided(tensor) or tensor.dtype not in (torch.float64, torch.complex128):
            return
        numbers = tensor.resolve_conj() if tensor.is_complex() else tensor
        numbers = torch.view_as_real(numbers) if numbers.is_complex() else numbers
        # Veltkamp's splitting (Dekker, 1971): the leading bits, rounded to nearest
        wide = numbers * self._factor
        rounded = torch.where(torch.isfinite(wide), wide - (wide - numbers), numbers)
        tensor.copy_(torch.view_as_complex(rounded) if tensor.is_complex() else rounded)


def bits(used: str) -> int:
    """Return the bits of a witness for an arithmetic, a key of BITS."""
    return BITS[used] - COARSER


def perturb(module: nn.Module, given: Any, used: str, seed: int) -> None:
    """Move weights, buffers and inputs in place, each number by up to a random rounding error."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in (*module.parameters(), *module.buffers(), *pytree.tensors(given)):
            for part in pieces.numbers(one) if not twins.is_strided(one) else [one.detach()]:
                if part.is_floating_point() or part.is_complex():
                    random = torch.rand(part.shape, generator=numbers, dtype=torch.float64)
                    part.mul_(1 + (2 * random.to(part.device) - 1) * 2.0 ** -bits(used))
