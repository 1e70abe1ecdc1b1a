"""Answer claims about the layers of the ConvNet by numbers, and write docs/convnet.md.

python -m experiments.convnet_layers            measures first, for over two minutes
python -m experiments.convnet_layers RUN        takes the times from a finished run
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.compare.groups import Span
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.insights.insight import factor
from bench.results.loading import load
from bench.results.results import Medians, Results
from bench.stats import ratios
from convnet.network import ConvNet

Rows = Mapping[tuple[str | None, str | None, int | None], Row]  # by subject, mode and batch

CONFIG = Path(__file__).with_suffix(".toml")
TEMPLATE = Path(__file__).with_suffix(".md")
PAGE = Path("docs/convnet.md")
BARE = "experiments.convnet_layers:without_pooling"
BATCHES = (1, 2, 4, 8, 16, 32, 64)  # as in CONFIG
SHAPES = [  # after each stage, for 32 images, as the notes have them
    *[(32, 32, 55, 55)] * 3,
    (32, 32, 27, 27),
    *[(32, 64, 11, 11)] * 3,
    (32, 64, 5, 5),
    (32, 1600),
    (32, 10),
]


def without_pooling() -> nn.Module:
    """The ConvNet but for its two poolings: (N, 3, 224, 224) → (N, 7)."""
    kept = [one for one in ConvNet().model if not isinstance(one, nn.MaxPool2d)]
    return nn.Sequential(*kept, nn.Flatten(), nn.Linear(64 * 25 * 25, 7))


def answer(holds: bool, yes: str = "true", no: str = "not found") -> str:
    return yes if holds else no


def seen() -> dict[str, Any]:
    """Return the answers that need no clock: seeded, float32 on the CPU."""
    torch.manual_seed(0)
    net = ConvNet(10).train()
    with torch.no_grad():
        maps = torch.cat([net.model[0](images(32)) for _ in range(16)])
        normal = net.model[1](maps)
    mean = float(normal.mean((0, 2, 3)).abs().max())
    variance = float(normal.var((0, 2, 3), unbiased=False).sub(1).abs().max())
    off_1, off_64 = mean_off(maps, 1), mean_off(maps, 64)
    x = torch.tensor([-2.0, -0.5, 0.5, 3.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(nn.functional.relu(x).sum(), x)
    killed, alive = gradients_with_a_dead_unit()
    kept = nn.MaxPool2d(2)(torch.arange(16.0).reshape(1, 1, 4, 4)).flatten()
    shapes = list(stage_shapes(net))
    last = torch.zeros(32, 64, 5, 5)
    strided = last.to(memory_format=torch.channels_last)
    return {
        "mean": mean,
        "variance": variance,
        "normalises": answer(max(mean, variance) < 1e-2, "true, in training mode"),
        "off_1": off_1,
        "off_64": off_64,
        "power": math.log(off_64 / off_1) / math.log(64),
        "small_batch": answer(off_1 > 2 * off_64),
        "gradients": numbers(gradient.unique()),
        "relu_gradient": answer(numbers(gradient.unique()) == "0, 1"),
        "killed": killed,
        "alive": alive,
        "unused": float((normal[:32] <= 0).all(0).float().mean()),
        "dead": answer(killed == 0 < alive),
        "kept": numbers(kept),
        "lost": 16 - len(kept),
        "loses": answer(numbers(kept) == "5, 7, 13, 15"),
        "linear": answer(shapes[-3:] == SHAPES[-3:]),
        "linear_shapes": " → ".join(map(str, shapes[-3:])),
        "view": answer(viewed(last) == viewed(strided), no="true for contiguous alone"),
        "view_contiguous": viewed(last),
        "view_channels_last": viewed(strided),
        "flat_contiguous": tuple(last.flatten(1).shape),
        "flat_channels_last": tuple(strided.flatten(1).shape),
        "stages": answer(shapes == SHAPES),
        "all_shapes": " → ".join(map(str, shapes)),
    }


def timed(data: Results) -> dict[str, Any]:
    """Return the answers from a run of CONFIG."""
    rows = {
        (row.subject, row.mode, row.batch): row
        for row in data.rows
        if row.status == "ok" and row.phase == whole_phase(str(row.mode))
    }
    machine = data.description.machine.written()
    torch_version = data.description.environment.torch
    return {
        "machine": f"{machine['cpu_model']}, {machine['cores']} cores, torch {torch_version}",
        **large_batches(rows, data.medians),
        **sigmoid_against_relu(rows, data.medians),
        **pooling(rows),
    }


def large_batches(rows: Rows, medians: Medians) -> dict[str, Any]:
    """Compare the time per image of batch norm in training over the batch sizes."""
    normal = {n: rows["convnet/bn1", "training", n] for n in BATCHES}
    best = min(BATCHES, key=lambda n: latency_s(normal[n]) / n)
    longer = times_as_long(medians, normal[best], normal[64], best / 64, len(BATCHES) - 1)
    return {
        "images": ", ".join(
            f"{units.seconds(latency_s(normal[n]) / n)} an image at N={n}"
            for n in sorted({1, best, 64})
        ),
        "longer": factor(longer),
        "best": best,
        "batches": len(BATCHES),
        "large_batch": answer((longer.low or 0) > 1, "true here", "no difference found"),
    }


def sigmoid_against_relu(rows: Rows, medians: Medians) -> dict[str, Any]:
    """Compare the times of Sigmoid and ReLU in inference."""
    pairs = {
        n: (rows["torch.nn:ReLU", "inference", n], rows["torch.nn:Sigmoid", "inference", n])
        for n in (8, 32)
    }
    longer = {n: times_as_long(medians, relu, other) for n, (relu, other) in pairs.items()}
    return {
        "relu_times": "; ".join(
            f"at N={n} {units.seconds(latency_s(relu))} against {units.seconds(latency_s(other))}, "
            f"{factor(longer[n])} as long"
            for n, (relu, other) in pairs.items()
        ),
        "relu": answer(
            all((span.low or 0) > 1 for span in longer.values()),
            no="no difference found at every batch size",
        ),
    }


def pooling(rows: Rows) -> dict[str, Any]:
    """Compare the peak memory of the ConvNet with and without pooling at N = 32."""
    peaks = {
        mode: [rows[subject, mode, 32].peak_bytes or 0 for subject in ("convnet", BARE)]
        for mode in ("inference", "training")
    }
    return {
        "peaks": "; ".join(
            f"{mode} {units.bytes_(pooled)} with, {units.bytes_(bare)} without "
            f"(×{bare / pooled:.2f})"
            for mode, (pooled, bare) in peaks.items()
        ),
        "pooling": answer(all(0 < pooled < bare for pooled, bare in peaks.values())),
    }


def times_as_long(medians: Medians, base: Row, value: Row, scale: float = 1.0, of: int = 1) -> Span:
    """Return value / base by replicate.  of: number of choices (Bonferroni)."""
    one, other = (
        medians[row.run_id, str(row.case_id), str(row.phase), "latency"] for row in (value, base)
    )
    found = ratios.paired(one, other)
    assert found is not None, f"{base.case_id} and {value.case_id} share no replicate"
    low, high = found.interval(1 - 0.05 / of) or (math.nan, math.nan)
    return Span(found.ratio * scale, low * scale, high * scale)


def latency_s(row: Row) -> float:
    assert row.latency_median_s is not None
    return row.latency_median_s


def images(count: int) -> Tensor:
    """Noise with a brightness and a contrast of its own for each image: (N, 3, 224, 224)."""
    contrast = torch.rand(count, 1, 1, 1) + 0.5
    return contrast * torch.randn(count, 3, 224, 224) + torch.randn(count, 3, 1, 1)


def mean_off(maps: Tensor, batch: int) -> float:
    """Return the distance of 64 batches' means from the mean of all: RMS, in SDs."""
    means = maps.mean((2, 3))  # (images, C)
    drawn = torch.stack([means[torch.randint(len(means), (batch,))].mean(0) for _ in range(64)])
    return float(((drawn - means.mean(0)) / maps.std((0, 2, 3))).square().mean().sqrt())


