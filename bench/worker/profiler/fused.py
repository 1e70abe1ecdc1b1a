"""The kernels of compiled code: which operators of which layers each of them computes.

Inductor gives a node of its graph the operator of eager code that it came from, and the modules
whose forward called it; for the backward those of the forward node that it belongs to.
"""

import contextlib
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.worker.device import torch_private
from bench.worker.profiler.device import Work
from bench.worker.profiler.events import Event
from bench.worker.profiler.owners import PHASES

# A module as dynamo writes it: L['self'].layer1[0], L['self']._modules['layer1']._modules['0'], …
_PART = re.compile(r"\.(\w+)|\[['\"]?([^'\"\]]+)['\"]?\]")
_ROOT = re.compile(r"^(L\[['\"]\w+['\"]\]|\w+)")
_NOT_NAMES = {"_modules", "_orig_mod"}
_GRAPH = re.compile(r"^graph_\d+_")  # before the name of a kernel in C++, in a profile


@dataclass(slots=True)
class Kernel:
    """A kernel of compiled code in one phase."""

    name: str
    phase: str  # forward | backward
    of_library: bool
    times: int = 0  # that inductor's code calls it
    # operator and layer, in the order of the graph; an operator that became several nodes is one
    operators: dict[tuple[str, str, Any], None] = field(default_factory=dict)


@dataclass(slots=True)
class Recorder:
    """Collects the kernels while a network is compiled.

    shown: from the name of a module to the name that the tables have.
    """

    shown: Callable[[str], str] = str
    kernels: dict[tuple[str, str], Kernel] = field(default_factory=dict)

    def saw(
        self,
        name: str,
        nodes: Iterable[Any],
        is_backward: bool,
        of_library: bool,
    ) -> None:
        """Take one kernel, as `torch_private.watch_kernels` tells of it."""
        phase = "backward" if is_backward else "forward"
        kernel = self.kernels.setdefault((name, phase), Kernel(name, phase, of_library))
        kernel.times += 1
        for node in nodes:
            operator = _operator(node.meta.get("original_aten"))
            if node.op == "call_function" and operator:
                module = module_of(node.meta)
                kernel.operators[operator, module, node.meta.get("seq_nr", node.name)] = None

    def on(self, compile_mode: str) -> contextlib.AbstractContextManager[None]:
        """Collect the kernels that are compiled inside the context."""
        if compile_mode == "off":  # inductor takes seconds to import
            return contextlib.nullcontext()
        return torch_private.watch_kernels(self.saw)

    def rows(
        self,
        windows: Sequence[Event],
        events: Sequence[Event],
        works: Sequence[Sequence[Work]],
    ) -> list[dict[str, Any]]:
        """Return a row for each kernel, the slowest first.  Seconds a step.

        windows: the steps.  works: the accelerator's work of each of them.
        """
        each = [seen_in(window, events, done) for window, done in zip(windows, works, strict=True)]
        return sorted(
            (self._row(kernel, each) for kernel in self.kernels.values() if kernel.operators),
            key=lambda row: -(row["time_s"] or 0.0),
        )

    def _row(
        self, kernel: Kernel, each: Sequence[Mapping[tuple[str, str], tuple[int, int]]]
    ) -> dict[str, Any]:
        found = [one.get((kernel.name, kernel.phase), (0, 0)) for one in each]
        calls = statistics.median_low([count for count, _ in found]) if found else 0
        operators = list(kernel.operators)
        time_s = statistics.fmean(ns for _, ns in found) / 1e9 if calls else None
        if kernel.of_library:  # it has no range: its operator is in operators.csv
            calls = kernel.times
        return {
            "kernel": kernel.name,
            "phase": kernel.phase,
            "kind": "library" if kernel.of_library else "fused" if len(operators) > 1 else "single",
            "calls": calls or None,
            "time_s": time_s,
            "operators": [operator for operator, _, _ in operators],
            "layers": list(dict.fromkeys(self.shown(module) for _, module, _ in operators)),
        }


def seen_in(
    window: Event, events: Iterable[Event], done: Iterable[Work]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return calls and nanoseconds by name and phase: of the device's work, else the host's ranges.

    A kernel of the forward and one of the backward may have one name.  Triton puts a range with the
    name of a kernel around its launch: the launch is no call of its own.
    """
    inside = [one for one in events if window.start_ns <= one.start_ns < window.end_ns]
    backward = [one for one in inside if PHASES.get(one.name) == "backward"]

    def phase(time_ns: int) -> str:
        own = any(one.start_ns <= time_ns < one.end_ns for one in backward)
        return "backward" if own else "forward"

    launched = [(one.event.name, one.launched_ns, one.event.duration_ns) for one in done]
    on_device = {name for name, _, _ in launched}
    ranges = [
        (name, one.start_ns, one.duration_ns)
        for one in inside
        if one.kind != "device" and (name := _GRAPH.sub("", one.name)) not in on_device
    ]
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for name, time_ns, duration_ns in (*ranges, *launched):
        calls, total_ns = found.get((name, phase(time_ns)), (0, 0))
        found[name, phase(time_ns)] = calls + 1, total_ns + duration_ns
    return found


def _operator(original: Any) -> str:
    """Return `aten::relu` of torch.ops.aten.relu.default; empty if there is none."""
    name = str(getattr(original, "overloadpacket", None) or original or "")
    return name.replace(".", "::", 1)


def module_of(meta: Mapping[str, Any]) -> str:
    """Return the innermost module of a node; empty: the network itself, or unknown."""
    stack = meta.get("nn_module_stack") or meta.get("fwd_nn_module_stack") or {}
    paths = [str(value[0]) for value in stack.values()]
    return dotted(paths[-1]) if paths else ""


def dotted(path: str) -> str:
    """Return the name of a module as torch has it: `layer1.0` of `L['self'].layer1[0]`."""
    parts = [one or other for one, other in _PART.findall(_ROOT.sub("", path))]
    return ".".join(part for part in parts if part not in _NOT_NAMES)
