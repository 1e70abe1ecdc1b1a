"""The roofline plot: the rate of each layer below the measured peaks of this machine."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
IN_TITLE = ("dtype", "amp", "tf32", "threads")
MOST_LABELS = 10  # labels of a panel, for the longest calls
LABELS_HIGH = 15  # so many labels, one above the other, fill a panel
LETTER_WIDTH = 0.019  # of a label / that of the panel
MOST_UNCOUNTED = 3  # layers without a point that the notes name
MOST_LINES = 24  # lines of the layers without FLOPs


def roofline(run: Results) -> dict[str, Figure]:
    """The figures by subject, input, device, arithmetic and threads.  Raises NothingToDraw."""
    rows, machine = run.rows, run.description.machine
    found, uncounted = points(rows, machine, layer_types(run)), unknown(rows, machine)
    found = [one for one in found if one.row.phase == whole_phase(str(one.row.mode))]
    drawn: dict[str, Figure] = {}
    for group in groups(rows, layers=True):
        ids = {row.case_id for row in group.rows}
        own = [one for one in found if one.row.case_id in ids]
        roofs = list(dict.fromkeys(map(_roof_of, own)))
        for roof in roofs:
            here = [one for one in own if _roof_of(one) == roof]
            batch = max({one.row.batch or 0 for one in here}, key=lambda n: (_count(here, n), n))
            shown = [one for one in here if one.row.batch == batch]
            shown += _wholes(found, group, shown)
            without = [row for row in uncounted if row.case_id in ids and row.batch == batch]
            several = len({one.threads for one in roofs}) > 1
            name = " ".join((group.name, *(roof.words(threads=several) if len(roofs) > 1 else ())))
            drawn[name] = _figure(run, group, shown, without, threads=several)
    if not drawn:
        raise NothingToDraw("no layers beside measured peaks of the machine")
    return drawn


class Roof(NamedTuple):
    """The details that the limits depend on."""

    device: str
    arithmetic: str
    threads: str | None

    def words(self, *, threads: bool) -> list[str]:
        """Return the parts of a name.  threads: whether the number of threads is one."""
        told = threads and self.threads is not None
        return [self.device, self.arithmetic, *([f"threads {self.threads}"] if told else [])]


def _roof_of(one: Point) -> Roof:
    return Roof(str(one.row.device), one.arithmetic, one.row.threads)


def _count(found: Sequence[Point], batch: int) -> int:
    return sum(one.row.batch == batch for one in found)


def _wholes(found: Sequence[Point], group: Group, layers: Sequence[Point]) -> list[Point]:
    """Return the network in the settings in which these layers were measured."""
    first, settings = layers[0], {group.setting(one.row) for one in layers}
    return [
        one
        for one in found
        if (one.row.subject, one.row.input) == (group.subject, group.input)
        and (_roof_of(one), one.row.batch) == (_roof_of(first), first.row.batch)
        and group.setting(one.row) in settings
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


def _figure(
    run: Results, group: Group, found: Sequence[Point], uncounted: Sequence[Row], *, threads: bool
) -> Figure:
    modes = [mode for mode in ("inference", "training") if any(o.row.mode == mode for o in found)]
    rows = [one.row for one in found]
    without = [one for one in found if one.flop_per_s is None]
    names = list(dict.fromkeys(_name(one.row, group) for one in without))[:MOST_LINES]
    first = found[0]
    used = {_kind(one, group) for one in found}
    made = sheet(
        Captions(
            f"Roofline: how close {plain(group.subject)} comes to the limits of this machine",
            f"{device_name(run, group, str(first.row.device))} · "
            f"{' · '.join(_roof_of(first).words(threads=threads)[1:])} · "
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
        axes.set_xticks([])  # else it would go from 0 to 1 of no unit
        if not counted:  # else another panel has the ticks of this row
            axes.set_yticks([])
        marks.empty_panel(axes, "no layer with FLOPs")
        return
    roof = shown[0]
    xs = [one.intensity or 1.0 for one in counted]
    ys = [one.flop_per_s or 1.0 for one in counted]
    low, high = min(*xs, roof.ridge) / 2.5, max(*xs, roof.ridge) * 2.5
    bottom, top = min(ys) / 2.5, max(roof.compute_per_s, *ys) * 2.2
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
    for one in shown:
        mark, hollow = _mark(one, group)
        axes.plot(one.intensity or 1.0, one.flop_per_s or 1.0, **marks.marker(mark, hollow=hollow))
    for its in _labels(shown, group, (low, high), (bottom, top)):
        is_right = its.place[0] > its.point[0]
        axes.annotate(
            its.text,
            its.point,
            xytext=its.place,
            arrowprops={
                "arrowstyle": "-",
                "color": style.FAINT,
                "linewidth": 0.7,
                "shrinkA": 0,
                "relpos": (0.0 if is_right else 1.0, 0.5),  # from the end beside the point
            },
            ha="left" if is_right else "right",
            va="center",
            color=INK,
        )


@dataclass(frozen=True, slots=True)
class PointLabel:
    """The text of a point, and the place of its end that is nearer to the point."""

    text: str
    point: tuple[float, float]
    place: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """Logs of the edges of a panel and of the height of a label; labels are below `most`."""

    left: float
    right: float
    least: float
    most: float
    height: float

    @property
    def width(self) -> float:
        return self.right - self.left


@dataclass(frozen=True, slots=True)
class Spot:
    """A place of a label, as logs.  covers: whether a point is below it."""

    covers: bool
    left: float
    right: float
    at: float
    begin: float


def _labels(
    shown: Sequence[Point], group: Group, xs: marks.Limits, ys: marks.Limits
) -> list[PointLabel]:
    """Return the labels of the longest calls, below the roof.

    A label stands beside its point, on no other label, and on no other point if there is such a
    place.  A label without a place is left out.
    """
    longest = sorted(shown, key=lambda one: -(one.row.pipelined_s or 0.0))[:MOST_LABELS]
    bottom, top = map(math.log10, ys)
    height = (top - bottom) / LABELS_HIGH
    most = math.log10(shown[0].compute_per_s) - height
    panel = Panel(math.log10(xs[0]), math.log10(xs[1]), bottom + height / 2, most, height)
    points_ = [_place(one) for one in shown]
    taken: list[Spot] = []
    found: list[PointLabel] = []
    for one in sorted(longest, key=lambda one: -(one.flop_per_s or 0.0)):
        text = f"{_name(one.row, group)}  {100 * one.reached:.0f} %"
        x, y = _place(one)
        inner = 1 if x < panel.left + panel.width / 2 else -1  # the side with more room
        spots = [_spot(len(text), (x, y), side, panel, taken, points_) for side in (inner, -inner)]
        free = [
            spot
            for number, spot in enumerate(spots)
            if spot and (not number or panel.left <= spot.left < spot.right <= panel.right)
        ]
        if free:
            spot = min(free, key=lambda each: (each.covers, abs(each.at - y)))
            taken.append(spot)
            found.append(PointLabel(text, (10**x, 10**y), (10**spot.begin, 10**spot.at)))
    return found


def _spot(
    characters: int,
    point: tuple[float, float],
    side: int,
    panel: Panel,
    taken: Sequence[Spot],
    points_: Sequence[tuple[float, float]],
) -> Spot | None:
    """Return the free place on one side of a point that is nearest to it; None if there is none."""
    x, y = point
    begin = x + side * 0.025 * panel.width
    left, right = sorted((x, begin + side * panel.width * LETTER_WIDTH * characters))
    labels = [one.at for one in taken if one.left < right and left < one.right]
    heights = [other for at, other in points_ if left < at < right]
    low, high = panel.least, panel.most
    step = panel.height / 4
    count = max(0, math.floor((high - low) / step))
    places = [min(max(y, low), high), *(low + number * step for number in range(count + 1))]
    places.sort(key=lambda one: abs(one - y))
    for covers, things in ((False, [*labels, *heights]), (True, labels)):
        for place in places:
            if all(abs(place - one) >= panel.height for one in things):
                return Spot(covers, left, right, place, begin)
    return None


def _place(one: Point) -> tuple[float, float]:
    """Return the logs of intensity and rate of a point that has FLOPs."""
    return math.log10(one.intensity or 1.0), math.log10(one.flop_per_s or 1.0)


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
    """Return the layer or the network with its settings, without those that the title has."""
    layer = split(row.subject or "")[1]
    setting = tuple(part for part in group.setting(row) if part[0] not in IN_TITLE)
    name = plain(group.subject if layer is None else layer, 28)
    return name + (f", {label(setting)}" if setting else "")
