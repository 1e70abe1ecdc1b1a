"""Sizes of convolutions and poolings, by the formula.  Pure: no torch.

O = ⌊(I − K + 2P) / S⌋ + 1, where with a dilation D the kernel reaches D·(K − 1) + 1 wide.
Source: the shape sections of torch.nn.Conv2d and torch.nn.MaxPool2d.
"""

from dataclasses import dataclass

FLOAT32_BYTES = 4


class GeometryError(ValueError):
    """Sizes between which no output exists."""


def output_size(
    size: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Length of the output along one side, in pixels.

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
    """The same for a pooling, whose stride is its kernel where none is given."""
    return output_size(size, kernel, stride=stride or kernel, padding=padding, dilation=dilation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A square convolution of (N, in_channels, H, W)."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    bias: bool = True

    def output(self, size: int) -> int:
        """Side of the output for a side of the input: pixels.  Raises GeometryError."""
        return output_size(
            size,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    @property
    def parameters(self) -> int:
        """Weights and biases.  One filter has in_channels·K·K weights."""
        one_filter = self.in_channels * self.kernel**2
        return self.out_channels * (one_filter + int(self.bias))

    def multiply_adds(self, size: int, batch: int = 1) -> int:
        """Multiplications with their additions of a forward pass; FLOPs are twice as many."""
        one_filter = self.in_channels * self.kernel**2
        return batch * self.out_channels * self.output(size) ** 2 * one_filter

    def moved_bytes(self, size: int, batch: int = 1, element_bytes: int = FLOAT32_BYTES) -> int:
        """Least traffic of a forward pass: input, output and parameters once each."""
        values = batch * self.in_channels * size**2
        results = batch * self.out_channels * self.output(size) ** 2
        return element_bytes * (values + results + self.parameters)
