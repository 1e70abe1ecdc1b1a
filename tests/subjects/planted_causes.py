"""Networks with one planted cause of a slowdown each, at a known place.

`build("resnet", "item", "layer1.0.conv1")` is the network after an edit of that layer's forward.
`TRIALS` says which module and which operators an explanation has to name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convnet.network import ConvNet

CHANNELS, WIDTH, TOKENS = 32, 128, 64


class Block(nn.Module):
    """A residual block whose second convolution has a group for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.bn1(self.conv1(x)))
        out: Tensor = self.act(self.bn2(self.conv2(y)) + x)
        return out


class ResNet(nn.Module):
    """Input (N, 3, 64, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU())
        self.layer1 = nn.Sequential(Block(CHANNELS), Block(CHANNELS))
        self.down = nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, stride=2, padding=1)
        self.layer2 = nn.Sequential(Block(2 * CHANNELS), Block(2 * CHANNELS))
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(2 * CHANNELS, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.stem(x))
        x = self.layer2(self.down(x))
        out: Tensor = self.fc(self.drop(x).mean((2, 3)))
        return out


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        weights = (q @ k.transpose(-1, -2) / WIDTH**0.5).softmax(-1)
        out: Tensor = self.proj(weights @ v)
        return out


class Transformer(nn.Module):
    """One block.  Input (N, 64, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = self.drop(x + self.mlp(self.norm2(x)))
        return out


def _edit(layer: nn.Module, forward: Callable[..., Any]) -> None:
    """Give a layer another forward, as an edit of its source does: its class keeps its name."""
    own = type(layer)
    layer.__class__ = type(own.__name__, (own,), {"forward": forward, "plain": own.forward})


def _contiguous(net: nn.Module, name: str) -> None:
    def forward(self: Any, x: Tensor) -> Any:
        return self.plain(x.transpose(1, -1).contiguous().transpose(1, -1).contiguous())

    _edit(net.get_submodule(name), forward)


def _item(net: nn.Module, name: str) -> None:
    def forward(self: Any, x: Tensor) -> Any:
        if x.detach().abs().mean().item() < 0:
            raise ValueError("never")
        return self.plain(x)

    _edit(net.get_submodule(name), forward)


def _float64(net: nn.Module, name: str) -> None:
    layer = net.get_submodule(name).double()

    def forward(self: Any, x: Tensor) -> Any:
        return self.plain(x.double()).float()

    _edit(layer, forward)


def _channels_last_lost(net: nn.Module, name: str) -> None:
    def forward(self: Any, x: Tensor) -> Any:
        return self.plain(x.contiguous())

    _edit(net.get_submodule(name), forward)


def _left_in_training(net: nn.Module, name: str) -> None:
    layer = net.get_submodule(name)
    layer.train()
    layer.train = lambda mode=True: layer  # type: ignore[method-assign, assignment]  # noqa: ARG005


def _python_loop(net: nn.Module, name: str) -> None:
    def forward(self: Any, x: Tensor) -> Any:
        total = 0
        for number in range(100_000):
            total += number
        return self.plain(x)

    _edit(net.get_submodule(name), forward)


def _loop_over_images(net: nn.Module, name: str) -> None:
    def forward(self: Any, x: Tensor) -> Any:
        return torch.cat([self.plain(one.unsqueeze(0)) for one in x])

    _edit(net.get_submodule(name), forward)


def _roundtrip(net: nn.Module, name: str) -> None:
    def forward(self: Any, x: Tensor) -> Any:
        return self.plain(x.to(torch.float64).to(torch.float32))

    _edit(net.get_submodule(name), forward)


def _checkpointed(net: nn.Module, name: str) -> None:
    outer, _, last = name.rpartition(".")
    owner = net.get_submodule(outer)
    layer = net.get_submodule(name)

    def forward(self: Any, x: Tensor) -> Any:
        return checkpoint(self.plain, x, use_reentrant=False)

    assert getattr(owner, last) is layer
    _edit(layer, forward)


def _padding_mode(net: nn.Module, name: str) -> None:
    _replace(net, name, padding_mode="circular")


def _groups(net: nn.Module, name: str) -> None:
    _replace(net, name, groups=1)


def _kernel(net: nn.Module, name: str) -> None:
    old = net.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    size = old.kernel_size[0] + 4
    _replace(net, name, kernel_size=size, padding=int(old.padding[0]) + 2)


def _replace(net: nn.Module, name: str, **changes: Any) -> None:
    old = net.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    settings = {
        "in_channels": old.in_channels,
        "out_channels": old.out_channels,
        "kernel_size": old.kernel_size,
        "stride": old.stride,
        "padding": old.padding,
        "groups": old.groups,
        "bias": old.bias is not None,
        **changes,
    }
    net.set_submodule(name, nn.Conv2d(**settings))


def _extra_layer(net: nn.Module, name: str) -> None:
    """Insert a layer into a `nn.Sequential` before the one with this name."""
    outer, _, place = name.rpartition(".")
    inside = net.get_submodule(outer)
    assert isinstance(inside, nn.Sequential)
    before = inside[int(place) - 1]
    channels = next(
        one.out_channels if isinstance(one, nn.Conv2d) else one.out_features
        for one in reversed(list(before.modules()))
        if isinstance(one, nn.Conv2d | nn.Linear)
    )
    is_image = any(isinstance(one, nn.Conv2d) for one in inside.modules())
    new = nn.Conv2d(channels, channels, 3, padding=1) if is_image else nn.Linear(channels, channels)
    inside.insert(int(place), new)


def _optimizer_foreach(_net: nn.Module, _name: str) -> None:
    """Let SGD update all parameters in a few operators; on a CPU it loops over them otherwise.

    This changes torch for the whole process, so only a process of its own may build it.
    """
    own = torch.optim.SGD.__init__

    def init(self: torch.optim.SGD, params: Any, **given: Any) -> None:
        own(self, params, **{**given, "foreach": True})

    torch.optim.SGD.__init__ = init  # type: ignore[method-assign]


def _graph_break(net: nn.Module, name: str) -> None:
    def forward(self: Any, x: Tensor) -> Any:
        torch._dynamo.graph_break()  # type: ignore[no-untyped-call, attr-defined]
        return self.plain(x)

    _edit(net.get_submodule(name), forward)


PLANTS: Mapping[str, Callable[[nn.Module, str], None]] = {
    "contiguous": _contiguous,
    "item": _item,
    "float64": _float64,
    "channels_last_lost": _channels_last_lost,
    "left_in_training": _left_in_training,
    "python_loop": _python_loop,
    "loop_over_images": _loop_over_images,
    "roundtrip": _roundtrip,
    "checkpointed": _checkpointed,
    "padding_mode": _padding_mode,
    "groups": _groups,
    "kernel": _kernel,
    "extra_layer": _extra_layer,
    "optimizer_foreach": _optimizer_foreach,
    "graph_break": _graph_break,
}
NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], str, int]] = {
    "resnet": (ResNet, "3,64,64", 8),
    "transformer": (Transformer, "64,128", 16),
    "convnet": (ConvNet, "3,224,224", 4),
}


