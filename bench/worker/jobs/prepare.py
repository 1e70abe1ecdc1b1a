"""Takes a case from its request to the time when it may be timed, and proves what ran.

The order is `build`, `begin`, the samples under `no_recompiles`, `end`.  Every job that times a
case uses it, so that no figure comes without its proof.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.core.protocol import Request
from bench.core.records import HOST_TIMES, INFINITE, Case
from bench.core.subject import parse
from bench.core.text import number_of
from bench.worker.checks import finite, state
from bench.worker.device import cuda, settings
from bench.worker.device.device import Device, open_device
from bench.worker.model import growth, pytree, torch_compile
from bench.worker.model.build import Prepared, load, mixed_dtypes_named, prepare
from bench.worker.model.step import InferenceStep, Step, TrainingStep
from bench.worker.model.step_inputs import UnsupportedError
from bench.worker.timing import call_timing
from bench.worker.timing.stopwatch import wall_clock

COUNTED_S = 5.0  # a call that takes longer is not made once more to count its work
LOOKED_S = 0.1  # a call that takes longer is looked at in the first replicate of its case alone
SETTLE_CALLS = 3  # of compiled code, before recompiling is a fault; CUDA graphs record in them


class Invalid(Exception):  # noqa: N818 - a verdict on the row, not an error of the program
    """The case did not run as requested; the message names the difference."""


@dataclass(frozen=True, slots=True)
class BuiltCase:
    """A case that is built under its settings."""

    request: Request
    case: Case
    device: Device
    prepared: Prepared
    step: Step  # what is timed
    eager: Step  # the same, not compiled
    graphs: bool  # CUDA graphs are recorded
    asked: dict[str, Any]  # switches as the settings left them, before the subject could turn any
    process_start_s: float  # until the device was open, imports of the subject aside


@dataclass(frozen=True, slots=True)
class SettledCase:
    """A case that was called, has settled, and is what was requested."""

    first_call_s: float
    searching_call_s: float | None  # the one after it, in which cuDNN searches; None: it does not
    state: dict[str, Any]  # as read back
    compiling: "_CompileProgress | None"
    skipped_steps: int
    infinite: finite.InfiniteMasks  # of its first output
    frames: int  # that dynamo had looked at before the first call
    sizes: dict[str, int]  # of what the module keeps from call to call
    work: growth.Work | None  # of one call; None: unknown, as of compiled code, or not counted
    looked: bool  # at what the layers compute, in a call of its own
    looked_s: float  # that this call took

    @property
    def calls(self) -> int:
        """Return the calls of the step so far, at least: the first one, and one looked at.

        Compiled code has made more, while it settled.
        """
        return 2 if self.looked or self.compiling is not None else 1

    @property
    def looking_s(self) -> float:
        """Return the seconds that no later replicate of the case takes.

        They are those of the call that is looked at, and of the one that is held against it at the
        end.
        """
        return 2 * self.looked_s if self.first_call_s > LOOKED_S else 0.0


@dataclass(frozen=True, slots=True)
class _CompileProgress:
    """The state of dynamo after the first call, and after the calls that let it settle."""

    first: torch_compile.CompileState
    settled: torch_compile.CompileState


def build(request: Request) -> BuiltCase:
    """Apply the settings, then build the subject.  Raises the errors of both."""
    start_s = wall_clock()
    case = request.case
    device_type = case.device.partition(":")[0]
    if case.compile != torch_compile.OFF:
        torch_compile.prepare(Path(request.cache))
    import_s = wall_clock()
    load(parse(case.subject))  # what its import turns is put back, wherever it is imported
    import_s = wall_clock() - import_s
    state.restore_switches(request.switches)
    settings.apply(case.as_dict())
    asked = state.switches()
    device = open_device(case.device)
    open_s = wall_clock() - start_s - import_s - device.trial_s
    # A layer's input is caught in a forward of its network: the search comes later, and is timed.
    captures = case.cudnn_benchmark == "on" and parse(case.subject).layer is not None
    with cuda.untuned() if captures else contextlib.nullcontext():
        prepared = prepare(case, request.enter)
    graphs = torch_compile.uses_cuda_graphs(case.compile, device_type)
    module = torch_compile.compile_module(prepared.module, case.compile, case.device)
    turns = _rotate_bytes(request, prepared)
    eager = make_step(prepared, prepared.module, case, device_type, rotate_bytes=turns)
    step = (
        eager
        if module is prepared.module
        else make_step(prepared, module, case, device_type, graphs=graphs, rotate_bytes=turns)
    )
    return BuiltCase(request, case, device, prepared, step, eager, graphs, asked, open_s)


def make_step(
    prepared: Prepared,
    module: nn.Module,
    case: Case,
    device_type: str,
    *,
    graphs: bool = False,
    rotate_bytes: int = 0,
) -> Step:
    """Return one real call of the case.  rotate_bytes: see `bench.worker.model.step`."""
    if case.mode == "inference":
        return InferenceStep(
            module,
            prepared.args,
            prepared.kwargs,
            device_type=device_type,
            amp=case.amp,
            grad_mode=case.grad_mode or "inference_mode",
            restore=prepared.restore,
            rotate_bytes=rotate_bytes,
            cudagraphs=graphs,
        )
    return TrainingStep(
        module,
        prepared.args,
        prepared.kwargs,
        loss=prepared.loss,
        device_type=device_type,
        amp=case.amp,
        restore=prepared.restore,
        rotate_bytes=rotate_bytes,
        cudagraphs=graphs,
    )


def _rotate_bytes(request: Request, prepared: Prepared) -> int:
    """Return the bytes of the inputs that a layer takes in turns: twice the GPU's L2 (rule 17).

    Its input then comes from memory.  Whole models and counted figures need no turns.
    """
    if request.job not in ("measure", "turns") or prepared.layer is None:
        return 0
    return 2 * (cuda.l2_bytes(request.case.device) or 0)


def begin(ready: BuiltCase) -> SettledCase:
    """Make the first call, call until the step has settled, and read back the state.

    Raises Invalid if the state is not what the case requests.
    """
    case, step, module = ready.case, ready.step, ready.prepared.module
    compiles = case.compile != torch_compile.OFF
    searches = case.cudnn_benchmark == "on" and not compiles and _convolves(module)
    ready.request.enter("in its first call" + (", which compiles it" if compiles else ""))
    frames = torch_compile.frames()
    with (
        mixed_dtypes_named(case, ready.prepared.built_in),
        cuda.untuned() if searches else contextlib.nullcontext(),
    ):
        first_call_s = call_timing.first_call(step, ready.device)
    refuse_used_up(ready)
    infinite = finite.infinite_masks(step.output)
    ready.request.enter(f"after a first call of {first_call_s:.3g} s")
    searching_call_s = call_timing.first_call(step, ready.device) if searches else None
    step.settle()
    step.prepare(1)  # now it is known whether inputs are restored
    seen = state.global_state(module, ready.device.type) | {"cold": step.cold}
    if ready.device.events_doubt is not None:
        seen[HOST_TIMES] = ready.device.events_doubt
    if isinstance(step, InferenceStep):
        seen["grad_mode"] = step.grad_mode
    seen["weight_dtypes"] = state.weight_dtypes(module)
    if case.tf32 is not None and (runs := cuda.tf32_in_products(case.device)):
        seen["tf32_in_products"] = runs
    work = None
    looks = not ready.request.looked or first_call_s <= LOOKED_S
    start_s = wall_clock()
    if not compiles and looks:
        layers, work = _layers_and_work(ready, counted=first_call_s <= COUNTED_S)
        seen |= layers
    looked_s = wall_clock() - start_s
    refuse(state.problems(case, seen, ready.asked))
    if not compiles:
        refuse_compiled(ready, frames)
    compiling = _settle_graphs(ready) if compiles else None
    sizes = growth.sizes(module)
    return SettledCase(
        first_call_s,
        searching_call_s,
        seen,
        compiling,
        step.skipped_steps,
        infinite,
        frames,
        sizes,
        work,
        looks,
        looked_s,
    )


def _layers_and_work(
    ready: BuiltCase, *, counted: bool
) -> tuple[dict[str, Any], growth.Work | None]:
    """Return the state of the layers, and the work of a call: both from one call.

    counted: whether the work is asked for; where it cannot be counted, the layers are looked at in
             a call of their own.
    """
    step, module = ready.step, ready.prepared.module
    seen: dict[str, Any] = {}

    def look() -> None:
        seen.update(state.layer_state(module, step))

    work = growth.work_of(look) if counted else None
    if work is None:
        if counted:
            step.prepare(1)
        look()
    return seen, work


def refuse_compiled(ready: BuiltCase, frames: int) -> None:
    """Raise Invalid if compiled code ran.  frames: `torch_compile.frames` before the first call."""
    parts = ready.prepared.compiled
    found = torch_compile.compiled_despite_off(parts, torch_compile.frames() - frames)
    refuse([found] if found else [])


def no_recompiles(case: Case) -> contextlib.AbstractContextManager[Any]:
    """Make a recompile inside the samples raise, so that it is not timed."""
    if case.compile == torch_compile.OFF:
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("fail_on_recompile")
    return stance


def end(
    ready: BuiltCase, begun: SettledCase, steady_s: float
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return metrics of the first call, and the state before and after the samples.

    steady_s: seconds of a settled call, which are subtracted from the first one.

    Raises Invalid if anything is no longer what the case requests.
    """
    case, step = ready.case, ready.step
    refuse_used_up(ready)
    after = state.global_state(ready.prepared.module, ready.device.type)
    refuse(state.problems(case, after, ready.asked))
    if step.skipped_steps > begun.skipped_steps:
        skipped = step.skipped_steps - begun.skipped_steps
        raise Invalid(f"GradScaler skipped {number_of(skipped, 'step')} while timed")
    found = {"first_call_s": begun.first_call_s}
    seen = dict(begun.state)
    if begun.compiling is not None:
        progress = torch_compile.read()
        compiling_s = max(0.0, begun.first_call_s - steady_s)
        found |= _compile_metrics(begun.compiling, progress, ready, compiling_s)
        if ready.graphs:
            seen["cuda_graphs"] = "recorded" if progress.cudagraph_recorded else "unknown"
        if begun.looked:
            seen |= _eager_state(ready)
            refuse(state.problems(case, seen, ready.asked))
    else:
        refuse_compiled(ready, begun.frames)
    if begun.searching_call_s is not None:
        # The first call of users loads and searches; here these were two calls.
        found["tuning_s"] = max(0.0, begun.searching_call_s - steady_s)
        found["first_call_s"] += found["tuning_s"]
    refuse(finite.problems(step.output, begun.infinite))
    if said := finite.first_infinite(step.output):
        seen[INFINITE] = said
    if doubt := _why_calls_differ(ready, begun):
        seen["doubts"] = {"unsteady": doubt}
    return found, {**seen, "end": after}


