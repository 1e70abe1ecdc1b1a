"""The network: two blocks of convolution, normalisation, ReLU and pooling, and a classifier."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from convnet.geometry import Convolution, GeometryError, pooled_size

CONV1 = Convolution(out_channels=32, kernel=8, stride=4)
CONV2 = Convolution(out_channels=64, kernel=7, stride=2)
POOL = 2
SEED = 0


def feature_size(image_size: int) -> int:
    """Return the side of the map that reaches the classifier: 224 → 5.  Raises GeometryError."""
    size = CONV1.output(image_size)
    size = pooled_size(size, POOL)
    size = CONV2.output(size)
    return pooled_size(size, POOL)


def smallest_image() -> int:
    """Return the smallest image_size that leaves a pixel to classify."""
    size = 1
    while True:
        try:
            feature_size(size)
        except GeometryError:
            size += 1
        else:
            return size


class ConvNet(nn.Module):
    """A small classifier of square images.

    Input (N, in_channels, image_size, image_size), output (N, class_n).

    Raises ValueError for an image_size that is too small, naming the smallest that works.
    """

    # The names of the layers in the order of the forward pass.
    layer_names: ClassVar[Mapping[str, str]] = {
        "model.0": "conv1",
        "model.1": "bn1",
        "model.2": "relu1",
        "model.3": "pool1",
        "model.4": "conv2",
        "model.5": "bn2",
        "model.6": "relu2",
        "model.7": "pool2",
        "flatten": "flatten",
        "fc": "fc",
    }

    def __init__(self, class_n: int = 7, *, in_channels: int = 3, image_size: int = 224) -> None:
        super().__init__()
        try:
            side = feature_size(image_size)
        except GeometryError:
            raise ValueError(
                f"image_size {image_size} is too small for this network; the smallest that works "
                f"is {smallest_image()}"
            ) from None
        self.class_n, self.in_channels, self.image_size = class_n, in_channels, image_size
        first, second = CONV1.out_channels, CONV2.out_channels
        self.model = nn.Sequential(
            nn.Conv2d(in_channels, first, CONV1.kernel, CONV1.stride),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d((POOL, POOL)),
            nn.Conv2d(first, second, CONV2.kernel, CONV2.stride),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.MaxPool2d((POOL, POOL)),
        )
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(second * side**2, class_n)
        self._classes: dict[tuple[int, str], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → (N, class_n), in any memory format."""
        logits: Tensor = self.fc(self.flatten(self.model(x)))
        return logits

    def example_inputs(self, batch: int) -> tuple[Tensor]:
        """Seeded normal images (batch, in_channels, image_size, image_size), float32, CPU."""
        numbers = torch.Generator().manual_seed(SEED)
        shape = (batch, self.in_channels, self.image_size, self.image_size)
        return (torch.randn(shape, generator=numbers),)

    def loss(self, output: Tensor) -> Tensor:
        """Cross-entropy of (N, class_n) to seeded classes: a scalar.

        The classes are made once per batch size and device, so that a timed step does not pay
        for making them.
        """
        key = (output.shape[0], str(output.device))
        if key not in self._classes:
            numbers = torch.Generator().manual_seed(SEED)
            classes = torch.randint(self.class_n, key[:1], generator=numbers)
            self._classes[key] = classes.to(output.device)
        return nn.functional.cross_entropy(output, self._classes[key])
