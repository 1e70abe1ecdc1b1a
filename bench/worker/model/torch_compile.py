"""torch.compile: one module, one graph, and the proof that compiled code ran.

dynamo keeps counters of its work; a fallback to eager code shows there only (rule 18 of
docs/trust.md).  Source of the counters: torch._dynamo.utils.counters.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bench.core.text import number_of
from bench.worker.device import torch_private
from bench.worker.model import compile_tools

OFF = "off"
ITSELF = "itself"  # the name of the whole among its compiled parts
# The share of eager code's operators that may run beside the graphs (a network of several graphs).
# With more, the row shows eager code.
MOST_EAGER = 0.5
_GRAPH = "## Call CompiledFxGraph"  # as inductor names one in a profile


class CompileUnavailable(RuntimeError):  # noqa: N818 - a state of the machine
    """torch.compile cannot work here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class CompileState:
    """The work of dynamo and inductor so far in this process."""

    graphs: int
    frames_total: int
    frames_ok: int
    graph_breaks: int
    warm: bool  # all that was compiled came out of a cache
    cudagraph_skips: int
    cudagraph_recorded: bool | None  # None: this torch does not tell
    recompile_limit: bool


def prepare(cache: Path) -> None:
    """Point inductor's caches at `cache`, a folder of this case, before the first compile."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    os.environ["TRITON_CACHE_DIR"] = str(cache / "triton")


def compile_module(module: nn.Module, mode: str, device: str) -> nn.Module:
    """Return the module under torch.compile, static shapes.  Raises CompileUnavailable."""
    if mode == OFF:
        return module
    if lacks := compile_tools.missing(device):
        raise CompileUnavailable(f"{lacks.what}; {lacks.mend}")
    compiled = torch.compile(module, dynamic=False, mode=None if mode == "default" else mode)
    if not isinstance(compiled, nn.Module):
        raise CompileUnavailable(f"torch.compile gave a {type(compiled).__name__}, not a module")
    return compiled


def take_apart(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Remove every torch.compile from the module, in place; return its compiled parts."""
    found = []
    if (whole := torch_private.compiled_from(module)) is not None:
        module = whole
        found.append(ITSELF)
    for whole_name, inner in list(module.named_modules()):
        name = whole_name.replace("_orig_mod.", "").removesuffix("._orig_mod")  # of the wrappers
        if torch_private.uncompile(inner):
            found.append(name or ITSELF)
        for child_name, child in list(inner.named_children()):
            if (kept := torch_private.compiled_from(child)) is not None:
                torch_private.set_own_module(inner, child_name, kept)
                found.append(f"{name}.{child_name}".lstrip("."))
    return module, tuple(dict.fromkeys(found))


def of_layer(parts: tuple[str, ...], whole: nn.Module, layer: nn.Module) -> tuple[str, ...]:
    """Return the compiled parts that hold the layer or are inside it.

    parts: names as `take_apart` returns them for `whole`.
    """
    inside = set(layer.modules())
    found = []
    for name in parts:
        part = whole if name == ITSELF else whole.get_submodule(name)
        if part in inside or layer in set(part.modules()):
            found.append(name)
    return tuple(found)


def frames() -> int:
    """Return how many frames dynamo has examined in this process."""
    return int(torch_private.counters_so_far().get("frames", {}).get("total", 0))


def compiled_despite_off(parts: tuple[str, ...], new_frames: int) -> str | None:
    """Say why compile=off is not what runs, or return None.

    parts:      names of modules that were compiled.
    new_frames: frames that dynamo examined in eager calls.
    """
    if parts:
        more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
        what = f"the subject is compiled already ({parts[0]}{more})"
    elif new_frames:
        what = f"the subject compiles code of its own in its forward ({new_frames} frames)"
    else:
        return None
    return f"compile=off was asked for, but {what}: give it uncompiled, or ask for --compile"


def eager_ratio(compiled: Callable[[], object], eager: Callable[[], object]) -> float | None:
    """Return the operators of a call that ran outside of graphs, as a share of those of an eager
    call.

    Each is one call, prepared.  None if a profile shows nothing.
    """
    whole = _operators_outside_graphs(eager)
    return _operators_outside_graphs(compiled) / whole if whole else None


def _operators_outside_graphs(call: Callable[[], object]) -> int:
    """Count the operators that neither another operator nor a graph of inductor has called."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        call()
    count = 0
    for event in seen.events() or ():
        above = event.cpu_parent
        if not event.name.startswith("aten::"):
            continue
        while above is not None and not above.name.startswith(("aten::", _GRAPH)):
            above = above.cpu_parent
        count += above is None
    return count


def uses_cuda_graphs(mode: str, device_type: str) -> bool:
    """Return whether inductor records CUDA graphs in this mode."""
    return device_type == "cuda" and mode in ("reduce-overhead", "max-autotune")


def read() -> CompileState:
    """Return the counters now."""
    counters = torch_private.dynamo_counters()  # 2 s that eager cases need not pay
    breaks = counters["graph_break"]
    return CompileState(
        graphs=int(counters["stats"]["unique_graphs"]),
        frames_total=int(counters["frames"]["total"]),
        frames_ok=int(counters["frames"]["ok"]),
        graph_breaks=sum(int(count) for count in breaks.values()),
        warm=_warm(counters["inductor"], counters["aot_autograd"]),
        cudagraph_skips=int(counters["inductor"]["cudagraph_skips"]),
        cudagraph_recorded=torch_private.cuda_graph_recorded(),
        recompile_limit=any("recompile_limit" in str(reason) for reason in breaks),
    )


def _warm(inductor: Mapping[str, int], autograd: Mapping[str, int]) -> bool:
    hits = inductor.get("fxgraph_cache_hit", 0) + autograd.get("autograd_cache_hit", 0)
    misses = inductor.get("fxgraph_cache_miss", 0) + inductor.get("fxgraph_cache_bypass", 0)
    return hits > 0 and misses == 0


def in_parts(seen: CompileState) -> bool:
    """Return whether some code may have run outside of graphs."""
    return seen.frames_total != seen.frames_ok or seen.graph_breaks > 0


def problem(
    before: CompileState,
    after: CompileState,
    *,
    cuda_graphs: bool,
    eager: float | None = None,
) -> str | None:
    """Say why the samples between the two states are not of compiled code, or return None.

    before: after the first call.  after: after the samples.
    eager:  `eager_ratio`, if code may have run outside of graphs and it is known.

    A frame that dynamo gives up (a graph break inside a loop) may be a loop over layers, each of
    which is compiled then.  So the share of the work outside of graphs decides.
    """
    if before.graphs < 1:
        return "nothing was compiled: dynamo made no graph, so eager code ran"
    if eager is not None and eager > MOST_EAGER:
        return f"{eager:.0%} of the operators ran as eager code, outside of the graphs"
    failed = before.frames_total - before.frames_ok
    if failed and eager is None:
        return (
            f"{failed} of {number_of(before.frames_total, 'frame')} failed to compile "
            "and ran as eager code"
        )
    if after.recompile_limit:
        return "the recompile limit was hit, so eager code ran"
    if after.frames_total > before.frames_total:
        return (
            f"recompiled {number_of(after.frames_total - before.frames_total, 'time')} "
            "inside the samples"
        )
    if cuda_graphs and after.cudagraph_skips:
        return f"CUDA graphs were skipped {number_of(after.cudagraph_skips, 'time')}"
    # A part of a graph that is never captured is not among the skips (inductor's graph_partition).
    if cuda_graphs and after.cudagraph_recorded is False:
        return "no CUDA graph was recorded, so that nothing was replayed"
    return None
