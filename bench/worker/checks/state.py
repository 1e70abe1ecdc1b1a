"""Reads back what ran, from the process, before and after the samples.

A setting that was requested and is not in force makes the row `invalid`, and the reason names it.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.core.axes import AS_BUILT
from bench.core.records import Case
from bench.worker.device import cuda, torch_private
from bench.worker.model import pytree
from bench.worker.timing import contention

AMP_LAYERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
# The complex dtype of a precision: the output of a complex layer where that precision is requested.
OF_REAL = {"float32": "complex64", "float16": "complex32"}
CONVOLUTIONS = AMP_LAYERS[:-1]
# Share of the multiply-adds that a setting has to reach.  A network may keep a layer out of
# autocast on purpose (a head in float32), and its row then shows what AMP does to that network.  A
# row of a network that keeps most of its work out of autocast shows something else.
LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Switch:
    """A setting of the whole process that a subject, or its import, may change."""

    get: Callable[[], Any]
    set: Callable[[Any], object]


def _set_dtype(name: str) -> None:
    torch.set_default_dtype(getattr(torch, name))


def _precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set through torch's newer interface, which the older one does not read
        return "mixed"


def _processors() -> list[int] | None:
    allowed = contention.processors()
    return None if allowed is None else sorted(allowed)


def _set_processors(processors: list[int] | None) -> None:
    if processors is not None:
        os.sched_setaffinity(0, processors)


def _set_priority(value: int) -> None:
    with contextlib.suppress(OSError):  # only root can take a lowered one back
        os.setpriority(os.PRIO_PROCESS, 0, value)


SWITCHES: Mapping[str, Switch] = {
    "threads": Switch(torch.get_num_threads, torch.set_num_threads),
    "default_dtype": Switch(
        lambda: str(torch.get_default_dtype()).removeprefix("torch."), _set_dtype
    ),
    "default_device": Switch(lambda: str(torch.get_default_device()), torch.set_default_device),
    "grad_enabled": Switch(torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic": Switch(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    ),
    "anomaly_mode": Switch(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "matmul_precision": Switch(_precision, torch.set_float32_matmul_precision),
    "mkldnn": Switch(*torch_private.switch("mkldnn", "enabled")),
    "cudnn": Switch(*torch_private.switch("cudnn", "enabled")),
    "cudnn_deterministic": Switch(*torch_private.switch("cudnn", "deterministic")),
    "processors": Switch(_processors, _set_processors),
    "priority": Switch(lambda: os.getpriority(os.PRIO_PROCESS, 0), _set_priority),
}


def switches() -> dict[str, Any]:
    """Return the switches in force.  Computes nothing, so that a fork server may call it, too."""
    return {name: switch.get() for name, switch in SWITCHES.items()}


def restore_switches(stood: Mapping[str, Any]) -> None:
    """Undo changes that imports of subjects made: no case may depend on other subjects."""
    for name, value in stood.items():
        if SWITCHES[name].get() != value:
            SWITCHES[name].set(value)


@contextlib.contextmanager
def switches_kept() -> Iterator[None]:
    """Restore the switches of torch, cuDNN and TF32 after the block."""
    stood, benchmark, precisions = switches(), cuda.cudnn_benchmark(), cuda.precisions()
    try:
        yield
    finally:
        if cuda.cudnn_benchmark() is not benchmark:
            cuda.set_cudnn_benchmark(benchmark)
        cuda.restore_precisions(precisions)
        restore_switches(stood)


def global_state(module: nn.Module, device_type: str) -> dict[str, Any]:
    """Return the process-wide switches and the mode of the module."""
    state: dict[str, Any] = {
        **switches(),
        "training": module.training,
        "inference_mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled(device_type),
        "flushes_denormals": _flushes_denormals(),
    }
    if device_type == "cuda":
        state["cudnn_benchmark"] = "on" if cuda.cudnn_benchmark() else "off"
        state["tf32"] = cuda.tf32_state()
    return state


def weight_dtypes(module: nn.Module) -> dict[str, int]:
    """Return how many numbers the module's parameters and buffers hold, by dtype."""
    counts: dict[str, int] = {}
    for one in (*module.parameters(), *module.buffers()):
        name = str(one.dtype).removeprefix("torch.")
        counts[name] = counts.get(name, 0) + one.numel()
    return counts


def _flushes_denormals() -> bool:
    """Return whether denormals are flushed: 2^-126 is float32's smallest normal number.

    `torch.set_flush_denormal` has no getter.
    """
    return float(torch.full((1,), 2.0**-127) * 0.5) == 0.0


@dataclass(slots=True)
class _WorkShares:
    """Multiply-adds by the dtype and layout of the layer's output, and the first layer of each
    kind.
    """

    work: dict[str, float] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, name: str, work: float) -> None:
        self.work[kind] = self.work.get(kind, 0.0) + work
        self.first.setdefault(kind, name)

    def as_state(self) -> dict[str, Any]:
        total = sum(self.work.values())
        return {
            kind: {"share": work / total if total else 0.0, "first": self.first[kind]}
            for kind, work in self.work.items()
        }


