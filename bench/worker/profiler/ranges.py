"""Ranges on the profiler's time line: the step, its phases, and each call of a module.

Modules are observed through `nn.Module.__call__`, not by hooks: a hook on any module inside
disables the fused paths of torch's transformer layers, so that other code would be profiled than is
timed (torch/nn/modules/transformer.py, why_not_sparsity_fast_path).
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.profiler import record_function

from bench.worker.model import layer_names
from bench.worker.model.step import Step, TrainingObserver, TrainingStep
from bench.worker.profiler.owners import PHASES, STEP

NETWORK = "(network)"  # the row of the time that the whole network spends outside its layers
_OWN_CALL = nn.Module.__call__
_PHASE_RANGES = {phase: name for name, phase in PHASES.items()}


@dataclass(slots=True)
class ModuleCall:
    """One call of a module in each step."""

    row: str
    module: str  # the module's row, without the number of the call
    type: str
    is_leaf: bool = True
    caller: str = ""  # row of the module that called it; empty: none did


# A function that gets the row of a call and its output.
OnOutput = Callable[[str, Any], None]
# A function that gets the row of a call, the module's row and the module, and the arguments.
OnCall = Callable[[str, str, nn.Module, Any], None]


class _Thread(threading.local):
    """The calls that are open in this thread, the innermost last."""

    def __init__(self) -> None:
        self.open: list[ModuleCall] = []


@dataclass(slots=True)
class Ranges:
    """Makes ranges around the calls of a network's modules, and knows their names."""

    whole: nn.Module | None  # None: no module inside can be observed, as in compiled code
    on_output: OnOutput | None = None
    on_call: OnCall | None = None
    rows: dict[str, str] = field(default_factory=dict)  # name of a range → row
    seen: dict[str, ModuleCall] = field(default_factory=dict)  # by row, in the order of the calls
    _names: dict[nn.Module, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _thread: _Thread = field(default_factory=_Thread)
    _of_step: list[ModuleCall] = field(default_factory=list)  # open in the thread of the step
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.whole is None:
            return
        own = layer_names.aliases(self.whole)
        self._names = {
            module: layer_names.alias(name, own) or name
            for module, name in layer_names.dotted_names(self.whole).items()
        }
        self._names[self.whole] = NETWORK

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Make ranges inside the context; nothing else of the modules changes."""
        if self.whole is None:
            yield
            return

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            name = self._names.get(module)
            if name is None:
                return _OWN_CALL(module, *args, **kwargs)
            return self._call(name, module, args, kwargs)

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = _OWN_CALL  # type: ignore[method-assign]

    def run(self, step: Step, observe: TrainingObserver | None = None) -> None:
        """Run one step with its phases marked.  look: see `TrainingStep`."""
        self._counts.clear()
        self._of_step = self._thread.open
        phases = iter(step.phases)
        with record_function(STEP), contextlib.ExitStack() as open_:

            def next_phase() -> None:
                open_.close()
                open_.enter_context(record_function(_PHASE_RANGES[next(phases)]))

            next_phase()
            if isinstance(step, TrainingStep):
                step(next_phase, observe)
            else:
                step(next_phase)

    def _call(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> Any:
        # A thread of the network's own has no call open: the one that it works for called it.
        own = self._thread.open
        outer = own or list(self._of_step)
        caller = outer[-1].row if outer else ""
        with self._lock:
            count = self._counts[name] = self._counts.get(name, 0) + 1
            row = name if count == 1 else f"{name}#{count}"
            called = ModuleCall(row, name, type(module).__name__, caller=caller)
            seen = self.seen.setdefault(row, called)
        for one in outer:
            one.is_leaf = False
        own.append(seen)
        if self.on_call is not None:
            self.on_call(row, name, module, (args, kwargs))
        try:
            with record_function(self._range(row)):
                output = _OWN_CALL(module, *args, **kwargs)
        finally:
            own.pop()
        if self.on_output is not None:
            self.on_output(row, output)
        return output

    def _range(self, row: str) -> str:
        """Return a range name for this row alone that a trace can hold, whatever the module's name
        is.
        """
        name = "layer " + re.sub(r"[^\w.#()\[\] -]", "?", row, flags=re.ASCII)
        while self.rows.setdefault(name, row) != row:
            name += "'"
        return name
