"""Finds causes among the differences: what changed in a module, and the time that goes with it.

A counted difference is exact: an operator that only one side calls, another setting, dtype, memory
format or mode of a module.  Without one, a part is a cause only if its difference is beyond the
noise.  Everything else is the remainder.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.core import units
from bench.core.text import number_of
from bench.explain.differences import BETWEEN, IDLE, Difference, Whole
from bench.results.profile_parts import FusedKernel, GraphBreak, ModuleCall, StepParts

EITHER = "either"  # as bench.worker.profiler.calls has it
NETWORK = "(network)"
GRAPH = "(compiled graph"  # the beginning of the row of a graph
IN_THE_BACKWARD = " in the backward, as activation checkpointing does"
MOST_NAMES = 3  # operators and layers of one kernel
SMALL_SHARE = 0.01  # of the step: a counted cause with a smaller difference comes last
COUNTED_NAMES = (
    "operators", "flops", "graph_breaks", "layout_flips", "allocations", "allocated_bytes",
    "peak_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A change in one place, and its part of the difference."""

    layer: str  # the name in B, or in A if B lacks it
    changes: tuple[str, ...]  # in words, the most important first
    parts: tuple[Difference, ...]
    counted: bool
    where: str = ""  # more about the place

    @property
    def difference_s(self) -> float:
        return math.fsum(part.difference_s for part in self.parts)

    @property
    def phases(self) -> dict[str, float]:
        """Seconds of the difference by phase."""
        found: dict[str, float] = {}
        for part in self.parts:
            found[part.phase] = found.get(part.phase, 0.0) + part.difference_s
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A figure of the whole step that repeats exactly."""

    name: str
    a: float | None
    b: float | None


@dataclass(frozen=True, slots=True)
class Rows:
    """The calls of modules on both sides, by row: the names are those of B."""

    a: Mapping[str, ModuleCall]
    b: Mapping[str, ModuleCall]
    order: Sequence[str]

    @classmethod
    def of(cls, a: StepParts, b: StepParts) -> "Rows":
        left, right = ({one.row: one for one in side.modules} for side in (a, b))
        return cls(left, right, list(dict.fromkeys((*right, *left))))

    def both(self, row: str) -> tuple[ModuleCall, ModuleCall] | None:
        return (self.a[row], self.b[row]) if row in self.a and row in self.b else None


def counted(a: StepParts, b: StepParts) -> list[Count]:
    """Return the counted figures of the step that differ."""
    left = {**a.counted, "layout_flips": _flips(a.modules)}
    right = {**b.counted, "layout_flips": _flips(b.modules)}
    return [
        Count(name=name, a=left.get(name), b=right.get(name))
        for name in COUNTED_NAMES
        if left.get(name) != right.get(name)
        and (left.get(name) is not None or right.get(name) is not None)
    ]


def _flips(modules: Sequence[ModuleCall]) -> int | None:
    """Return how often the memory format changes from one tensor to the next; None if unknown."""
    if not modules:
        return None
    formats = [
        one
        for module in modules
        for one in (module.input_format, module.output_format)
        if one not in ("", EITHER)
    ]
    return sum(one != other for one, other in itertools.pairwise(formats))


def find(a: StepParts, b: StepParts, every: Sequence[Difference], whole: Whole) -> list[Cause]:
    """Return the causes, the most important first.  No part belongs to two of them.

    a: with the names of B (`align.renamed`).
    """
    rows, left = Rows.of(a, b), list(every)
    found: list[Cause] = []
    for maker in MAKERS:
        made, left = maker(a, b, rows, left)
        found += made
    return _ordered(found, whole)


def _ordered(causes: Sequence[Cause], whole: Whole) -> list[Cause]:
    """Return counted causes before others, and those that explain the difference before others.

    Where the difference of the steps is within its noise, times say little: all counted causes
    stand first.
    """
    sign = 1.0 if whole.difference_s > 0 else -1.0
    small_s = SMALL_SHARE * whole.a_s

    def rank(one: Cause) -> tuple[bool, bool, float]:
        if not whole.beyond:
            return False, not one.counted, -abs(one.difference_s)
        size_s = sign * one.difference_s
        return size_s < small_s, not one.counted, -size_s

    return sorted(causes, key=rank)


Made = tuple[list[Cause], list[Difference]]


def _take(
    left: Sequence[Difference], rows: Iterable[str]
) -> tuple[tuple[Difference, ...], list[Difference]]:
    own = set(rows)
    return (
        tuple(one for one in left if one.layer in own),
        [one for one in left if one.layer not in own],
    )


def _broken_graphs(a: StepParts, b: StepParts, _rows: Rows, left: list[Difference]) -> Made:
    """A graph break changes every graph after it, so all parts but the optimizer's belong to it."""
    before, after = (one.counted.get("graph_breaks") for one in (a, b))
    if before is None or after is None or before == after:
        return [], left
    more = after > before
    new = _only_in(*((b.breaks, a.breaks) if more else (a.breaks, b.breaks)))
    changes = [f"graph breaks {before:.0f} → {after:.0f}", *map(_shown_break, new[:2])]
    layer = next((name for one in new for name in one.modules), "(compiled graph)")
    parts = tuple(one for one in left if one.phase != "optimizer")
    cause = Cause(layer=layer, changes=tuple(changes), parts=parts, counted=True)
    return [cause], [one for one in left if one.phase == "optimizer"]


