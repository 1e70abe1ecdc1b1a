"""Guesses an input for a network: from its own attributes, else from its first layer.

Every guess is tried in a call before it is used.
"""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from bench.worker.model import inputs, lazy

MOST_S = 10.0  # of a trial; a guess that takes longer is dropped
IMAGE_SIZES = (224, 32, 28, 64, 299)  # ImageNet, CIFAR, MNIST, small ones, Inception
SIGNAL_SIZES = (1024, 128, 16_000)
VIDEO = "16,112,112"  # frames, height, width: as torchvision's video networks take them
TOKENS = 64
# Attributes in which packages keep the size that a network was made for: timm (`pretrained_cfg`,
# earlier `default_cfg`), torchvision's VisionTransformer (`image_size`), and others (`img_size`).
CONFIGS = ("pretrained_cfg", "default_cfg")
SIZES = ("image_size", "img_size", "input_size")


def spec(module: nn.Module) -> str | None:
    """Return a value of the axis `input` with which a call succeeds, such as `3,224,224`, or None.

    The network is called in eval mode without gradients, on two images, and is left in the mode in
    which it was.
    """
    end = time.monotonic() + MOST_S
    modes = [(inner, inner.training) for inner in module.modules()]
    try:
        module.eval()
        for one in dict.fromkeys(_candidates(module)):
            if time.monotonic() > end:
                return None
            if _accepts(module, one):
                return one
    except Exception:  # an attribute of a subject may raise anything: nothing is known then
        return None
    finally:
        for inner, training in modes:
            inner.training = training
    return None


def _candidates(module: nn.Module) -> Iterator[str]:
    first = next((one for one in module.modules() if isinstance(one, _FIRST)), None)
    if first is None or lazy.lacks_sizes(module):
        return
    match first:
        case nn.Conv2d():
            for size in (*_declared_sizes(module), *IMAGE_SIZES):
                yield f"{first.in_channels},{size},{size}"
        case nn.Conv1d():
            for size in SIGNAL_SIZES:
                yield f"{first.in_channels},{size}"
        case nn.Conv3d():
            yield f"{first.in_channels},{VIDEO}"
        case nn.Embedding():
            yield f"{TOKENS}:int64<{first.num_embeddings}"
        case nn.Linear():
            yield f"{first.in_features}"
            yield f"{TOKENS},{first.in_features}"


_FIRST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.Linear)


def _declared_sizes(module: nn.Module) -> Iterator[int]:
    """Return the sizes of an image that the network's attributes name."""
    for name in CONFIGS:
        config: Any = getattr(module, name, None)
        get = getattr(config, "get", lambda key, config=config: getattr(config, key, None))
        yield from _size(get("input_size"))
    for name in SIZES:
        yield from _size(getattr(module, name, None))


def _size(given: Any) -> Iterator[int]:
    """Return the size: 224, (224, 224) or (3, 224, 224) → 224."""
    if isinstance(given, tuple | list) and given and len(set(given[-2:])) == 1:
        given = given[-1]
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        yield given


def _accepts(module: nn.Module, text: str) -> bool:
    try:
        args, kwargs = inputs.make(text, module, 2, torch.float32)
        with torch.no_grad():
            module(*args, **kwargs)
    except Exception:  # a forward may raise anything about a wrong input
        return False
    return True
