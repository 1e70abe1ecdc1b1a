"""Whether compiled code ran where `compile` was given, and none where it was `off`."""

from collections.abc import Iterable

from torch import nn

from bench.api import quiet
from bench.worker.device import torch_private
from bench.worker.model import torch_compile
from bench.worker.model.step import Step
from bench.worker.model.torch_compile import MOST_EAGER, CompileState

# A small training step has half of its operators outside of graphs: those of the optimizer, and
# of the gradients that are stored.  Where dynamo has compiled nothing, all of them are.
ALL_EAGER = 0.9


def so_far(mode: str | None) -> CompileState | None:
    """Return what dynamo has done in this process; None if nothing is to be compiled."""
    return None if mode in (None, torch_compile.OFF) else torch_compile.read()


def despite_off(name: str, function: object, modules: Iterable[nn.Module]) -> str | None:
    """Say what is compiled already, or return None.

    modules: that the function uses.
    """
    parts = {
        part or type(module).__name__: inner
        for module in modules
        for part, inner in module.named_modules()
    }
    for shown, one in {name: function, **parts}.items():
        if torch_private.is_compiled(one):
            what = name if shown == name else f"{shown} of {name}"
            return (
                f"compile=off was asked for, but {what} is compiled already: give it uncompiled, "
                "or leave compile out"
            )
    return None


def problem(before: CompileState | None, step: Step, eager: Step) -> str | None:
    """Say why the calls since `before` were not compiled code, or return None.

    step, eager: the same work, compiled and not; each is called once more.

    Another call may have compiled the same code before, so that no new graph is no proof.
    """
    if before is None or step is eager:
        return None
    for one in (step, eager):
        one.prepare(1)
    try:
        with quiet.profiler():
            share = torch_compile.eager_ratio(step, eager)
    except (MemoryError, RuntimeError):  # the caller profiles this very call
        return None
    return _said(before, torch_compile.read(), share)


def _said(before: CompileState, after: CompileState, share: float | None) -> str | None:
    """share: of the operators of an eager call, that ran outside of graphs; None: unknown."""
    frames = after.frames_total - before.frames_total
    broken = after.graph_breaks > before.graph_breaks
    in_parts = broken or frames > after.frames_ok - before.frames_ok
    if share is None or share <= (MOST_EAGER if in_parts else ALL_EAGER):
        return None
    why = "torch gave some of the code up" if in_parts else "torch compiled nothing of it"
    return (
        f"compile was asked for, but {share:.0%} of the operators ran as eager code: {why}; "
        'TORCH_LOGS="graph_breaks,recompiles" names the places, and where one function was '
        "compiled too often, torch.compiler.reset() lets it begin anew"
    )
