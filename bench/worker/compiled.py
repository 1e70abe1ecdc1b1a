"""torch.compile: one module, one graph, and the proof that compiled code ran.

dynamo keeps counters of what it did; a fallback to eager code shows there and nowhere else
(rule 18 of docs/trust.md).  Source of the counters: torch._dynamo.utils.counters.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bench.worker import torch_private

OFF = "off"


class CompileUnavailable(RuntimeError):  # noqa: N818 - a state of the machine
    """torch.compile cannot work here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class CompileState:
    """What dynamo and inductor have done so far in this process."""

    graphs: int
    frames_total: int
    frames_ok: int
    graph_breaks: int
    warm: bool  # all that was compiled came out of a cache
    cudagraph_skips: int
    recompile_limit: bool


def prepare(cache: Path) -> None:
    """Point inductor's caches at `cache`, a folder of this case, before the first compile."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    os.environ["TRITON_CACHE_DIR"] = str(cache / "triton")


def compile_module(module: nn.Module, mode: str, device_type: str) -> nn.Module:
    """The module under torch.compile, static shapes.  Raises CompileUnavailable."""
    if mode == OFF:
        return module
    if device_type == "cpu" and not compiler():
        raise CompileUnavailable(
            "torch.compile needs a C++ compiler on a CPU; install g++ (Debian: apt-get install g++)"
        )
    compiled = torch.compile(module, dynamic=False, mode=None if mode == "default" else mode)
    if not isinstance(compiled, nn.Module):
        raise CompileUnavailable(f"torch.compile gave a {type(compiled).__name__}, not a module")
    return compiled


def compiler() -> str | None:
    """The C++ compiler that inductor would take, or None."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    return None


def uses_cuda_graphs(mode: str, device_type: str) -> bool:
    """Whether inductor records CUDA graphs in this mode."""
    return device_type == "cuda" and mode in ("reduce-overhead", "max-autotune")


def read() -> CompileState:
    """What the counters say now."""
    counters = torch_private.dynamo_counters()  # 2 s that eager cases need not pay
    breaks = counters["graph_break"]
    return CompileState(
        graphs=int(counters["stats"]["unique_graphs"]),
        frames_total=int(counters["frames"]["total"]),
        frames_ok=int(counters["frames"]["ok"]),
        graph_breaks=sum(int(count) for count in breaks.values()),
        warm=_warm(counters["inductor"], counters["aot_autograd"]),
        cudagraph_skips=int(counters["inductor"]["cudagraph_skips"]),
        recompile_limit=any("recompile_limit" in str(reason) for reason in breaks),
    )


def _warm(inductor: Mapping[str, int], autograd: Mapping[str, int]) -> bool:
    hits = inductor.get("fxgraph_cache_hit", 0) + autograd.get("autograd_cache_hit", 0)
    misses = inductor.get("fxgraph_cache_miss", 0) + inductor.get("fxgraph_cache_bypass", 0)
    return hits > 0 and misses == 0


def problem(before: CompileState, after: CompileState, *, cuda_graphs: bool) -> str | None:
    """Why the samples between the two looks are not of compiled code, or None.

    before: after the first call.  after: after the samples.
    """
    if before.graphs < 1:
        return "nothing was compiled: dynamo made no graph, so eager code ran"
    if before.frames_total != before.frames_ok:
        failed = before.frames_total - before.frames_ok
        return f"{failed} of {before.frames_total} frames failed to compile and ran as eager code"
    if after.recompile_limit:
        return "the recompile limit was hit, so eager code ran"
    if after.frames_total > before.frames_total:
        return f"recompiled {after.frames_total - before.frames_total} times inside the samples"
    if cuda_graphs and after.cudagraph_skips:
        return f"CUDA graphs were skipped {after.cudagraph_skips} times"
    return None