def _only_in(one: Sequence[GraphBreak], other: Sequence[GraphBreak]) -> list[GraphBreak]:
    """Return the breaks that only one side has, wherever in the file their lines are now."""
    left = Counter(map(_code, other))
    found = []
    for each in one:
        if left[_code(each)]:
            left[_code(each)] -= 1
        else:
            found.append(each)
    return found


def _code(one: GraphBreak) -> tuple[str, str, tuple[str, ...]]:
    return one.reason, one.code, one.modules


def _shown_break(one: GraphBreak) -> str:
    code = f" at `{one.code}`" if one.code else ""
    place = f" ({one.place})" if one.place else ""
    return f"{one.reason}{code}{place}"


def _compiled(a: StepParts, b: StepParts, _rows: Rows, left: list[Difference]) -> Made:
    """Compare eager code with compiled code, whose graphs take the place of all layers.

    The optimizer and the loss are not compiled, so their parts stay.
    """
    if (a.case.compile == "off") == (b.case.compile == "off"):
        return [], left
    side, other = (b, a) if a.case.compile == "off" else (a, b)
    own = {row.partition("#")[0] for row in (*other.types, *side.types)}
    parts = tuple(
        one for one in left if one.layer.startswith(GRAPH) or one.layer.partition("#")[0] in own
    )
    if not parts:
        return [], left
    eager = number_of(sum(one.calls_a if side is b else one.calls_b for one in parts), "operator")
    kernels = [one for one in side.fused if one.calls or one.kind == "library"]
    graphs = number_of(len({one.layer for one in parts if one.layer.startswith(GRAPH)}), "graph")
    into = f"{number_of(len(kernels), 'kernel')} in " if kernels else ""
    change = f"{eager} of eager code are compiled {f'into {into}' if into else 'in '}{graphs}"
    if side is a:
        change = f"{eager} of eager code take the place of {into}{graphs}"
    slowest = sorted(kernels, key=lambda one: -(one.time_s or 0.0))
    verb = "computes" if side is b else "computed"
    changes = (change, *(_computes(one, verb) for one in slowest))
    cause = Cause(layer=NETWORK, changes=changes, parts=parts, counted=True)
    return [cause], [one for one in left if one not in parts]


def _computes(one: FusedKernel, verb: str) -> str:
    """Say which operators of which layers a kernel computes, or computed in A."""
    time = f" ({units.seconds(one.time_s)})" if one.time_s else ""
    operators = ", ".join(f"`{name}`" for name in list(dict.fromkeys(one.operators))[:MOST_NAMES])
    layers = ", ".join(f"`{name}`" for name in one.layers[:MOST_NAMES])
    more = len(one.layers) - MOST_NAMES
    tail = f" and {number_of(more, 'more layer')}" if more > 0 else ""
    return f"kernel `{one.kernel}`{time} {verb} {operators} of {layers}{tail}"


