"""Makes the inputs of a subject: from the axis `input`, or from the module's `example_inputs`.

The numbers are drawn on the CPU in float32, and moved: they are the same on every device, and in
every dtype except for rounding.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.worker.model import dtypes, pytree, signature, twins

SEED = 0
OWN = "own"
# Exclusive upper bound of integers where none is given: 0 and 1 are valid as index of every table
# with two entries, as mask and as class.
DEFAULT_BOUND = 2

_DTYPES: dict[str, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "complex64": torch.complex64,
    "complex128": torch.complex128,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_PART = re.compile(r"(?P<shape>[0-9,]*)(?::(?P<dtype>[a-z]+[0-9]*)(?:<(?P<bound>[0-9]+))?)?")
_HOW = "write e.g. 3,224,224 or '3,224,224; 10:int64<1000' (without the batch)"

# Batches whose `example_inputs` are compared with those of 2.  The second is larger than most
# paddings (to 4 or 8 images), and is tried only where the first changes nothing.
_OTHER_BATCHES = (3, 16)

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class InputError(ValueError):
    """There is no input, or it is not understood; the message says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input, without the batch."""

    shape: tuple[int, ...]  # () = one number an image: (N,)
    dtype: torch.dtype | None = None  # None = the case's dtype
    bound: int | None = None  # integers are below it


def parse(text: str) -> tuple[InputSpec, ...]:
    """Parse `3,224,224; 10:int64<1000` into two inputs.  Raises InputError."""
    return tuple(_parse(part.strip(), text) for part in text.split(";"))


def _parse(part: str, text: str) -> InputSpec:
    found = _PART.fullmatch(part)
    if not part or not found:
        raise InputError(f"input {text!r}: {part!r} is not understood; {_HOW}")
    sizes = found["shape"].split(",") if found["shape"] else []
    if "" in sizes or any(int(size) < 1 for size in sizes):
        raise InputError(f"input {text!r}: the sizes in {part!r} have to be 1 or more; {_HOW}")
    dtype = None
    if found["dtype"]:
        dtype = _DTYPES.get(found["dtype"])
        if dtype is None:
            raise InputError(
                f"input {text!r}: dtype {found['dtype']!r}; choose {', '.join(_DTYPES)}"
            )
    bound = int(found["bound"]) if found["bound"] else None
    if bound is not None and (dtype is None or _has_no_bound(dtype)):
        raise InputError(f"input {text!r}: an upper bound (<{bound}) is for integers; {_HOW}")
    if bound is not None and dtype is not None and not 1 <= bound <= torch.iinfo(dtype).max + 1:
        raise InputError(f"input {text!r}: no number of {dtype} lies between 0 and {bound}")
    return InputSpec(shape=tuple(map(int, sizes)), dtype=dtype, bound=bound)


def _has_no_bound(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex or dtype == torch.bool


def make(
    text: str,
    module: nn.Module,
    batch: int,
    dtype: torch.dtype | None,
    *,
    device: str = "cpu",
    memory_format: str = "contiguous",
) -> Arguments:
    """Make the arguments and keywords of one call.

    text:  value of the axis `input`; `own` (or nothing) = the module's `example_inputs(batch)`,
           a tensor, a tuple of arguments or a dict of keywords.
    dtype: of the floating inputs that name none, and of all floating ones of `example_inputs`.
           Complex ones, and those that name complex64, get the complex dtype of its precision
           (`bench.worker.model.dtypes`).  None = float32, and as `example_inputs` gives them.
    memory_format: of the floating and complex inputs (N, C, H, W); others have no channels_last.

    The tensors are on `device` and require no gradient.  Raises InputError.
    """
    if text in ("", OWN):
        args, kwargs = _example_inputs(module, batch)
    else:
        generator = torch.Generator().manual_seed(SEED)
        args, kwargs = (
            tuple(draw(spec, batch, dtype or torch.float32, generator) for spec in parse(text)),
            {},
        )

    def settle(tensor: Tensor) -> Tensor:
        follows = text in ("", OWN) or tensor.dtype is torch.complex64
        kind = dtypes.like(tensor.dtype, dtype) if follows and dtype else tensor.dtype
        moved = tensor.detach().to(device=device, dtype=kind)
        of_numbers = moved.is_floating_point() or moved.is_complex()
        if memory_format == "channels_last" and of_numbers and twins.is_image(moved):
            return moved.contiguous(memory_format=torch.channels_last)
        return moved

    settled: Arguments = pytree.map_tensors(settle, (args, kwargs))
    return settled


def fixed_batch(module: nn.Module) -> int | None:
    """Return the batch of the module's `example_inputs` if its argument changes nothing, else None.

    It is the first size of its tensors; 1 where these differ, as those of a graph do.  Raises
    InputError, and anything that the method may.
    """
    first = _example_inputs(module, 2)
    work = _work(first)
    if any(_work(_example_inputs(module, batch)) != work for batch in _OTHER_BATCHES):
        return None
    sizes = {one.size(0) for one in pytree.tensors(first) if one.ndim}
    return max(1, *sizes) if len(sizes) == 1 else 1


def _work(given: Arguments) -> tuple[str, list[Any]]:
    """Return by what the inputs of two batches differ: sizes, plain values, counts in tensors."""
    whole = (one for one in pytree.tensors(given) if not _has_no_bound(one.dtype))
    return signature.of(given), [one.tolist() for one in whole if one.numel() == 1]


def draw(spec: InputSpec, batch: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Draw (batch, *spec.shape) on the CPU: standard normal, or uniform integers below the bound.

    Complex numbers have a mean square of 1 as well.
    """
    shape = (batch, *spec.shape)
    kind = spec.dtype or dtype
    if kind.is_complex:
        return torch.randn(shape, generator=generator, dtype=torch.complex64).to(kind)
    if kind.is_floating_point:
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(kind)
    bound = spec.bound or DEFAULT_BOUND
    return torch.randint(bound, shape, generator=generator, dtype=torch.int64).to(kind)


def _example_inputs(module: nn.Module, batch: int) -> Arguments:
    name = type(module).__name__
    method = getattr(module, "example_inputs", None)
    if not callable(method):
        raise InputError(
            f"what shape is the input of {name}? Give --input, e.g. --input 3,224,224 (without "
            "the batch), or give the module a method example_inputs(batch)"
        )
    torch.manual_seed(SEED)
    given = method(batch)
    match given:
        case Tensor():
            return (given,), {}
        case Mapping() if all(isinstance(key, str) for key in given):
            return (), dict(given)
        case tuple() | list():
            return tuple(given), {}
    raise InputError(
        f"{name}.example_inputs({batch}) gave a {type(given).__name__}; it has to give a tuple of "
        "arguments or a dict of keywords"
    )
