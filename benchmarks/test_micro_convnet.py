"""Microbenchmarks of the ConvNet and each of its layers, through pytest-benchmark.

    pytest benchmarks --benchmark-autosave
    pytest benchmarks --benchmark-compare --benchmark-histogram -k "training and conv"

Latency of one call on every device found.  A layer is given what it is given inside the network.
"""

import pytest

from bench.pytest_plugin import Bench
from bench.worker.device.device import device_names
from convnet.network import ConvNet

BATCH = 8
MODES = ("inference", "training")


@pytest.mark.parametrize("device", device_names())
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.benchmark(group="convnet")
def test_convnet(bench_case: Bench, mode: str, device: str) -> None:
    output = bench_case("convnet", mode=mode, batch=BATCH, device=device)
    assert output.shape == (BATCH, 7)


@pytest.mark.parametrize("device", device_names())
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layer", list(ConvNet.layer_names.values()))
@pytest.mark.benchmark(group="layers")
def test_layer(bench_case: Bench, layer: str, mode: str, device: str) -> None:
    output = bench_case(f"convnet/{layer}", mode=mode, batch=BATCH, device=device)
    assert output.shape[0] == BATCH
