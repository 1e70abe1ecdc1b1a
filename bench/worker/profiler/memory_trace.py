"""Memory during one step: all bytes in use, by category.

parameters, buffers: of the module.
inputs:      everything else that was in use before the step (inputs, targets).
optimizer:   its state, and the allocations of its step.
gradients:   tensors in `.grad` after the backward.
activations: outputs of layers, and tensors that the forward keeps for the backward.
temporary:   the rest: workspaces, gradients on their way; on an accelerator also memory that was in
             use before without a tensor of the module or the step (workspaces of libraries,
             rounding).

Sizes and times come from the allocation events of torch's profiler.  The category of an allocation
follows from its address: labels on the same time line say which address was seen as what, and when.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from bench.worker.device import torch_private
from bench.worker.metrics.peak_memory import begin_call
from bench.worker.model import layer_names, loss, pytree
from bench.worker.model.build import Prepared
from bench.worker.model.step import Step, TrainingStep
from bench.worker.profiler.events import Event, of_kineto
from bench.worker.profiler.owners import PHASES, Timeline, timeline
from bench.worker.profiler.ranges import Ranges

CATEGORIES = (
    "parameters",
    "buffers",
    "inputs",
    "optimizer",
    "gradients",
    "activations",
    "temporary",
)
MOST_ALIVE = 50  # most blocks in use at the peak that are named: the largest
# Operators that only allocate for another operator, whose name is shown instead.
_ALLOCATES = ("aten::empty", "aten::resize_", "aten::new_empty")
SEEN = "bench seen "  # a range that puts a label on the time line


class MemoryProfileError(RuntimeError):
    """Memory was not recorded; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One allocation (bytes > 0) or release (bytes < 0)."""

    time_ns: int
    address: int
    bytes: int
    row: str = ""  # the layer, or another owner of the time
    phase: str = ""
    operators: tuple[str, ...] = ()  # operators that were running, the innermost first


@dataclass(frozen=True, slots=True)
class AddressLabel:
    """A label on the time line: the memory at an address has this category."""

    time_ns: int
    address: int
    category: str
    name: str


@dataclass(slots=True)
class Block:
    """A block of memory in use."""

    bytes: int
    category: str
    name: str  # of the tensor or the layer
    operator: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of one step: bytes by category at each time.  Nothing changes between two times."""

    times_ns: Sequence[int]
    bytes_by_category: Mapping[str, Sequence[int]]
    peak: int  # index of the peak in the sequences
    alive: Sequence[Block]  # in use at the peak, the largest first
    # operator → bytes by itself, and with the operators inside
    allocated: Mapping[str, tuple[int, int]]
    allocations: int = 0

    @property
    def peak_bytes(self) -> int:
        return sum(values[self.peak] for values in self.bytes_by_category.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStep:
    """The step that was recorded with its memory events."""

    usage: Usage
    events: Sequence[Event]
    owners: Timeline
    ranges: Ranges


def usage(
    before: Mapping[int, Block],
    changes: Iterable[Change],
    labels: Sequence[AddressLabel],
    start_ns: int,
) -> Usage:
    """Combine the memory before, the changes, and the labels.  Pure.

    before: bytes by address; memory without a known address has an address that nothing else has.
    """
    changes = list(changes)
    made = _blocks(changes, labels)
    alive, times = dict(before), [start_ns]
    now = dict.fromkeys(CATEGORIES, 0)
    for block in before.values():
        now[block.category] += block.bytes
    series = {name: [value] for name, value in now.items()}
    peak, peak_bytes = 0, sum(now.values())
    for number, change in enumerate(changes):
        if change.bytes > 0:
            block = alive[change.address] = made[number]
            now[block.category] += block.bytes
        elif freed := alive.pop(change.address, None):
            now[freed.category] -= freed.bytes
        times.append(change.time_ns)
        for name, value in now.items():
            series[name].append(value)
        if (total := sum(now.values())) > peak_bytes:
            peak, peak_bytes = len(times) - 1, total
    largest = sorted(_alive_after(peak, before, changes, made), key=lambda block: -block.bytes)
    count = sum(change.bytes > 0 for change in changes)
    return Usage(times, series, peak, largest, _by_operator(changes), count)


def _alive_after(
    count: int, before: Mapping[int, Block], changes: Sequence[Change], made: Mapping[int, Block]
) -> list[Block]:
    """Return the blocks after so many changes: the peak is known only at the end."""
    alive = dict(before)
    for number, change in enumerate(changes[:count]):
        if change.bytes > 0:
            alive[change.address] = made[number]
        else:
            alive.pop(change.address, None)
    return list(alive.values())


def _blocks(changes: Sequence[Change], labels: Sequence[AddressLabel]) -> dict[int, Block]:
    """Return the block of each allocation, by its index among the changes."""
    made: dict[int, Block] = {}
    at: dict[int, Block] = {}  # address → the block there now
    line = sorted(
        [*((change.time_ns, 0, n) for n, change in enumerate(changes))]
        + [(label.time_ns, 1, n) for n, label in enumerate(labels)]
    )
    for _, is_sight, number in line:
        if is_sight:
            label = labels[number]
            block = at.get(label.address)
            # The first label counts, except for a gradient: it may lie where a layer's output was.
            if block and (block.category == "temporary" or label.category == "gradients"):
                block.category = label.category
                block.name = label.name or block.name
            continue
        change = changes[number]
        if change.bytes < 0:
            at.pop(change.address, None)
            continue
        first = "optimizer" if change.phase == "optimizer" else "temporary"
        made[number] = at[change.address] = Block(
            change.bytes, first, change.row, _named(change.operators), change.phase
        )
    return made


def _named(operators: Sequence[str]) -> str:
    """Return the innermost operator that does more than allocate; if none does, the innermost."""
    telling = (one for one in operators if not one.startswith(_ALLOCATES))
    return next(telling, operators[0] if operators else "")


def _by_operator(changes: Iterable[Change]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for change in changes:
        if change.bytes <= 0:
            continue
        for depth, name in enumerate(dict.fromkeys(change.operators)):
            own, all_ = found.get(name, (0, 0))
            found[name] = (own if depth else own + change.bytes), all_ + change.bytes
    return found


def record(
    step: Step, prepared: Prepared, whole: torch.nn.Module | None, device: torch.device
) -> MemoryStep:
    """Record one warm step.  whole: owner of the layers.  Raises MemoryProfileError."""
    ranges = Ranges(whole)
    notes = _LabelRecorder(device)
    ranges.on_output = notes.output
    begin_call(step, prepared)
    before = alive_before(step, prepared, device)
    activities = [ProfilerActivity.CPU]
    with ranges.on(), profile(activities=activities, profile_memory=True) as prof:
        ranges.run(step, lambda inputs, _: notes.gradients(prepared, inputs))
    results = torch_private.recorded(prof)
    if results is None:
        raise MemoryProfileError("torch's profiler recorded nothing")
    events = of_kineto(results, None)
    owners = timeline(events, ranges.rows)
    operators = frozenset(one.name for one in events if one.kind == "cpu_op")
    seen, changes, total = _walk(torch_private.event_tree(results), owners, device, operators)
    if total is not None:
        rest = total - sum(block.bytes for block in before.values())
        before[-1] = Block(max(rest, 0), "temporary", "alive before the step")
    labels = [AddressLabel(time_ns, *notes.found[number]) for number, time_ns in seen.items()]
    labels += _kept_for_backward(changes, events) if isinstance(step, TrainingStep) else []
    start_ns = min((event.start_ns for event in events), default=0)
    used = usage(before, changes, labels, start_ns)
    return MemoryStep(usage=used, events=events, owners=owners, ranges=ranges)


def alive_before(step: Step, prepared: Prepared, device: torch.device) -> dict[int, Block]:
    """Return the memory behind the module, the optimizer and the inputs, each storage once, by
    address.
    """
    held = prepared.loss.held() if isinstance(prepared.loss, loss.FixedGradient) else ()
    own = [list(vars(inner).values()) for inner in prepared.module.modules()]
    state = step.optimizer_state if isinstance(step, TrainingStep) else []
    buffers = prepared.module.named_buffers()
    every: Iterator[tuple[str, str, Tensor]] = itertools.chain(
        (("parameters", name, one) for name, one in _named_parameters(prepared.module)),
        (("buffers", _shown(name, prepared.module), one) for name, one in buffers),
        (("optimizer", "state", one) for one in state),
        (("inputs", "input", one) for one in pytree.tensors((prepared.args, prepared.kwargs))),
        (("inputs", "kept by the module or the loss", one) for one in pytree.tensors((own, held))),
    )
    found: dict[int, Block] = {}
    for category, name, tensor in every:
        for part in _parts(tensor):
            storage = part.untyped_storage()
            if _same(storage.device, device) and storage.nbytes():
                found.setdefault(storage.data_ptr(), Block(storage.nbytes(), category, name))
    return found


def _parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors with a storage: a sparse tensor has one in its indices and values only."""
    match tensor.layout:
        case torch.strided:
            return (tensor,)
        case torch.sparse_coo:  # values() without the underscore requires a coalesced tensor
            return torch_private.coo_parts(tensor)
        case torch.sparse_csr | torch.sparse_bsr:
            return tensor.crow_indices(), tensor.col_indices(), tensor.values()
        case torch.sparse_csc | torch.sparse_bsc:
            return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return ()


def _named_parameters(module: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((_shown(name, module), one) for name, one in module.named_parameters())


def _shown(name: str, module: torch.nn.Module) -> str:
    """Return the name to show, with the network's own names: `model.0.weight` → `conv1.weight`."""
    layer, _, last = name.rpartition(".")
    own = layer_names.alias(layer, layer_names.aliases(module)) or layer
    return f"{own}.{last}" if own else last


@dataclass(slots=True)
class _LabelRecorder:
    """Puts labels on the time line, and remembers the meaning of each."""

    device: torch.device
    found: list[tuple[int, str, str]] = field(default_factory=list)  # address, category, name

    def output(self, row: str, output: Any) -> None:
        self._note("activations", "", pytree.tensors(output), row)

    def gradients(self, prepared: Prepared, inputs: Any) -> None:
        for name, parameter in _named_parameters(prepared.module):
            if parameter.grad is not None:
                self._note("gradients", name, [parameter.grad])
        leaves = [one for one in pytree.tensors(inputs) if one.requires_grad and one.is_leaf]
        self._note("gradients", "input", (one.grad for one in leaves if one.grad is not None))

    def _note(self, category: str, name: str, tensors: Iterable[Tensor], row: str = "") -> None:
        for one in tensors:
            for part in _parts(one) if _same(one.device, self.device) else ():
                with record_function(f"{SEEN}{len(self.found)}"):
                    self.found.append((part.untyped_storage().data_ptr(), category, name or row))


def _walk(
    roots: Iterable[Any], owners: Timeline, device: torch.device, operators: frozenset[str]
) -> tuple[dict[int, int], list[Change], int | None]:
    """Return the time of each label, the changes, and on an accelerator the bytes in use before.

    operators: their names; the tree has ranges as well.
    """
    seen: dict[int, int] = {}
    changes: list[Change] = []
    totals: dict[int, int] = {}  # by time: bytes in use before a change
    todo = list(roots)
    while todo:
        event = todo.pop()
        todo.extend(event.children)
        if torch_private.is_torch_operator(event) and event.name.startswith(SEEN):
            seen[int(event.name.removeprefix(SEEN))] = event.start_time_ns
        extra = torch_private.allocation(event)
        if extra is not None and _same(extra.device, device):
            changes.append(_change(event, extra, owners, operators))
            totals[event.start_time_ns] = extra.total_allocated - extra.alloc_size
    changes.sort(key=lambda change: change.time_ns)
    # The CPU's counter begins with the profiler; a caching allocator's counter includes everything.
    counts = bool(totals) and device.type != "cpu"
    return seen, changes, totals[min(totals)] if counts else None


def _same(one: torch.device, other: torch.device) -> bool:
    """Return whether two names mean the same device: `mps` and `mps:0` do."""
    return (one.type, one.index or 0) == (other.type, other.index or 0)


def _change(event: Any, extra: Any, owners: Timeline, operators: frozenset[str]) -> Change:
    owner = owners.at(event.start_time_ns)
    names, outer = [], event.parent
    while outer is not None:
        names.append(outer.name)
        outer = outer.parent
    return Change(
        time_ns=event.start_time_ns,
        address=extra.ptr,
        bytes=extra.alloc_size,
        row=owner.row if owner else "",
        phase=owner.phase if owner else "",
        operators=tuple(name for name in names if name in operators),
    )


def _kept_for_backward(changes: Sequence[Change], events: Iterable[Event]) -> list[AddressLabel]:
    """Label memory in use at the end of the forward: the backward needs it."""
    ends = [one.end_ns for one in events if PHASES.get(one.name) == "forward"]
    alive: dict[int, Change] = {}
    for change in changes:
        if not ends or change.time_ns > ends[0]:
            break
        if change.bytes > 0:
            alive[change.address] = change
        else:
            alive.pop(change.address, None)
    return [AddressLabel(ends[0], address, "activations", "") for address in alive]