def gradients_with_a_dead_unit() -> tuple[float, float]:
    """The largest gradient of a unit without positive input, and the least of the others'."""
    net = ConvNet(10).train()
    with torch.no_grad():
        net.get_parameter("model.1.bias")[0] = -100.0
    (gradient,) = torch.autograd.grad(net(images(8)).sum(), net.get_parameter("model.0.weight"))
    first, *others = gradient.abs().amax((1, 2, 3)).tolist()
    return first, min(others)


def stage_shapes(net: ConvNet) -> Iterator[tuple[int, ...]]:
    x = torch.zeros(32, 3, 224, 224)
    for stage in (*net.model, net.flatten, net.fc):
        x = stage(x).detach()
        yield tuple(x.shape)


def viewed(x: Tensor) -> str:
    """The shape of `x.view(x.size(0), -1)`, or torch's reason against it."""
    try:
        return str(tuple(x.view(x.size(0), -1).shape))
    except RuntimeError as error:
        return str(error).partition("(")[0].strip()


def numbers(values: Tensor) -> str:
    return ", ".join(f"{one:g}" for one in values.tolist())


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = sys.argv[1] if len(sys.argv) > 1 else f"{scratch}/run"
        if len(sys.argv) < 2:
            command = [sys.executable, "-m", "bench", "run", "--config", str(CONFIG), "--out", run]
            subprocess.run(command, check=True)
        figures = seen() | timed(load(Path(run)))
    PAGE.write_text(TEMPLATE.read_text(encoding="utf-8").format(**figures), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