def build(network: str, plant: str = "", layer: str = "") -> nn.Module:
    """Return a network, with a plant if one is given."""
    torch.manual_seed(0)
    net = NETWORKS[network][0]()
    if plant:
        PLANTS[plant](net, layer)
    return net


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A plant, and what the first sentence has to name."""

    network: str
    plant: str
    layer: str
    mode: str = "inference"
    memory_format: str = "contiguous"
    compile: str = "off"
    names: tuple[str, ...]  # one of these modules
    operators: tuple[str, ...]  # one of these texts

    @property
    def before(self) -> str:
        """The subject without the cause."""
        more = ", 'optimizer_foreach'" if self.plant == "optimizer_loop" else ""
        return f"{__name__}:build({self.network!r}{more})"

    @property
    def after(self) -> str:
        """The subject with the cause."""
        if self.plant == "optimizer_loop":
            return f"{__name__}:build({self.network!r})"
        return f"{__name__}:build({self.network!r}, {self.plant!r}, {self.layer!r})"


COPIES = ("aten::copy_", "aten::clone", "aten::contiguous", "aten::_to_copy", "aten::to")
READS = ("aten::item", "aten::_local_scalar_dense", "aten::abs", "aten::mean", "aten::sum")
CONVOLVES = ("convolution", "conv2d", "kernel_size", "groups=", "Conv2d")
MULTIPLIES = ("aten::addmm", "aten::mm", "aten::linear", "Linear")
BETWEEN = ("between operators",)


def _trial(network: str, plant: str, layer: str, operators: tuple[str, ...], **more: Any) -> Trial:
    return Trial(
        network=network,
        plant=plant,
        layer=layer,
        operators=operators,
        names=more.pop("names", (layer,)),
        **more,
    )


TRAINING: dict[str, Any] = {"mode": "training"}
LAST: dict[str, Any] = {"memory_format": "channels_last"}
TRIALS: tuple[Trial, ...] = (
    _trial("resnet", "contiguous", "layer1.0.conv1", COPIES),
    _trial("resnet", "contiguous", "layer2.1.bn2", COPIES, **TRAINING),
    _trial("transformer", "contiguous", "attn.proj", COPIES),
    _trial("transformer", "contiguous", "mlp", COPIES, **TRAINING),
    _trial("convnet", "contiguous", "model.4", COPIES, names=("conv2",)),
    _trial("resnet", "item", "layer1.1", READS),
    _trial("resnet", "item", "layer2.0.bn1", READS, **TRAINING),
    _trial("transformer", "item", "norm2", READS),
    _trial("transformer", "item", "attn", READS, **TRAINING),
    _trial("convnet", "item", "model.1", READS, names=("bn1",)),
    _trial("resnet", "float64", "layer1.0.conv1", (*COPIES, *CONVOLVES)),
    _trial("resnet", "float64", "layer2.1.conv1", (*COPIES, *CONVOLVES), **TRAINING),
    _trial("transformer", "float64", "mlp.0", (*COPIES, *MULTIPLIES)),
    _trial("convnet", "float64", "model.4", (*COPIES, *CONVOLVES), names=("conv2",)),
    _trial("resnet", "channels_last_lost", "layer1.1.conv1", COPIES, **LAST),
    _trial("resnet", "channels_last_lost", "layer2.0", COPIES, **LAST, **TRAINING),
    _trial("convnet", "channels_last_lost", "model.4", COPIES, **LAST, names=("conv2",)),
    _trial("resnet", "left_in_training", "drop", ("bernoulli", "dropout")),
    _trial("transformer", "left_in_training", "drop", ("bernoulli", "dropout")),
    _trial("resnet", "left_in_training", "layer1.1.bn1", ("mode", "norm")),
    _trial("convnet", "left_in_training", "model.1", ("mode", "norm"), names=("bn1",)),
    _trial("resnet", "python_loop", "layer2.0", BETWEEN),
    _trial("transformer", "python_loop", "attn", BETWEEN),
    _trial("convnet", "python_loop", "model.2", BETWEEN, names=("relu1",)),
    _trial("resnet", "loop_over_images", "layer1.0.bn1", ("aten::",)),
    _trial("transformer", "loop_over_images", "mlp.2", ("aten::",)),
    _trial("resnet", "roundtrip", "layer1.1.conv2", COPIES),
    _trial("transformer", "roundtrip", "norm1", COPIES, **TRAINING),
    _trial("resnet", "checkpointed", "layer1.0", ("again", "aten::"), **TRAINING),
    _trial("transformer", "checkpointed", "mlp", ("again", "aten::"), **TRAINING),
    _trial("resnet", "padding_mode", "layer1.0.conv1", ("padding_mode", "aten::")),
    _trial("resnet", "padding_mode", "layer2.0.conv1", ("padding_mode",), **TRAINING),
    _trial("resnet", "groups", "layer1.1.conv2", CONVOLVES),
    _trial("resnet", "kernel", "layer1.0.conv1", CONVOLVES),
    _trial("convnet", "kernel", "model.4", CONVOLVES, names=("conv2",)),
    _trial("resnet", "extra_layer", "layer1.1", CONVOLVES),
    _trial("transformer", "extra_layer", "mlp.1", MULTIPLIES),
    _trial("resnet", "optimizer_loop", "", ("aten::",), **TRAINING, names=("(optimizer)",)),
    _trial("transformer", "optimizer_loop", "", ("aten::",), **TRAINING, names=("(optimizer)",)),
    _trial("resnet", "graph_break", "layer1.1", ("graph break",), compile="default"),
)