def _new_modules(a: StepParts, b: StepParts, rows: Rows, left: list[Difference]) -> Made:
    """Find modules that one side lacks or calls more often: the outermost ones with all inside."""
    types = {**{row: kind for row, (_, kind) in a.types.items()},
             **{row: kind for row, (_, kind) in b.types.items()}}  # fmt: skip
    layers = dict.fromkeys(one.layer for one in left if not one.layer.startswith("("))
    in_a, in_b = _seen(left, "a_s", rows.a), _seen(left, "b_s", rows.b)
    known = {row.partition("#")[0] for row in in_a & in_b}
    found, left = _computed_again(a, b, left, {one for one in in_b - in_a if "#" in one}, known)
    for row in sorted(dict.fromkeys((*rows.order, *layers)), key=lambda one: one.count(".")):
        is_new, is_gone = row in in_b and row not in in_a, row in in_a and row not in in_b
        if not (is_new or is_gone) or row.startswith("("):
            continue
        name = row.partition("#")[0]
        again = name in known
        alone = in_b - in_a if is_new else in_a - in_b
        inside = [one for one in layers if one in alone and _inside(one, name)]
        parts, left = _take(left, inside)
        if not parts:
            continue
        kind = types.get(row, "") or types.get(name, "")
        phases = {part.phase for part in parts}
        if again:
            changes = [f"runs {'again' if is_new else 'less often'}"]
            if phases == {"backward"}:
                runs = "runs" if is_new else "no longer runs"
                changes = [f"{runs} again{IN_THE_BACKWARD}"]
        else:
            changes = [f"{'a new' if is_new else 'no more'} layer{f' ({kind})' if kind else ''}"]
        found.append(
            Cause(
                layer=name,
                changes=(*changes, *_operators(parts, a, b)[:2]),
                parts=parts,
                counted=True,
            )
        )
    return found, left


def _computed_again(
    a: StepParts, b: StepParts, left: list[Difference], new: set[str], known: set[str]
) -> Made:
    """Find modules whose inner modules run again in the backward (activation checkpointing).

    new: rows of further calls that only B has.
    """
    backward = {one.layer for one in left if one.phase == "backward" and one.b_s > 0}
    forward = {one.layer for one in left if one.phase == "forward" and one.b_s > 0}
    again = {row for row in new & (backward - forward) if row.partition("#")[0] in known}
    by_parent: dict[str, set[str]] = {}
    for row in again:
        by_parent.setdefault(row.partition("#")[0].rpartition(".")[0], set()).add(row)
    found = []
    for parent, inside in sorted(by_parent.items(), key=lambda one: one[0].count(".")):
        itself = any(row.partition("#")[0] == parent for row in again)
        if itself or len({row.partition("#")[0] for row in inside}) < 2:
            continue
        parts, left = _take(left, [row for row in again if _inside(row, parent)])
        changes = (f"runs again{IN_THE_BACKWARD}", *_operators(parts, a, b)[:2])
        if parts:
            name = parent or NETWORK
            found.append(Cause(layer=name, changes=changes, parts=parts, counted=True))
    return found, left


def _seen(left: Iterable[Difference], time: str, modules: Mapping[str, ModuleCall]) -> set[str]:
    return {one.layer for one in left if getattr(one, time) > 0} | set(modules)


def _inside(row: str, name: str) -> bool:
    """Return whether a row is a call of a module or of one inside it."""
    own = row.partition("#")[0]
    return own == name or own.startswith(f"{name}.")


def _modes(a: StepParts, b: StepParts, rows: Rows, left: list[Difference]) -> Made:
    """Find modules that are in training mode on one side only."""
    changed = [
        row
        for row in rows.order
        if (pair := rows.both(row)) and pair[0].training != pair[1].training
    ]
    if not changed or NETWORK in changed:
        return [], left
    found = []
    while changed:
        pair = rows.both(changed[0])
        assert pair is not None
        modes = ["training" if one.training else "inference" for one in pair]
        top = changed[0].partition("#")[0]
        group = [row for row in changed if row == top or row.startswith((f"{top}.", f"{top}#"))]
        changed = [row for row in changed if row not in group]
        parts, left = _take(left, group)
        changes = (f"{modes[0]} mode → {modes[1]} mode", *_operators(parts, a, b)[:2])
        found.append(Cause(layer=top, changes=changes, parts=parts, counted=True))
    return found, left


