"""Variants of the ConvNet that its claims are held against."""

from collections import OrderedDict

from torch import nn

from convnet.network import ConvNet


def without_pooling(class_n: int = 7) -> nn.Module:
    """The ConvNet but for its two poolings: (N, 3, 224, 224) → (N, class_n).

    conv1 gives 55 × 55, conv2 of that 25 × 25: the linear layer gets 64 · 25 · 25 features.
    """
    whole = ConvNet(class_n)
    kept = [module for module in whole.model if not isinstance(module, nn.MaxPool2d)]
    parts = [("model", nn.Sequential(*kept)), ("flatten", nn.Flatten())]
    return nn.Sequential(OrderedDict([*parts, ("fc", nn.Linear(64 * 25 * 25, class_n))]))
