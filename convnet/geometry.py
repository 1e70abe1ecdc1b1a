"""Sizes of convolutions and poolings, by the formula.  Pure: no torch.

O = ⌊(I − K + 2P) / S⌋ + 1, where with a dilation D the kernel reaches D·(K − 1) + 1 wide.
Source: the shape sections of torch.nn.Conv2d and torch.nn.MaxPool2d.
"""

from dataclasses import dataclass


class GeometryError(ValueError):
    """Sizes between which no output exists."""


def output_size(
    size: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return the length of the output along one side, in pixels.

    Raises GeometryError for sizes that make no sense, or where the kernel does not fit.
    """
    if min(size, kernel, stride, dilation) < 1 or padding < 0:
        raise GeometryError(
            f"size {size}, kernel {kernel}, stride {stride} and dilation {dilation} have to be at "
            f"least 1, padding {padding} at least 0"
        )
    reach = dilation * (kernel - 1) + 1
    room = size + 2 * padding - reach
    if room < 0:
        raise GeometryError(
            f"a kernel that reaches {reach} does not fit into {size} with padding {padding}"
        )
    return room // stride + 1


def pooled_size(
    size: int, kernel: int, *, stride: int | None = None, padding: int = 0, dilation: int = 1
) -> int:
    """Return the length of a pooling's output, whose stride is its kernel where none is given."""
    return output_size(size, kernel, stride=stride or kernel, padding=padding, dilation=dilation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A square convolution without padding."""

    out_channels: int
    kernel: int
    stride: int

    def output(self, size: int) -> int:
        """Return the side of the output for a side of the input: pixels.  Raises GeometryError."""
        return output_size(size, self.kernel, stride=self.stride)
