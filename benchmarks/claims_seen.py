"""What a look at the numbers answers of the claims: no timing, seeded, float32 on the CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convnet.network import ConvNet

SEED = 0
POPULATION = 512  # images
BATCHES = (1, 2, 4, 8, 16, 32, 64)
DRAWS = 64  # batches of each size
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True, slots=True)
class Seen:
    """mean, variance:  of bn1's output per channel, the farthest from 0 and 1.
    deviation:       batch size → root mean square over channels and batches of (mean of the
                     batch − mean of all) / standard deviation of all.
    gradients:       the values that ReLU's gradient takes.
    killed, alive:   the largest gradient of conv1's weights to a unit that bn1's bias keeps below
                     0, and to that of the other units which has the least.
    dead:            share of relu1's units whose gradient is 0 for every image of the batch.
    pooled:          4 × 4 numbers after MaxPool2d((2, 2)).
    shapes:          stage → shape of its output for 32 images.
    views:           memory format → shape of `x.view(x.size(0), -1)`, or why there is none.
    flattened:       memory format → shape of `torch.flatten(x, 1)`.
    """

    mean: float
    variance: float
    deviation: Mapping[int, float]
    gradients: tuple[float, ...]
    killed: float
    alive: float
    dead: float
    pooled: tuple[tuple[float, ...], ...]
    shapes: Mapping[str, tuple[int, ...]]
    views: Mapping[str, tuple[int, ...] | str]
    flattened: Mapping[str, tuple[int, ...]]


def look() -> Seen:
    """Takes some seconds."""
    torch.manual_seed(SEED)
    net = ConvNet(10).train()
    with torch.no_grad():
        maps = torch.cat([net.model[0](images(32)) for _ in range(POPULATION // 32)])
        normal = net.model[1](maps)
    x = torch.tensor([-2.0, -0.5, 0.5, 3.0], requires_grad=True)
    nn.functional.relu(x).sum().backward()
    assert x.grad is not None
    off = {n: deviation(maps, n) for n in BATCHES}
    killed, alive = with_a_dead_unit()
    last = torch.zeros(32, 64, 5, 5)  # what pool2 gives
    grid = torch.arange(16.0).reshape(1, 1, 4, 4)
    return Seen(
        mean=float(normal.mean((0, 2, 3)).abs().max()),
        variance=float(normal.var((0, 2, 3), unbiased=False).sub(1).abs().max()) + 1,
        deviation=off,
        gradients=tuple(sorted(set(x.grad.tolist()))),
        killed=killed,
        alive=alive,
        dead=float((normal[:32] <= 0).all(0).float().mean()),
        pooled=tuple(map(tuple, nn.MaxPool2d((2, 2))(grid)[0, 0].tolist())),
        shapes=shapes(net),
        views={name: viewed(last.to(memory_format=one)) for name, one in FORMATS.items()},
        flattened={
            name: tuple(torch.flatten(last.to(memory_format=one), 1).shape)
            for name, one in FORMATS.items()
        },
    )


def with_a_dead_unit() -> tuple[float, float]:
    """`Seen.killed` and `Seen.alive`, of a backward of the sum of all outputs."""
    net = ConvNet(10).train()
    conv, norm = net.model[0], net.model[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.bias[0] = -100.0  # its outputs have a standard deviation of 1
    net(images(8)).sum().backward()
    assert conv.weight.grad is not None
    first, *others = conv.weight.grad.abs().amax((1, 2, 3)).tolist()
    return first, min(others)


def viewed(x: Tensor) -> tuple[int, ...] | str:
    """The shape of the seed's way to flatten, or torch's reason against it."""
    try:
        return tuple(x.view(x.size(0), -1).shape)
    except RuntimeError as error:
        return str(error).partition("(")[0].strip()


def images(count: int) -> Tensor:
    """Noise with a brightness and a contrast of its own for each image: (N, 3, 224, 224)."""
    brightness = torch.randn(count, 3, 1, 1)
    contrast = torch.rand(count, 1, 1, 1) + 0.5
    return contrast * torch.randn(count, 3, 224, 224) + brightness


def deviation(maps: Tensor, batch: int) -> float:
    """See `Seen`.  maps: (images, C, H, W)."""
    means = maps.mean((2, 3))  # (images, C)
    spread = maps.std((0, 2, 3))
    drawn = torch.stack([means[torch.randint(len(means), (batch,))].mean(0) for _ in range(DRAWS)])
    return float(((drawn - means.mean(0)) / spread).square().mean().sqrt())


def shapes(net: ConvNet) -> dict[str, tuple[int, ...]]:
    """Traced by hooks, for 32 images."""
    found: dict[str, tuple[int, ...]] = {}
    stages: Sequence[tuple[str, nn.Module]] = [
        *((f"model.{place}", module) for place, module in enumerate(net.model)),
        ("flatten", net.flatten),
        ("fc", net.fc),
    ]

    def keep(name: str) -> None:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            found[name] = tuple(output.shape)

        handles.append(dict(stages)[name].register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, _ in stages:
        keep(name)
    with torch.no_grad():
        net(torch.zeros(32, 3, 224, 224))
    for handle in handles:
        handle.remove()
    return found