def _formats(a: StepParts, b: StepParts, rows: Rows, left: list[Difference]) -> Made:
    return _flow(a, b, rows, left, "format")


def _dtypes(a: StepParts, b: StepParts, rows: Rows, left: list[Difference]) -> Made:
    return _flow(a, b, rows, left, "dtype")


def _flow(a: StepParts, b: StepParts, rows: Rows, left: list[Difference], what: str) -> Made:
    """Follow a changed memory format or dtype from the place where it first differs.

    Where the network's own input differs, the two sides are settings, and no place is a cause.
    """
    changed = [row for row in rows.order if (pair := rows.both(row)) and _differs(pair, what)]
    if not changed or any(_differs_in(rows.both(row), what) for row in changed if row == NETWORK):
        return [], left
    root = next(
        (row for row in changed if _differs_in(rows.both(row), what) or _is_leaf(row, rows)),
        changed[0],
    )
    first = rows.both(root)
    assert first is not None
    where = ""
    flips_inside = not _differs_in(first, what)
    layer = root
    if what == "format" and not flips_inside:  # its input differs: the code around it converts
        layer, where = _parent(root, rows), f"before `{root}`"
    side = "input" if not flips_inside else "output"
    before, after = (getattr(one, f"{side}_{what}") for one in first)
    affected = [row for row in changed if row not in (NETWORK, layer) and _follows(row, rows)]
    parts, left = _take(left, {layer, *affected})
    others = sum(_is_leaf(row, rows) for row in affected)
    follow = f"{others} more {'layer' if others == 1 else 'layers'} after it" if others > 0 else ""
    own = _changed_settings(*first) if layer == root else ""
    changes = (
        *([own] if own else []),
        f"{'memory format' if what == 'format' else 'dtype'} {before} → {after}"
        + (f" ({follow})" if follow else ""),
        *_operators([one for one in parts if one.layer == layer], a, b)[:2],
    )
    return [Cause(layer=layer, changes=changes, parts=parts, counted=True, where=where)], left


def _follows(row: str, rows: Rows) -> bool:
    """Return whether a module has the same settings on both sides, so that it only follows."""
    pair = rows.both(row)
    return pair is None or not _changed_settings(*pair)


def _differs(pair: tuple[ModuleCall, ModuleCall], what: str) -> bool:
    return _differs_in(pair, what) or _unequal(*(getattr(one, f"output_{what}") for one in pair))


def _differs_in(pair: tuple[ModuleCall, ModuleCall] | None, what: str) -> bool:
    return pair is not None and _unequal(*(getattr(one, f"input_{what}") for one in pair))


def _unequal(a: str, b: str) -> bool:
    return a != b and "" not in (a, b) and EITHER not in (a, b)


def _is_leaf(row: str, rows: Rows) -> bool:
    name = row.partition("#")[0]
    return name != NETWORK and not any(one.startswith(f"{name}.") for one in rows.order)


def _parent(row: str, rows: Rows) -> str:
    """Return the row of the innermost module around it that is called."""
    name = row.partition("#")[0]
    while "." in name:
        name = name.rpartition(".")[0]
        if name in rows.b:
            return name
    return NETWORK


def _gaps(_a: StepParts, _b: StepParts, _rows: Rows, left: list[Difference]) -> Made:
    """Find the time in which an accelerator waits for the host to launch its next kernel."""
    gaps = [one for one in left if one.operator == IDLE]
    if not any(one.beyond for one in gaps):
        return [], left
    parts = tuple(one for one in gaps if one.beyond or one.likely)
    first = _largest(parts)[0]
    before_s, after_s = (math.fsum(getattr(one, name) for one in parts) for name in ("a_s", "b_s"))
    others = len({one.layer for one in parts}) - 1
    change = (
        f"launch gaps, in which the device idles, {units.seconds(before_s)} → "
        f"{units.seconds(after_s)}"
    )
    change += f" (with those of {number_of(others, 'more layer')})" if others else ""
    cause = Cause(layer=first.layer, changes=(change,), parts=parts, counted=False)
    return [cause], [one for one in left if one not in parts]


