"""What ran, as read back from the process: before the samples and after them.

A setting that was asked for and is not in force makes the row `invalid`, naming it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from bench.records import Case
from bench.worker import cuda, tree

AMP_LAYERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
CONVOLUTIONS = AMP_LAYERS[:-1]


def global_state(module: nn.Module, device_type: str) -> dict[str, Any]:
    """Process-wide switches that a subject may have turned."""
    state: dict[str, Any] = {
        "training": module.training,
        "grad_enabled": torch.is_grad_enabled(),
        "inference_mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled(device_type),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly_mode": torch.is_anomaly_enabled(),
    }
    if device_type == "cuda":
        state["cudnn_benchmark"] = "on" if cuda.cudnn_benchmark() else "off"
        state["tf32"] = cuda.tf32_state()  # "mixed" where the two differ
    return state


def layer_state(module: nn.Module, call: Callable[[], object]) -> dict[str, Any]:
    """dtypes and layouts of what each convolution and linear layer puts out, in one call.

    `call` runs the module once as the samples will, not compiled: hooks would change the graph.
    """
    dtypes: dict[str, int] = {}
    layouts: dict[str, int] = {}

    def look(layer: nn.Module, _arguments: object, output: object) -> None:
        for tensor in tree.tensors(output):
            if tensor.is_floating_point():
                name = str(tensor.dtype).removeprefix("torch.")
                dtypes[name] = dtypes.get(name, 0) + 1
            if isinstance(layer, CONVOLUTIONS) and (layout := layout_of(tensor)):
                layouts[layout] = layouts.get(layout, 0) + 1

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
    return {"output_dtypes": dtypes, "convolution_layouts": layouts}


def layout_of(tensor: torch.Tensor) -> str | None:
    """contiguous, channels_last or other; None where both hold (C = 1 or 1×1 maps) or not 4-d."""
    if tensor.ndim != 4:
        return None
    last = tensor.is_contiguous(memory_format=torch.channels_last)
    first = tensor.is_contiguous()
    if last and first:
        return None
    return "channels_last" if last else "contiguous" if first else "other"


def problems(case: Case, state: Mapping[str, Any], threads: int) -> list[str]:
    """What is not as the case asked, in words.

    state:   global_state, with layer_state in it where that was looked at.
    threads: intra-op threads as they stood once the settings were applied.
    """
    wanted: dict[str, Any] = {
        "training": case.mode == "training",
        "grad_enabled": True,  # inference_mode is entered inside each call, not around it
        "inference_mode": False,
        "autocast": False,
        "default_dtype": "float32",
        "threads": threads,
        "deterministic": False,
        "anomaly_mode": False,
    }
    for name in ("cudnn_benchmark", "tf32"):
        if getattr(case, name) is not None:
            wanted[name] = getattr(case, name)
    found = [
        f"{name} is {state[name]}, should be {value}"
        for name, value in wanted.items()
        if state.get(name, value) != value
    ]
    return found + _arithmetic_problems(case, state)


def _arithmetic_problems(case: Case, state: Mapping[str, Any]) -> list[str]:
    found = []
    dtypes: Mapping[str, int] = state.get("output_dtypes", {})
    asked = case.amp if case.amp != "off" else case.dtype
    if dtypes and asked not in dtypes:
        what = f"autocast to {case.amp}" if case.amp != "off" else f"dtype {case.dtype}"
        found.append(f"{what} was asked for, but the layers put out {', '.join(sorted(dtypes))}")
    layouts: Mapping[str, int] = state.get("convolution_layouts", {})
    if case.memory_format == "channels_last" and layouts and "channels_last" not in layouts:
        found.append("channels_last was asked for, but no convolution puts it out")
    return found
