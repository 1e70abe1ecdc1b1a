"""A made-up run that looks like a real one: the ConvNet and its layers, on a CPU and a GPU.

Deterministic; the durations follow from a few rules, so that a test can say what they are.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.core.records import Case, Entry, Measurement, Samples, StaticMetrics
from tests.support.cases import case

LAYERS: Mapping[str, float] = {  # name → seconds of a forward at batch 8 on the CPU
    "conv1": 2.6e-3,
    "bn1": 0.7e-3,
    "relu1": 0.35e-3,
    "pool1": 1.1e-3,
    "conv2": 3.4e-3,
    "bn2": 0.09e-3,
    "relu2": 0.03e-3,
    "pool2": 0.06e-3,
    "flatten": 2.1e-6,
    "fc": 0.04e-3,
}
FORWARD_S = 9e-3  # of the whole, likewise
TRAINING = {"forward": 1.1, "backward": 1.9, "optimizer": 0.12}  # times the forward
SETTINGS: Sequence[Mapping[str, Any]] = (
    {},
    {"memory_format": "channels_last"},
    {"amp": "bfloat16"},
    {"compile": "default"},
    {"allocator": "system"},
)
FACTOR = {"channels_last": 0.86, "bfloat16": 4.2, "default": 0.71, "system": 1.25}
GPU_FACTOR = {"channels_last": 0.8, "bfloat16": 0.55, "default": 0.62}
FACT_BYTES = 12_000_000  # alive whatever the batch
IMAGE_BYTES = 1_450_000

LISTED = {"convnet": [{"name": f"m.{n}", "alias": n, "same_as": []} for n in LAYERS]}


def entries(*, gpu: bool = False, replicates: int = 5, layers: bool = True) -> list[Entry]:
    """The journal of the run, case by case."""
    rng = random.Random(0)
    found: list[Entry] = []
    for one in _cases(gpu=gpu, layers=layers):
        base_s = _forward_s(one)
        found.extend(measured(one, base_s, replicates, rng))
        found.append(StaticMetrics(case=one, metrics={"relative_error": 1e-6}))
        if "/" not in one.subject:
            half = 0.6 if one.amp != "off" else 1.0
            per_image = IMAGE_BYTES * (2.2 if one.mode == "training" else 1.0) * half
            peak = {"peak_bytes": round(FACT_BYTES + per_image * one.batch)}
            found.append(StaticMetrics(case=one, metrics=peak))
    return found


def _cases(*, gpu: bool, layers: bool) -> Iterator[Case]:
    where: list[dict[str, Any]] = [{"device": "cpu"}]
    if gpu:
        off = {"cudnn_benchmark": "off", "tf32": "off", "threads": None, "allocator": None}
        where.append({"device": "cuda:0", **off})
    for on in where:
        for mode in ("inference", "training"):
            for settings in SETTINGS:
                if on["device"] != "cpu" and "allocator" in settings:
                    continue
                for batch in (1, 8, 32):
                    yield case(**{"mode": mode, "batch": batch, **on, **settings})
            for name in LAYERS if layers else ():
                yield case(**{"subject": f"convnet/{name}", "mode": mode, "batch": 8, **on})


def _forward_s(one: Case) -> float:
    """A fixed cost and one per image; a GPU has more of the first and less of the second."""
    at_8 = LAYERS.get(one.subject.partition("/")[2], FORWARD_S)
    on_cpu = one.device == "cpu"
    time_s = at_8 * (0.1 + 0.9 * one.batch / 8) if on_cpu else 1.2e-4 + at_8 * one.batch / 3000
    for value in (one.memory_format, one.amp, one.compile, one.allocator or ""):
        time_s *= (FACTOR if on_cpu else GPU_FACTOR).get(value, 1.0)
    return time_s


def measured(
    one: Case, base_s: float, replicates: int, rng: random.Random, noise: float = 0.04
) -> Iterator[Measurement]:
    """Yield the replicates of a case whose forward takes `base_s`."""
    for number in range(replicates):
        factor = rng.lognormvariate(0, noise)
        spans = {"forward": base_s * factor}
        if one.mode == "training":
            spans = {phase: base_s * factor * times for phase, times in TRAINING.items()}
            spans["step"] = sum(spans.values())
        whole = spans["step"] if one.mode == "training" else spans["forward"]
        on_cpu = one.device == "cpu"
        samples: list[Samples] = []
        for phase, time_s in spans.items():
            times = tuple(time_s * rng.lognormvariate(0, 0.02) for _ in range(4))
            if on_cpu or time_s == whole:
                samples.append(_samples(phase, "latency", times))
            if not on_cpu:
                samples.append(_samples(phase, "device", tuple(t * 0.9 for t in times)))
            if time_s == whole:
                samples.append(_samples(phase, "pipelined", tuple(t * 0.95 for t in times)))
        yield Measurement(case=one, replicate=number, samples=tuple(samples))


def _samples(phase: str, kind: str, times_s: tuple[float, ...]) -> Samples:
    return Samples(phase=phase, kind=kind, calls_per_sample=1, times_s=times_s)