def _copies(_a: StepParts, _b: StepParts, _rows: Rows, left: list[Difference]) -> Made:
    """Find copies that the device itself carries out, mostly between it and the host."""
    found, taken = list[Cause](), list[Difference]()
    for one in left:
        kernels = {**one.kernels_a, **one.kernels_b}
        if not kernels or not all(name.startswith("Memcpy") for name in kernels):
            continue
        if not (one.counted or one.beyond):
            continue
        name = _main_kernel(one.kernels_b) or _main_kernel(one.kernels_a)
        before, after = (
            sum(int(calls) for calls, _ in side.values()) for side in (one.kernels_a, one.kernels_b)
        )
        change = f"copies `{name}` under `{one.operator}` {before} → {after}"
        if before == after:  # they take longer, or are of another kind
            change += f", {units.seconds(one.a_s)} → {units.seconds(one.b_s)}"
        taken.append(one)
        found.append(Cause(layer=one.layer, changes=(change,), parts=(one,), counted=one.counted))
    return found, [one for one in left if one not in taken]


def _modules(a: StepParts, b: StepParts, rows: Rows, left: list[Difference]) -> Made:
    """Look at every module by itself: its settings, its operators, and parts beyond the noise."""
    found: list[Cause] = []
    rest: list[Difference] = []
    for layer in dict.fromkeys(one.layer.partition("#")[0] for one in left):
        parts = [one for one in left if one.layer.partition("#")[0] == layer]
        settings = _settings(rows.both(layer))
        counts = any(one.counted for one in parts)
        own = parts if settings else [one for one in parts if _belongs(one, counts=counts)]
        rest += [one for one in parts if one not in own]
        if not own:
            continue
        changes = (*settings, *_operators(own, a, b))
        found.append(
            Cause(layer=layer, changes=changes, parts=tuple(own), counted=bool(settings) or counts)
        )
    return found, rest


def _belongs(one: Difference, *, counts: bool) -> bool:
    """Return whether a part of a module is one of a cause.

    counts: operators of the module differ, so that its other parts may follow from that.
    """
    return one.counted or one.beyond or (counts and one.likely)


def _settings(pair: tuple[ModuleCall, ModuleCall] | None) -> list[str]:
    """Say which settings of a module differ."""
    if pair is None:
        return []
    a, b = pair
    found = [f"{a.type} → {b.type}"] if a.type != b.type else []
    if changed := _changed_settings(a, b):
        found.append(changed)
    elif a.weights != b.weights:
        found.append(f"{a.weights or 'no weights'} → {b.weights or 'no weights'}")
    return found


def _changed_settings(a: ModuleCall, b: ModuleCall) -> str:
    before, after = _different(_words(a.settings), _words(b.settings))
    return f"{before or 'the default'} → {after or 'the default'}" if before or after else ""


def _different(a: Sequence[str], b: Sequence[str]) -> tuple[str, str]:
    """Return the words of both sides that differ; all words without a name, if one of them does.

    `8, 8` → `8, 16` says which of the two numbers changed, and `8` → `16` does not.
    """
    places = [[one for one in side if "=" not in one] for side in (a, b)]
    differ = places[0] != places[1]
    left, right = (
        ", ".join(one for one in side if (differ if "=" not in one else one not in other))
        for side, other in ((a, b), (b, a))
    )
    return left, right


def _words(settings: str) -> list[str]:
    """Split `8, 8, kernel_size=(3, 3)` at commas outside of brackets."""
    words, depth = [""], 0
    for letter in settings:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return [one.strip() for one in words if one.strip()]


def _largest(parts: Iterable[Difference]) -> list[Difference]:
    return sorted(parts, key=lambda one: -abs(one.difference_s))


LEAST_TOLD_S = 0.5e-6  # below it, only the profiler's own cost was there
# They make the host wait for the device, and break a graph, whatever time they take themselves.
READS = ("aten::item", "aten::is_nonzero")
# Parts below this share of the largest in a cause are told after all others.
TELLING_SHARE = 0.1


