"""Rounding errors of each arithmetic."""

from collections.abc import Iterable

import torch
from torch import Tensor

from bench.core.axes import AS_BUILT, allows_tf32
from bench.core.records import Case

# Spacing of numbers next to 1.  TensorFloat-32 has 10 bits of mantissa, as float16 has.
EPS = {
    "float32": torch.finfo(torch.float32).eps,
    "tf32": 2.0**-10,
    "float16": torch.finfo(torch.float16).eps,
    "bfloat16": torch.finfo(torch.bfloat16).eps,
}
# Smaller numbers are rounded to zero or nearly to zero: the range of float16 ends at 6e-5, and an
# untrained network may well have smaller outputs.
TINY = {
    "float32": torch.finfo(torch.float32).smallest_normal,
    "tf32": torch.finfo(torch.float32).smallest_normal,
    "float16": torch.finfo(torch.float16).smallest_normal,
    "bfloat16": torch.finfo(torch.bfloat16).smallest_normal,
}
FLOOR_EPS = 8  # ReLU and MaxPool are exact in float32; their tolerance must not be zero
# Times the scaled error of float32 eager code (scaled by EPS).  Seen on ConvNet and 27 other
# networks (docs/trust.md): outputs up to 1.8 times in float32 (channels_last), 0.5 in bfloat16;
# gradients, where a ReLU that switches moves a whole column, 37 times in float32, 4.4 in float16,
# 1.9 in bfloat16.
TOLERANCE = {"float32": 32.0, "tf32": 16.0, "float16": 16.0, "bfloat16": 8.0}
GRADIENT_TOLERANCE = {"float32": 256.0, "tf32": 32.0, "float16": 32.0, "bfloat16": 16.0}


def arithmetic(case: Case, tensors: Iterable[Tensor] = (), *, convolves: bool = True) -> str:
    """Return the coarsest arithmetic in force: a key of EPS.

    convolves: whether the case has convolutions or recurrent layers, the only ones that use TF32
               with `tf32=default`.
    tensors: of the module, its inputs and its outputs; for a subject as built their dtypes count.
    """
    tf32 = allows_tf32(case.tf32) and (convolves or case.tf32 != "default")
    used = ["tf32" if tf32 else "float32"]
    if case.dtype == AS_BUILT:
        names = {str(one.dtype).removeprefix("torch.") for one in tensors}
        used += sorted(names & EPS.keys())
    else:
        used.append(case.dtype)
    if case.amp != "off":
        used.append(case.amp)
    return max(used, key=EPS.__getitem__)
