"""The dtype of a tensor in a given precision, also for complex and whole numbers."""

import torch


def like(own: torch.dtype, real: torch.dtype) -> torch.dtype:
    """Return `own` in the precision of `real`: complex stays complex, whole numbers stay whole.

    float64 → complex128, float32 → complex64, float16 → complex32.  torch has no complex numbers of
    bfloat16: they become complex64, the smallest dtype that holds them.
    """
    if own.is_complex:
        return torch.complex64 if real is torch.bfloat16 else real.to_complex()
    return real if own.is_floating_point else own