def _operators(parts: Iterable[Difference], a: StepParts, b: StepParts) -> list[str]:
    """Say which operators differ: counted ones first.

    Operators that take no time, such as views, are left out where others take some.
    """
    every = [one for one in _largest(parts) if one.counted or one.beyond or one.likely]
    # A node has a time of its own where a hook runs in it.
    changed = [one for one in every if not _wraps(one.operator)] or every
    most_s = max((abs(one.difference_s) for one in changed), default=0.0)
    telling = [
        one
        for one in changed
        if abs(one.difference_s) >= TELLING_SHARE * most_s or one.operator in READS
    ]
    new = [one for one in telling if not one.calls_a and one.calls_b]
    gone = [one for one in telling if not one.calls_b and one.calls_a]
    said: list[str] = []
    both = [(one, other) for one in new for other in gone if one.phase == other.phase]
    if both:
        first, instead = both[0]
        said.append(
            f"`{first.operator}` ({units.seconds(first.b_s)}) instead of "
            f"`{instead.operator}` ({units.seconds(instead.a_s)})"
        )
        changed = [one for one in changed if one not in (first, instead)]
    told = [one for one in telling if one in changed]
    exact = next((one for one in changed if one.counted), None)
    told.sort(key=lambda one: (not one.counted, one.operator not in READS))
    if exact is not None and not any(one.counted for one in telling):
        told.append(exact)
    return [*said, *(_changed(one, a, b) for one in told)]


def _wraps(operator: str) -> bool:
    """Return whether it only calls another operator of the same name: autograd's own nodes."""
    return operator.startswith("autograd::engine::")


def _changed(one: Difference, a: StepParts, b: StepParts) -> str:
    if not one.counted:
        return _slower(one)
    inside = f" in `{one.within}`" if one.within not in ("", one.operator) else ""
    if not one.calls_a:
        told = [units.seconds(one.b_s)] if one.b_s >= LEAST_TOLD_S else []
        told += [f"{one.calls_b} calls"] if one.calls_b > 1 else []
        how = f" ({', '.join(told)})" if told else ""
        return f"a new `{one.operator}`{inside}{how}{_before(one, a, b)}"
    if not one.calls_b:
        return f"no more `{one.operator}`{inside} ({units.seconds(one.a_s)})"
    return (
        f"`{one.operator}`{inside} {one.calls_a} → {one.calls_b} calls "
        f"({units.signed(one.difference_s)})"
    )


def _before(one: Difference, a: StepParts, b: StepParts) -> str:
    """Say which operator follows a new one, among those that both sides call."""
    order = b.order.get((one.layer, one.phase), ())
    outer = one.within or one.operator
    if outer not in order:
        return ""
    both = set(a.order.get((one.layer, one.phase), ()))
    rest = order[order.index(outer) + 1 :]
    follows = next((name for name in rest if name in both and name != outer), None)
    return f" before `{follows}`" if follows else ""


def _slower(one: Difference) -> str:
    times = f"{units.seconds(one.a_s)} → {units.seconds(one.b_s)}"
    if one.operator == BETWEEN:
        return f"the time between operators (Python and dispatch) {times}"
    before, after = _main_kernel(one.kernels_a), _main_kernel(one.kernels_b)
    if before and after and before != after:
        return f"`{one.operator}` {times}: kernel `{after}` instead of `{before}`"
    return f"`{one.operator}` {times}" + (f", kernel `{after}`" if after else "")


def _main_kernel(kernels: Mapping[str, Sequence[float]]) -> str:
    return max(kernels, key=lambda name: kernels[name][1], default="")


def remainder(every: Sequence[Difference], causes: Sequence[Cause]) -> float:
    """Return the seconds of the difference that no cause has."""
    total = math.fsum(one.difference_s for one in every)
    return total - math.fsum(one.difference_s for one in causes)


# In this order: the first that explains a part has it.
MAKERS = (
    _broken_graphs,
    _compiled,
    _new_modules,
    _modes,
    _formats,
    _dtypes,
    _gaps,
    _copies,
    _modules,
)
