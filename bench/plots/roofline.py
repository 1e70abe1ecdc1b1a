"""How far each layer is from what this machine can do: a roofline, as it was measured."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.compare.groups import Group, flags, groups, split
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.core.text import plain
from bench.insights.roofline import Point, arithmetic, points, unknown
from bench.plots.captions import device_name, footer
from bench.plots.marks import flag_handle, point, say
from bench.plots.sheet import Words, sheet, text_in
from bench.plots.style import BLUE, FAINT, GREEN, GREY, INK, VERMILION, Look, NothingToDraw, ruler
from bench.results.results import Results

COMPUTE, MEMORY, NEITHER = Look(VERMILION, "^", "-"), Look(BLUE, "s", "-"), Look(GREY, "o", "-")
WHOLE = Look(GREEN, "D", "-")
LOOKS = {"compute": COMPUTE, "memory": MEMORY, "neither": NEITHER}
MOST_LABELS = 10  # of a panel, the longest calls
MOST_UNCOUNTED = 3  # that are named
MOST_LINES = 24  # of the layers without FLOPs


def roofline(run: Results) -> dict[str, Figure]:
    """By subject, input, device, arithmetic and batch.  Raises NothingToDraw."""
    rows, machine = run.rows, run.description.machine
    found, uncounted = points(rows, machine), unknown(rows, machine)
    found = [one for one in found if one.row.phase == whole_phase(str(one.row.mode))]
    drawn: dict[str, Figure] = {}
    for group in groups(rows, layers=True):
        ids = {row.case_id for row in group.rows}
        own = [one for one in found if one.row.case_id in ids]
        kinds = dict.fromkeys((one.row.device, arithmetic(one.row)) for one in own)
        for device, kind in kinds:
            here = [one for one in own if (one.row.device, arithmetic(one.row)) == (device, kind)]
            batch = max({one.row.batch or 0 for one in here}, key=lambda n: (_count(here, n), n))
            shown = [one for one in here if one.row.batch == batch]
            shown += _wholes(found, group, str(device), kind, batch)
            name = group.name if len(kinds) == 1 else f"{group.name} {device} {kind}"
            without = [row for row in uncounted if row.case_id in ids and row.batch == batch]
            drawn[name] = _figure(run, group, shown, without)
    if not drawn:
        raise NothingToDraw("no layers beside measured peaks of the machine")
    return drawn


def _count(found: Sequence[Point], batch: int) -> int:
    return sum(one.row.batch == batch for one in found)


def _wholes(
    found: Sequence[Point], group: Group, device: str, kind: str, batch: int
) -> list[Point]:
    """The network itself, in its plain setting: eager, as its layers were measured."""
    return [
        one
        for one in found
        if (one.row.subject, one.row.input) == (group.subject, group.input)
        and (one.row.device, arithmetic(one.row), one.row.batch) == (device, kind, batch)
        and one.row.compile == "off"
        and one.row.memory_format == "contiguous"
        and one.row.allocator in (None, "retained")
    ]


def _notes(found: Sequence[Point], uncounted: Sequence[Row]) -> Iterator[str]:
    """What one has to know of the bytes, and which layers have no place."""
    partial = any(one.partial for one in found)
    yield "bytes are the least that must move, by shapes" + ", without the optimizer's" * partial
    names = list(dict.fromkeys(split(row.subject or "")[1] or "" for row in uncounted))
    if names:
        more = f" and {len(names) - MOST_UNCOUNTED} more" if len(names) > MOST_UNCOUNTED else ""
        yield f"FLOPs unknown: {', '.join(plain(n, 28) for n in names[:MOST_UNCOUNTED])}{more}"


def _figure(run: Results, group: Group, found: Sequence[Point], uncounted: Sequence[Row]) -> Figure:
    modes = [mode for mode in ("inference", "training") if any(o.row.mode == mode for o in found)]
    rows = [one.row for one in found]
    without = [one for one in found if one.flop_per_s is None]
    names = list(dict.fromkeys(_name(one.row, group) for one in without))[:MOST_LINES]
    first = found[0]
    of = first.row
    page = sheet(
        Words(
            f"How far is {plain(group.subject)} from what this machine can do?",
            f"{device_name(run, group, str(of.device))} · {arithmetic(of)} · batch {of.batch} · "
            f"at most {units.count(first.compute_per_s, 'FLOP/s')} and "
            f"{units.bytes_(first.memory.bytes_per_s)}/s "
            f"{first.memory.where}, as measured in this run",
            footer(run, group, rows, *_notes(found, uncounted)),
        ),
        [3.1, *([0.75 + 0.24 * len(names)] if names else [])],
        len(modes),
        panel_in=4.4,
        label_in=max(text_in(names), 0.55),
        legend=[
            *_handles(found, group),
            *flag_handle(rows),
        ],
    )
    for column, mode in enumerate(modes):
        here = [one for one in found if one.row.mode == mode]
        axes = page.panels[0][column]
        axes.set_title(f"{mode} ({whole_phase(mode)})")
        _roof(axes, [one for one in here if one.flop_per_s is not None], group, found)
        if names:
            _rates(page.panels[1][column], here, names, group, found)
    return page.figure


def _handles(found: Sequence[Point], group: Group) -> list[Line2D]:
    kinds = (
        (WHOLE, "the whole network", any(_is_whole(one, group) for one in found)),
        (COMPUTE, "bound by arithmetic", any(_look(one, group) is COMPUTE for one in found)),
        (MEMORY, "bound by memory", any(_look(one, group) is MEMORY for one in found)),
        (NEITHER, "bound by neither", any(_look(one, group) is NEITHER for one in found)),
    )
    return [
        Line2D([], [], label=text, **point(look, hollow=False))
        for look, text, there in kinds
        if there
    ]


def _is_whole(one: Point, group: Group) -> bool:
    return one.row.subject == group.subject


def _look(one: Point, group: Group) -> Look:
    if _is_whole(one, group):
        return WHOLE
    return LOOKS[one.bound]


def _roof(axes: Axes, shown: Sequence[Point], group: Group, all_: Sequence[Point]) -> None:
    """Rate over intensity, both logarithmic, under the two ceilings."""
    counted = [one for one in all_ if one.flop_per_s and one.intensity]
    if not shown or not counted:
        say(axes, "no layer with FLOPs")
        return
    roof = shown[0]
    xs = [one.intensity or 1.0 for one in counted]
    ys = [one.flop_per_s or 1.0 for one in counted]
    low, high = min(*xs, roof.ridge) / 2.5, max(*xs, roof.ridge) * 2.5
    bottom, top = min(ys) / 2.5, roof.compute_per_s * 2.2
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    ruler(axes.xaxis, low, high, lambda value: f"{value:.3g}")
    ruler(axes.yaxis, bottom, top, lambda value: units.count(value, "FLOP/s"))
    axes.grid(visible=True)
    axes.set_xlabel("intensity (FLOP per byte that must move)")
    axes.plot(
        [low, roof.ridge, high],
        [low * roof.memory.bytes_per_s, roof.compute_per_s, roof.compute_per_s],
        color=INK,
        linewidth=1.5,
    )
    longest = sorted(shown, key=lambda one: -(one.row.pipelined_s or 0.0))[:MOST_LABELS]
    labelled: list[float] = []
    for one in sorted(shown, key=lambda one: -(one.flop_per_s or 0.0)):
        x, y = one.intensity or 1.0, one.flop_per_s or 1.0
        axes.plot(x, y, **point(_look(one, group), hollow=bool(flags([one.row]))))
        if one in longest:
            place = _free(math.log10(y), labelled, math.log10(top / bottom) / 15)
            labelled.append(place)
            axes.annotate(
                f"{_name(one.row, group)}  {100 * one.reached:.0f} %",
                (x, 10**place),
                xytext=(8, 0) if x < math.sqrt(low * high) else (-8, 0),
                textcoords="offset points",
                ha="left" if x < math.sqrt(low * high) else "right",
                va="center",
                color=INK,
            )


def _free(wanted: float, taken: Sequence[float], room: float) -> float:
    """The next place downwards where no other label stands: above is the roof."""
    while any(abs(wanted - one) < room for one in taken):
        wanted -= room / 4
    return wanted


def _rates(
    axes: Axes, here: Sequence[Point], names: Sequence[str], group: Group, all_: Sequence[Point]
) -> None:
    """Layers without FLOPs: their rate of bytes beside that of the main memory."""
    shown = [one for one in here if one.flop_per_s is None and _name(one.row, group) in names]
    rates = [one.bytes_per_s for one in all_ if one.flop_per_s is None]
    roof = all_[0].memory.bytes_per_s
    low, high = min([*rates, roof]) / 1.6, max([*rates, roof]) * 1.6
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ruler(axes.xaxis, low, high, lambda value: f"{units.bytes_(value)}/s")
    axes.grid(visible=True, axis="x")
    axes.axvline(roof, color=INK, linewidth=1.5)
    axes.set_xlabel("without FLOPs: rate of bytes (line: memory)")
    for one in shown:
        at = names.index(_name(one.row, group))
        axes.plot(one.bytes_per_s, at, **point(_look(one, group), hollow=bool(flags([one.row]))))
        axes.annotate(
            f"{100 * one.reached:.0f} %",
            (1.02, at),
            xycoords=("axes fraction", "data"),
            va="center",
            color=FAINT,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(names)), list(names))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _name(row: Row, group: Group) -> str:
    layer = split(row.subject or "")[1]
    return plain(layer or group.subject, 28)
