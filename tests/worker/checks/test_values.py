"""The values of a call, taken from a device that lacks a part of what the CPU has."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bench.worker.checks import values


class LacksFloat64(TorchFunctionMode):
    """As MPS: its tensors go to the CPU as they are, and cannot become float64 on the way."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {*args[1:], *(kwargs or {}).values()}
        if function is Tensor.to and {"cpu", torch.float64} <= given:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return function(*args, **(kwargs or {}))


def test_values_of_a_device_without_float64_are_widened_on_the_cpu() -> None:
    with LacksFloat64():
        (wide,) = values._floats((torch.tensor([0.5, 1.5]),))
    assert wide.dtype is torch.float64
    assert wide.tolist() == [0.5, 1.5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_values_are_copies_that_later_calls_do_not_change(dtype: torch.dtype) -> None:
    given = torch.ones(2, dtype=dtype)
    (kept,) = values._floats(given) if given.is_floating_point() else values._labels(given)
    given.zero_()
    assert kept.tolist() == [1, 1]
