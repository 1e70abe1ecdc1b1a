"""Static metrics of a case, outside the timing: memory, FLOPs, bytes moved, operators, layouts.

Each metric fails alone: an unknown one is left out, and a problem says why.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from bench.core.records import Case
from bench.core.subject import parse
from bench.core.text import error_line, typed_error
from bench.host import rapl
from bench.worker.checks import layout_changes
from bench.worker.device import energy, nvidia
from bench.worker.device.device import NOT_COUNTED, Device
from bench.worker.metrics import bytes_moved, flops, peak_memory
from bench.worker.metrics.peak_memory import begin_call
from bench.worker.model import lazy, loss, torch_compile
from bench.worker.model.build import Prepared
from bench.worker.model.step import Step, warm_up_calls

MOST_NAMES = 5  # of layers that a message names
# Metrics that are asked for where no call succeeds as well; energy is not counted everywhere.
NEED_NO_CALL = ("parameters", "energy_j_per_image")


class MetricError(RuntimeError):
    """A metric is undefined or unknown for this case; the message says why."""


Metrics = Mapping[str, float]


def find(
    step: Step,
    eager: Step,
    prepared: Prepared,
    case: Case,
    device: Device,
    *,
    energy_too: bool = True,
) -> tuple[dict[str, float], dict[str, str]]:
    """Return metrics by column name, and by metric the reason why others are unknown.

    step:  the one that is timed.
    eager: the same, not compiled (hooks and dispatch modes see nothing of compiled code); the same
    object
           if nothing is compiled.

    `flops:forward`, `bytes_moved:backward` and the like belong to a phase.  A column that the
    device does not have (`reserved_bytes` of a CPU) is in neither.
    """
    stopped = _warm_up(step)
    # Memory first: what the other passes leave behind must not count.
    collectors: tuple[tuple[str, Callable[[], Metrics]], ...] = (
        ("process_peak_bytes", lambda: _process_peak(step, prepared)),
        ("peak_bytes", lambda: peak(step, prepared, case, device)),
        ("parameters", lambda: {"parameters": _parameters(prepared)}),
        ("flops", lambda: _flops(eager)),
        ("operators", lambda: _operators(step, eager)),
        ("bytes_moved", lambda: _bytes_moved(eager, prepared)),
        ("energy_j_per_image", lambda: _energy(step, case, device) if energy_too else {}),
        ("layout_flips", lambda: _layout_flips(step, eager, prepared)),
    )
    found: dict[str, float] = {}
    problems: dict[str, str] = {}
    for name, collect in collectors:
        if stopped is not None and name not in NEED_NO_CALL:
            problems[name] = stopped
            continue
        try:
            found |= collect()
        except Exception as error:  # the other metrics are still worth having
            problems[name] = _error_text(error)
    left_out = lazy.left_out(prepared.module)
    if left_out:
        problems["parameters"] = lazy.describe_left_out(left_out)
    return found, problems


def _warm_up(step: Step) -> str | None:
    """Call the step twice; return why no call can be examined, or None."""
    try:
        step.settle()
        warm_up_calls(step)
    except Exception as error:  # a subject may raise anything, in its second call as well
        return f"a call before it failed: {_error_text(error)}"
    return None


def _error_text(error: Exception) -> str:
    return (error_line if isinstance(error, MetricError) else typed_error)(error, 300)


def _need_open_weights(module: nn.Module) -> None:
    """Raise MetricError if weights are inside a C++ object, as in quantised layers."""
    closed = [
        name.removesuffix("._packed_params") or "itself"
        for name, inner in module.named_modules()
        if not isinstance(inner, torch.jit.ScriptModule)
        and any(isinstance(value, torch.ScriptObject) for value in vars(inner).values())
    ]
    if closed:
        more = f" and {len(closed) - MOST_NAMES} more" if len(closed) > MOST_NAMES else ""
        raise MetricError(
            f"torch keeps the weights of {', '.join(closed[:MOST_NAMES])}{more} packed (a "
            "quantised layer), in memory that cannot be asked for"
        )


def _parameters(prepared: Prepared) -> int:
    _need_open_weights(prepared.module)
    return sum(parameter.numel() for parameter in prepared.module.parameters())


def _process_peak(step: Step, prepared: Prepared) -> Metrics:
    begin_call(step, prepared)
    return {"process_peak_bytes": peak_memory.process_peak_bytes(step)}


def peak(step: Step, prepared: Prepared, case: Case, device: Device) -> Metrics:
    """Return peak and reserved bytes.

    With CUDA graphs the peak is the reserved one: a replay allocates nothing.
    """
    begin_call(step, prepared)
    if device.type == "cpu":
        _need_open_weights(prepared.module)  # an accelerator's allocator has counted them
        held = prepared.loss.held() if isinstance(prepared.loss, loss.FixedGradient) else ()
        before = peak_memory.alive_bytes(prepared.module, prepared.args, prepared.kwargs, held)
        return {"peak_bytes": before + peak_memory.allocated_peak_bytes(step)}
    device.wait()
    device.empty_cache()
    device.reset_peak()
    step()
    device.wait()
    peak, reserved = device.peak_bytes(), device.reserved_peak_bytes()
    if torch_compile.uses_cuda_graphs(case.compile, device.type):
        peak = reserved
    if peak is None:
        raise MetricError(f"{device.name}: {device.memory_doubt or NOT_COUNTED}")
    return {"peak_bytes": peak} | ({} if reserved is None else {"reserved_bytes": reserved})


def _flops(eager: Step) -> Metrics:
    """Count the FLOPs of the eager code: compiled code hides its operators."""
    counted = flops.count(eager)
    phases = counted.by_phase if len(counted.by_phase) > 1 else {}
    return {"flops": counted.total} | {f"flops:{name}": n for name, n in phases.items()}


def _operators(step: Step, eager: Step) -> Metrics:
    if step is not eager:
        raise MetricError("compiled code dispatches no operators that could be counted")
    return {"operators": flops.operators(eager).total()}


def _bytes_moved(eager: Step, prepared: Prepared) -> Metrics:
    _need_open_weights(prepared.module)
    # The inputs of this very call: inputs may take turns, and a restored one is a copy.
    given: list[Any] = []
    # not the module's own method, which a ScriptModule refuses, though it calls its hooks
    seen = nn.Module.register_forward_pre_hook(
        prepared.module, lambda _, args, kwargs: given.append((args, kwargs)), with_kwargs=True
    )
    eager.prepare(1)
    try:
        saved = bytes_moved.saved_by(eager)
    finally:
        seen.remove()
    moved = bytes_moved.lower_bound(
        prepared.module,
        given[0],
        eager.output,
        training="backward" in eager.phases,
        writes_input=bool(eager.restores),
        saved=saved,
    )
    phases = moved.by_phase if len(moved.by_phase) > 1 else {}
    return {"bytes_moved": moved.total} | {f"bytes_moved:{name}": n for name, n in phases.items()}


def _energy(step: Step, case: Case, device: Device) -> Metrics:
    """Measure the energy of an NVIDIA GPU or of the processor's packages in its own pass.

    Samples are too short to count energy.

    Layers have none: it takes more than two seconds, and a network has many layers.
    """
    if parse(case.subject).layer is not None:
        return {}

    def call() -> None:
        step.prepare(1)
        step()

    gpu = nvidia.gpu_of(device.name)
    if gpu is None:
        packages = rapl.opened() if case.device == "cpu" else None
        used_j = energy.energy_j_per_call(packages, call, device.wait) if packages else None
        return {} if used_j is None else {"energy_j_per_image": used_j / case.batch}
    joules = energy.energy_j_per_call(gpu, call, device.wait)
    gpu.close()
    if gpu.is_slice:
        raise MetricError("the driver counts the energy of the board, of which this is a slice")
    if joules is None:
        raise MetricError("the driver does not count this GPU's energy")
    return {"energy_j_per_image": joules / case.batch}


def _layout_flips(step: Step, eager: Step, prepared: Prepared) -> Metrics:
    if step is not eager:
        raise MetricError("the layouts inside compiled code are the compiler's choice")
    eager.prepare(1)
    return {"layout_flips": layout_changes.flips(prepared.module, eager)}