def layer_state(module: nn.Module, call: Callable[[], object]) -> dict[str, Any]:
    """Return dtypes and layouts of the outputs of all convolutions and linear layers in one call.

    For each kind: its share of all multiply-adds, and the first layer with such an output.

    call: runs the module once as the samples will, not compiled: hooks would change the graph.
    """
    names = {inner: name or "itself" for name, inner in module.named_modules()}
    dtypes, layouts = _WorkShares(), _WorkShares()

    def look(layer: nn.Module, _arguments: object, output: object) -> None:
        for tensor in pytree.floating(output):
            work = _multiply_adds(layer, tensor)
            dtypes.add(str(tensor.dtype).removeprefix("torch."), names[layer], work)
            if isinstance(layer, CONVOLUTIONS) and (layout := layout_of(tensor)):
                layouts.add(layout, names[layer], work)

    handles = [
        layer.register_forward_hook(look)
        for layer in module.modules()
        if isinstance(layer, AMP_LAYERS)
    ]
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return {"output_dtypes": dtypes.as_state(), "convolution_layouts": layouts.as_state()}


def _multiply_adds(layer: nn.Module, output: Tensor) -> float:
    """Return the multiply-adds of a convolution or linear layer."""
    if parametrize.is_parametrized(layer, "weight"):
        # Access to the weight would compute it again, and make spectral_norm advance by a step.
        return float(output.numel()) * _weights_a_channel(layer)
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or not weight.numel():
        return float(output.numel())
    return float(output.numel()) * weight.numel() / weight.shape[0]


def _weights_a_channel(layer: nn.Module) -> int:
    if isinstance(layer, nn.Linear):
        return layer.in_features
    convolution: Any = layer
    channels = convolution.out_channels if convolution.transposed else convolution.in_channels
    return int(channels // convolution.groups * math.prod(convolution.kernel_size))


def layout_of(tensor: torch.Tensor) -> str | None:
    """Return contiguous, channels_last or other.

    None: the tensor has both formats (C = 1 or 1×1 maps) or is not 4-d.
    """
    if tensor.ndim != 4:
        return None
    last = tensor.is_contiguous(memory_format=torch.channels_last)
    first = tensor.is_contiguous()
    if last and first:
        return None
    return "channels_last" if last else "contiguous" if first else "other"


def problems(case: Case, state: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Say in words what is not as the case requested.

    state: from global_state, and from layer_state where that was read.
    asked: switches after the settings were applied, before the subject was built.
    """
    wanted: dict[str, Any] = {
        **asked,
        "training": case.mode == "training",
        "inference_mode": False,  # inference_mode is entered inside each call, not around it
        "autocast": False,
        "flushes_denormals": False,
    }
    for name in ("cudnn_benchmark", "tf32", "grad_mode"):
        if getattr(case, name) is not None:
            wanted[name] = getattr(case, name)
    found = [
        f"{name} is {state[name]}, should be {value}"
        for name, value in wanted.items()
        if state.get(name, value) != value
    ]
    return found + _tf32_problems(case, state) + _arithmetic_problems(case, state)


def _tf32_problems(case: Case, state: Mapping[str, Any]) -> list[str]:
    """Report products whose TF32 is not that of the flags: a variable of the driver overrules them.

    Flags that differ are reported elsewhere.
    """
    runs = state.get("tf32_in_products")
    expected = "on" if case.tf32 == "on" else "off"  # torch's default has none in products
    if runs is None or runs == expected or state.get("tf32") != case.tf32:
        return []
    override = cuda.tf32_override()
    why = f": {override} overrules the flags; unset it" if override else ""
    return [f"tf32={case.tf32} was asked for, but matrix products run with tf32={runs}{why}"]


def _arithmetic_problems(case: Case, state: Mapping[str, Any]) -> list[str]:
    asked = case.amp if case.amp != "off" else case.dtype
    what = f"autocast to {case.amp}" if case.amp != "off" else f"dtype {case.dtype}"
    found = []
    if asked != AS_BUILT:  # the layers may have any dtype then: they run as they were built
        found += _too_small_a_share(what, asked, state.get("output_dtypes", {}))
    if case.memory_format == "channels_last":
        layouts = state.get("convolution_layouts", {})
        found += _too_small_a_share("channels_last", "channels_last", layouts)
    return found


def _too_small_a_share(what: str, asked: str, shares: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say that most of the work ran in another way."""
    meant = {asked, OF_REAL.get(asked)}
    share = sum(one["share"] for kind, one in shares.items() if kind in meant)
    others = {kind: one for kind, one in shares.items() if kind not in meant}
    if not others or share >= LEAST_SHARE:
        return []
    said = ", ".join(
        f"{kind} {one['share']:.0%} (first {one['first']})" for kind, one in others.items()
    )
    return [f"{what} was asked for, but the layers put out {said}, by their multiply-adds"]
