"""The details of each call of a module."""

import pytest
import torch
from torch import Tensor, nn

from bench.worker.profiler.calls import CallRecorder, memory_format

IMAGE = torch.zeros(2, 3, 4, 4)


def test_the_memory_format_of_a_tensor_is_that_of_its_bytes() -> None:
    assert memory_format(IMAGE) == "contiguous"
    assert memory_format(IMAGE.to(memory_format=torch.channels_last)) == "channels_last"
    assert memory_format(IMAGE[:, :1]) == "strided"
    assert memory_format(torch.zeros(2, 3, 1, 1)) == "either"
    assert memory_format(torch.zeros(2, 3)) == ""


def test_a_call_has_its_settings_weights_and_what_goes_in_and_comes_out() -> None:
    recorder, conv = CallRecorder(), nn.Conv2d(3, 8, 3).eval()
    recorder.begins("conv", "conv", conv, ((IMAGE,), {}))
    recorder.ends("conv", conv(IMAGE).double())
    seen = recorder.found["conv"]
    assert seen.settings == "3, 8, kernel_size=(3, 3), stride=(1, 1)"
    assert seen.weights == "weight 8x3x3x3 float32, bias 8 float32"
    assert not seen.training
    assert (seen.input_dtype, seen.output_dtype) == ("float32", "float64")
    assert (seen.input_format, seen.output_shape) == ("contiguous", "2x8x2x2")


class Unprintable(nn.Module):
    def extra_repr(self) -> str:
        raise ValueError("no text")

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_module_that_cannot_print_itself_has_no_settings() -> None:
    recorder = CallRecorder()
    recorder.begins("own", "own", Unprintable(), ())
    assert recorder.found["own"].settings == ""


class WithFunction(nn.Module):
    def extra_repr(self) -> str:
        return f"act={(lambda x: x)}, p=0.5"

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_settings_have_no_address_which_differs_from_process_to_process() -> None:
    recorder = CallRecorder()
    recorder.begins("own", "own", WithFunction(), ())
    settings = recorder.found["own"].settings
    assert settings == "act=<function WithFunction.extra_repr.<locals>.<lambda>>, p=0.5"


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
def test_a_nested_tensor_has_no_shape_and_all_other_details() -> None:
    """The fast path of torch.nn.TransformerEncoder has nested tensors between its layers."""
    nested = torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(1, 3)])
    recorder = CallRecorder()
    recorder.begins("own", "own", nn.Identity(), ((nested,), {}))
    recorder.ends("own", nested)
    seen = recorder.found["own"]
    assert (seen.output_shape, seen.output_dtype) == ("", "float32")
