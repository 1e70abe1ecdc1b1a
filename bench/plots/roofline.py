"""The roofline plot: the rate of each layer below the measured peaks of this machine."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.groups import Group, flags, groups, label, split
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.core.text import plain
from bench.insights.roofline import Point, layer_types, points, unknown
from bench.plots import marks, style
from bench.plots.captions import device_name, footer
from bench.plots.sheet import Captions, sheet
from bench.plots.style import INK, NothingToDraw, Style, value_ticks
from bench.results.results import Results

KINDS = {
    "whole": (Style(style.GREEN, "D"), "the whole network"),
    "compute": (Style(style.VERMILION, "^"), "limited by arithmetic"),
    "memory": (Style(style.BLUE, "s"), "limited by memory"),
    "neither": (Style(style.GREY, "o"), "far from both limits"),
}
ARITHMETIC = ("dtype", "amp", "tf32")
MOST_LABELS = 10  # labels of a panel, for the longest calls
MOST_UNCOUNTED = 3  # layers without a point that the notes name
MOST_LINES = 24  # lines of the layers without FLOPs


def roofline(run: Results) -> dict[str, Figure]:
    """Return the figures by subject, input, device and arithmetic.  Raises NothingToDraw."""
    rows, machine = run.rows, run.description.machine
    found, uncounted = points(rows, machine, layer_types(run)), unknown(rows, machine)
    found = [one for one in found if one.row.phase == whole_phase(str(one.row.mode))]
    drawn: dict[str, Figure] = {}
    for group in groups(rows, layers=True):
        ids = {row.case_id for row in group.rows}
        own = [one for one in found if one.row.case_id in ids]
        kinds = dict.fromkeys((one.row.device, one.arithmetic) for one in own)
        for device, kind in kinds:
            here = [one for one in own if (one.row.device, one.arithmetic) == (device, kind)]
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
    """Return the rows of the network in its plain setting, in which its layers were measured."""
    return [
        one
        for one in found
        if (one.row.subject, one.row.input) == (group.subject, group.input)
        and (one.row.device, one.arithmetic, one.row.batch) == (device, kind, batch)
        and one.row.compile == "off"
        and one.row.memory_format == "contiguous"
        and one.row.allocator in (None, "retained")
    ]


def _notes(found: Sequence[Point], uncounted: Sequence[Row]) -> Iterator[str]:
    """Yield notes: how bytes are counted, and which layers have no point."""
    partial = any(one.partial for one in found)
    yield "%: share of the nearer limit"
    yield "bytes: the least that must move, by shapes" + ", without the optimizer's" * partial
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
    used = {_kind(one, group) for one in found}
    made = sheet(
        Captions(
            f"Roofline: how close {plain(group.subject)} comes to the limits of this machine",
            f"{device_name(run, group, str(first.row.device))} · {first.arithmetic} · "
            f"batch {first.row.batch} · limits measured in this run (black lines): "
            f"{units.count(first.compute_per_s, 'FLOP/s')} and "
            f"{units.bytes_(first.memory.bytes_per_s)}/s {first.memory.where}",
            footer(run, group, rows, *_notes(found, uncounted)),
        ),
        [2.7, *([marks.rows_height_in(len(names))] if names else [])],
        len(modes),
        width_in=4.0,
        legend=[
            *(marks.legend_entry(*own) for kind, own in KINDS.items() if kind in used),
            *marks.flag_entry(rows),
        ],
    )
    made.panels[0][0].set_ylabel("rate of arithmetic")
    for column, mode in enumerate(modes):
        here = [one for one in found if one.row.mode == mode]
        axes = made.panels[0][column]
        axes.set_title(f"{mode} ({whole_phase(mode)})")
        _roof(axes, [one for one in here if one.flop_per_s is not None], group, found)
        if names:
            _rates(made.panels[1][column], here, names, group, found)
    return made.fitted()


def _kind(one: Point, group: Group) -> str:
    return "whole" if one.row.subject == group.subject else one.bound


def _mark(one: Point, group: Group) -> tuple[Style, bool]:
    """Return the style of a point, and whether it is hollow."""
    return KINDS[_kind(one, group)][0], bool(flags([one.row]))


def _roof(axes: Axes, shown: Sequence[Point], group: Group, all_: Sequence[Point]) -> None:
    """Draw the rate over the intensity, both logarithmic, and the two ceilings."""
    counted = [one for one in all_ if one.flop_per_s and one.intensity]
    if not shown or not counted:
        marks.empty_panel(axes, "no layer with FLOPs")
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
    value_ticks(axes.xaxis, low, high, "")
    value_ticks(axes.yaxis, bottom, top, "FLOP/s")
    axes.grid(visible=True)
    axes.set_xlabel("intensity (FLOP per byte moved)")
    axes.plot(
        [low, roof.ridge, high],
        [low * roof.memory.bytes_per_s, roof.compute_per_s, roof.compute_per_s],
        color=INK,
        linewidth=1.5,
    )
    longest = sorted(shown, key=lambda one: -(one.row.pipelined_s or 0.0))[:MOST_LABELS]
    labels: list[float] = []  # their places so far
    for one in sorted(shown, key=lambda one: -(one.flop_per_s or 0.0)):
        x, y = one.intensity or 1.0, one.flop_per_s or 1.0
        mark, hollow = _mark(one, group)
        axes.plot(x, y, **marks.marker(mark, hollow=hollow))
        if one in longest:
            right = x < math.sqrt(low * high)
            height = math.log10(top / bottom) / 15  # of a label
            highest = math.log10(roof.compute_per_s) - height
            reach = x * (high / low) ** (0.35 if right else -0.35)
            beside = [
                math.log10(other.flop_per_s or 1.0)
                for other in shown
                if min(x, reach) < (other.intensity or 1.0) < max(x, reach)
            ]
            place = _free(min(math.log10(y), highest), [*labels, *beside], height)
            labels.append(place)
            axes.annotate(
                f"{_name(one.row, group)}  {100 * one.reached:.0f} %",
                (x, y),
                xytext=(x * (high / low) ** (0.025 if right else -0.025), 10**place),
                arrowprops={
                    "arrowstyle": "-",
                    "color": style.FAINT,
                    "linewidth": 0.7,
                    "shrinkA": 0,
                },
                ha="left" if right else "right",
                va="center",
                color=INK,
            )


def _free(wanted: float, taken: Sequence[float], height: float) -> float:
    """Return the next free height below; the roof is above."""
    while any(abs(wanted - one) < height for one in taken):
        wanted -= height / 4
    return wanted


def _rates(
    axes: Axes, here: Sequence[Point], names: Sequence[str], group: Group, all_: Sequence[Point]
) -> None:
    """Draw the layers without FLOPs: their rate of bytes, and that of main memory."""
    by_name = {_name(one.row, group): one for one in here if one.flop_per_s is None}
    rates = [one.bytes_per_s for one in all_ if one.flop_per_s is None]
    roof = all_[0].memory.bytes_per_s
    rows = [_rate(name, by_name.get(name), group) for name in names]
    limits = min([*rates, roof]) / 1.6, max([*rates, roof]) * 1.6
    marks.interval_rows(axes, rows, "B/s", "layers without FLOPs: rate of memory traffic", limits)
    if by_name:
        axes.axvline(roof, color=INK, linewidth=1.5)


def _rate(name: str, one: Point | None, group: Group) -> marks.IntervalRow:
    if one is None:
        return marks.IntervalRow(name)
    mark, hollow = _mark(one, group)
    text = f"{100 * one.reached:.0f} %"
    return marks.IntervalRow(name, one.bytes_per_s, text=text, style=mark, hollow=hollow)


def _name(row: Row, group: Group) -> str:
    """Return the layer and its settings, without the arithmetic, which is in the title."""
    layer = split(row.subject or "")[1]
    if layer is None:
        return plain(group.subject, 28)
    setting = tuple(part for part in group.setting(row) if part[0] not in ARITHMETIC)
    return plain(layer, 28) + (f", {label(setting)}" if setting else "")
