"""Changes of memory format along the layers."""

import torch
from torch import Tensor, nn

from bench.worker.checks import layout_changes

from .models import Residual

IMAGE = torch.randn(2, 3, 8, 8)
LAST = IMAGE.contiguous(memory_format=torch.channels_last)


class Packs(nn.Module):
    """Gives its input in the default layout."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous()


class Unpacks(nn.Module):
    """Gives its input in channels_last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)


def flips(module: nn.Module, image: Tensor) -> int:
    return layout_changes.flips(module, lambda: module(image))


def test_a_network_that_keeps_its_layout_has_no_flips() -> None:
    assert flips(Residual(), IMAGE) == 0
    assert flips(Residual(), LAST) == 0


def test_a_layer_that_packs_its_input_is_one_flip() -> None:
    assert flips(nn.Sequential(nn.ReLU(), Packs(), nn.ReLU()), LAST) == 1


def test_a_packing_between_two_layers_is_one_flip() -> None:
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.two(self.one(x).contiguous()))

    assert flips(Between(), LAST) == 1


def test_back_and_forth_is_two() -> None:
    assert flips(nn.Sequential(nn.ReLU(), Packs(), Unpacks()), LAST) == 2


def test_one_channel_or_one_pixel_is_both_layouts_and_no_flip() -> None:
    pooled = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), Packs(), nn.ReLU())
    assert flips(pooled, LAST) == 0


def test_the_hooks_are_gone_afterwards() -> None:
    module = nn.Sequential(nn.ReLU())
    flips(module, IMAGE)
    assert not module[0]._forward_hooks
    assert not module[0]._forward_pre_hooks
