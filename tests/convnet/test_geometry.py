import itertools

import pytest
import torch
from torch import nn

from convnet.geometry import GeometryError, output_size, pooled_size


def test_the_notes_own_example_gives_55() -> None:
    assert output_size(224, 8, stride=4) == 55


def test_a_pooling_takes_its_kernel_as_stride_where_none_is_given() -> None:
    assert pooled_size(55, 2) == 27
    assert pooled_size(55, 3, stride=2) == 27


GRID = list(itertools.product((1, 5, 11, 224), (1, 2, 3, 8), (0, 1, 3), (1, 2, 4), (1, 2, 3)))


@pytest.mark.parametrize("stage", ["convolution", "pooling"])
def test_the_formula_agrees_with_torch_over_a_grid(stage: str) -> None:
    """On the meta device: shapes without arithmetic."""
    compared = 0
    for size, kernel, padding, stride, dilation in GRID:
        if stage == "pooling" and padding > kernel // 2:
            continue  # torch.nn.MaxPool2d refuses it
        try:
            expected = output_size(size, kernel, stride=stride, padding=padding, dilation=dilation)
        except GeometryError:
            expected = None
        layer: nn.Module = (
            nn.Conv2d(1, 1, kernel, stride, padding, dilation, device="meta")
            if stage == "convolution"
            else nn.MaxPool2d(kernel, stride, padding, dilation)
        )
        image = torch.empty(1, 1, size, size, device="meta")
        if expected is None:
            with pytest.raises(RuntimeError):
                layer(image)
        else:
            assert layer(image).shape == (1, 1, expected, expected)
        compared += 1
    assert compared == {"convolution": 432, "pooling": 288}[stage]


@pytest.mark.parametrize(
    ("size", "kernel", "more"),
    [
        (0, 1, {}),
        (5, 0, {}),
        (5, 3, {"stride": 0}),
        (5, 3, {"padding": -1}),
        (5, 3, {"dilation": 0}),
        (5, 6, {}),
        (5, 3, {"dilation": 3}),
    ],
)
def test_sizes_that_make_no_sense_are_refused(size: int, kernel: int, more: dict[str, int]) -> None:
    with pytest.raises(GeometryError, match=r"at least|does not fit"):
        output_size(size, kernel, **more)