def flags(seen: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the flags that the state of `end` has beside its doubts.

    The subject is their cause, and a quieter machine does not help.
    """
    return ("growing",) if "doubts" in seen else ()


def _why_calls_differ(ready: BuiltCase, begun: SettledCase) -> str | None:
    """Say why the calls were not all the same, or return None."""
    step, said = ready.step, list[str]()
    if step.doubt:
        said.append(step.doubt)
    if names := growth.grown(begun.sizes, growth.sizes(ready.prepared.module)):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        said.append(f"each call leaves more behind in {names[0]}{more}")
    if words := growth.rising(begun.work, step, lambda: step.prepare(1)):
        said.append(words)
    return "; ".join(said) or None


def refuse_used_up(ready: BuiltCase) -> None:
    """Raise UnsupportedError if calls have used up an iterator that the module holds."""
    if said := ready.prepared.iterators.used_up():
        raise UnsupportedError(said)


def refuse(problems: list[str]) -> None:
    """Raise Invalid if there is any problem."""
    if problems:
        raise Invalid("; ".join(problems))


def _settle_graphs(ready: BuiltCase) -> _CompileProgress:
    """Make a few more calls: a forward that caches something in its first call recompiles in the
    second.
    """
    first = torch_compile.read()
    for _ in range(SETTLE_CALLS):
        ready.step.prepare(1)
        ready.step()
    return _CompileProgress(first, torch_compile.read())


def _compile_metrics(
    compiling: _CompileProgress,
    after: torch_compile.CompileState,
    ready: BuiltCase,
    compiling_s: float,
) -> dict[str, float]:
    eager = _eager_ratio(ready) if torch_compile.in_parts(after) else None
    problem = torch_compile.problem(compiling.settled, after, cuda_graphs=ready.graphs, eager=eager)
    refuse([problem] if problem else [])
    name = "compile_warm_s" if compiling.first.warm else "compile_cold_s"
    return {
        name: compiling_s,
        # A frame that was given up for a break inside a loop is not among dynamo's own.
        "graph_breaks": after.graph_breaks + after.frames_total - after.frames_ok,
        "recompiles": compiling.settled.frames_total - compiling.first.frames_total,
    }


def _eager_ratio(ready: BuiltCase) -> float | None:
    """Return the share of eager operators; None if no profile is available."""
    for step in (ready.step, ready.eager):
        step.prepare(1)
    try:
        return torch_compile.eager_ratio(ready.step, ready.eager)
    except (MemoryError, RuntimeError):
        return None


def _convolves(module: nn.Module) -> bool:
    """Return whether cuDNN has anything to search for."""
    return any(isinstance(layer, state.CONVOLUTIONS) for layer in module.modules())


def _eager_state(ready: BuiltCase) -> dict[str, Any]:
    """Return dtypes and layouts of the layers, which hooks cannot see in compiled code.

    The module is called once more, not compiled, under the same settings.  The dtypes of the output
    show that compiled code did the same arithmetic.
    """
    wanted = [str(one.dtype) for one in pytree.tensors(ready.step.output)]
    ready.eager.prepare(1)
    try:
        seen = state.layer_state(ready.prepared.module, ready.eager)
    except (MemoryError, RuntimeError) as error:  # eager code takes more memory: no verdict
        return {"layers": f"not looked at: {error}"}
    eager = [str(one.dtype) for one in pytree.tensors(ready.eager.output)]
    if wanted != eager:
        raise Invalid(f"compiled code puts out {wanted}, eager code {eager}")
    return seen
