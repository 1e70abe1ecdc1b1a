"""Probes the machine and the subjects, in a process that exits.

Standard input: a line of JSON (`bench.host.helper`).  The answer goes to a file, because a subject
may print.
"""

import contextlib
import dataclasses
import inspect
import json
import os
import site
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from bench import start
from bench.core.subject import SHIPPED, SubjectRef, parse
from bench.core.text import typed_error
from bench.host import probed
from bench.host.environment import cpu_model, digest, has_bfloat16
from bench.worker.device import cuda, nvidia
from bench.worker.model import compile_tools, guess, inputs, layers, weights
from bench.worker.model.build import (
    SubjectError,
    SubjectRaised,
    build,
    give_weights,
    need_gradients,
)
from bench.worker.process import limits, supervise

PROBE_BATCH = 2  # BatchNorm in training needs two values a channel
INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")
SHIPPED_INPUT = "3,224,224"


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.read())
    limits.die_with_parent(request["parent"])
    limits.adopt_orphans()
    weights.use(request["weights"])
    found = devices()
    limits.limit_resources(
        on_cpu=len(found) == 1, compiles=True
    )  # it may load weights, which are kept
    answer = probed.Probe(
        torch=torch.__version__,
        torch_details=torch_details(),
        devices={device.name: device for device in found},
        subjects={
            whole: subject(ref, want_layers, request["inputs"].get(whole))
            for whole, (ref, want_layers) in whole_subjects(request["subjects"]).items()
        },
        no_gpu=cuda.no_gpu(sum(device.type == "cuda" for device in found)),
    )
    # Last: the subjects have been imported by now.
    answer = dataclasses.replace(answer, sources=sources())
    limits.allow_writing()
    Path(request["out"]).write_text(json.dumps(dataclasses.asdict(answer)), encoding="utf-8")
    supervise.end_orphans()
    os._exit(0)  # a subject's threads must not keep the probe alive


def sources() -> dict[str, probed.Source]:
    """Return by module the files that the subjects brought, and those that these imported.

    Installed files and this project itself are left out.
    """
    places = (*(sysconfig.get_path(name) for name in INSTALLED), *site.getsitepackages())
    installed = [Path(one).resolve() for one in (*places, site.getusersitepackages())]
    installed.append(Path(start.SUITE).resolve())
    found = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name.partition(".")[0] in ("__main__", "torch"):
            continue
        path = Path(file).resolve()
        if any(path.is_relative_to(one) for one in installed):
            continue
        if of_file := digest(path):
            found[name] = probed.Source(file=str(path), digest=of_file)
    return found


def whole_subjects(names: Sequence[str]) -> dict[str, tuple[SubjectRef, bool]]:
    """Return by name without its layer: the subject as first written, whether layers are asked."""
    found: dict[str, tuple[SubjectRef, bool]] = {}
    for name in names:
        ref = parse(name)
        first, want_layers = found.get(ref.whole, (ref, False))
        found[ref.whole] = first, want_layers or ref.layer is not None
    return found


def torch_details() -> dict[str, Any]:
    """Return what torch says of its build, for run.json."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "torch_git": torch.version.git_version,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "compiler": compile_tools.cxx(),
    }
    if torch.backends.cudnn.is_available():
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def devices() -> list[probed.Device]:
    """Return the CPU and every accelerator that torch finds."""
    found = [probed.Device(name="cpu", shown=cpu_model(), has_bfloat16=has_bfloat16())]
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return found
    for index in range(torch.accelerator.device_count()):
        name = f"{accelerator.type}:{index}" if accelerator.type != "mps" else "mps"
        on_cuda = accelerator.type == "cuda"
        lacks = compile_tools.missing(name)
        found.append(
            probed.Device(
                name=name,
                shown=_device_name(accelerator.type, index),
                has_cudnn=on_cuda and torch.backends.cudnn.is_available(),
                has_tf32=on_cuda and cuda.has_tf32(index),
                compile_lacks=lacks.what if lacks else None,
                compile_mend=lacks.mend if lacks else None,
                gpu=gpu_details(name) if on_cuda else None,
            )
        )
    return found


def gpu_details(name: str) -> probed.GpuDetails:
    """Return the details of a device such as `cuda:1`, from torch and from NVIDIA's driver."""
    properties = torch.cuda.get_device_properties(int(name.partition(":")[2] or 0))
    of_driver: dict[str, Any] = {}
    if gpu := nvidia.gpu_of(name):
        of_driver = dataclasses.asdict(gpu.settings())
        gpu.close()
    return probed.GpuDetails(
        capability=f"{properties.major}.{properties.minor}",
        memory_bytes=properties.total_memory,
        **of_driver,
    )


def _device_name(type_: str, index: int) -> str:
    module = getattr(torch, type_, None)
    name = getattr(module, "get_device_name", None)
    return str(name(index)) if name else type_


def subject(ref: SubjectRef, want_layers: bool, given: str | None) -> probed.SubjectFound:
    """Build a subject once, and call it once if its layers are asked for."""
    try:
        return _subject(ref, want_layers, given)
    except SystemExit as error:  # a script without a guard, which ends, or parses arguments
        text = " ".join(str(error).split())[:300]
        return probed.SubjectFound.unknown(
            f"{ref.shown}: its code called sys.exit({text}) when it was imported or built; put "
            'what a script does under `if __name__ == "__main__":`'
        )


def _subject(ref: SubjectRef, want_layers: bool, given: str | None) -> probed.SubjectFound:
    whole = ref.whole
    try:
        module = build(ref)
    except SubjectRaised as error:
        unknown = probed.SubjectFound.unknown(str(error))
        return dataclasses.replace(unknown, missing=error.missing)
    except SubjectError as error:
        return probed.SubjectFound(error=str(error), missing=error.missing)
    has_inputs = callable(getattr(module, "example_inputs", None))
    guessed = None if given or has_inputs or whole in SHIPPED else guess.spec(module)
    spec = given or guessed or (SHIPPED_INPUT if whole in SHIPPED else "own")
    with contextlib.suppress(Exception):  # without its input; its own rows will say why
        give_weights(module, spec)
    fixed = None
    if has_inputs and whole not in SHIPPED:
        with contextlib.suppress(Exception):  # it raises again in its own rows
            fixed = inputs.fixed_batch(module)
    found = probed.SubjectFound(
        has_inputs=has_inputs,
        fixed_batch=fixed,
        guessed=guessed,
        parameters=sum(one.numel() for one in module.parameters() if not is_lazy(one)),
        file=_file(ref, module),
    )
    if not want_layers:
        return found
    try:
        args, kwargs = inputs.make(spec, module, PROBE_BATCH, torch.float32)
        need_gradients(module, (args, kwargs))
        seen, others = layers.list_layers(module, args, kwargs)
    except Exception as error:  # whatever a forward raises, in one line
        return dataclasses.replace(found, layers_error=typed_error(error, 300))
    return dataclasses.replace(
        found, layers=tuple(map(_layer, seen)), modules=tuple(map(_layer, others))
    )


def _layer(layer: "layers.Layer") -> probed.Layer:
    return probed.Layer(
        name=layer.name,
        alias=layer.alias,
        type=layer.type,
        same_as=tuple(layer.same_as),
        calls=layer.calls,
        work=layer.work,
    )


def _file(ref: SubjectRef, module: nn.Module) -> str | None:
    try:
        return inspect.getsourcefile(sys.modules[ref.module]) or inspect.getsourcefile(type(module))
    except (TypeError, KeyError):
        return None
