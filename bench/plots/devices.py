"""Accelerators beside the CPU: images per second, and the speedup over the CPU."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare import speedup, transfers
from bench.compare.groups import PLAIN, Group, Span, flags, groups, label, records
from bench.compare.setting_speedup import ratio
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.core.text import plain
from bench.plots.captions import device_name, footer, interval_note, plain_means, subtitle
from bench.plots.marks import (
    CurvePoint,
    empty_panel,
    flag_entry,
    interval_curve,
    legend_entry,
    log_limits,
)
from bench.plots.quantity import throughput_of
from bench.plots.sheet import Captions, sheet
from bench.plots.style import FAINT, STYLES, NothingToDraw, Style, batch_axis, value_ticks
from bench.results.load import RunData
from bench.stats import between_runs
from bench.stats import ratios as stats

Points = Callable[[str], Sequence[CurvePoint]]  # by mode
TRANSFER_SHAPES = {"pageable": ("<", ":"), "pinned": (">", "-.")}  # marker and line


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of one panel.

    name: the device and the kind of setting.
    text: the same for the legend.
    """

    mode: str
    device: str
    name: str
    text: str
    style: Style
    points: Sequence[CurvePoint]


def devices(run: RunData) -> dict[str, Figure]:
    """By subject and input.  Raises NothingToDraw."""
    drawn: dict[str, Figure] = {}
    for whole in groups(records(run.rows)):
        group = whole.of(row for row in whole.rows if throughput_of(row))
        if len(group.devices) > 1 and "cpu" in group.devices:
            drawn[group.name] = _figure(run, group)
    if not drawn:
        raise NothingToDraw("no subject was measured on both the CPU and an accelerator")
    return drawn


def _figure(run: RunData, group: Group) -> Figure:
    medians = speedup.replicate_medians(run.samples)
    speeds, ratios = [], []
    for device in group.devices:
        for kind in ("plain", "fastest") if len(group.settings) > 1 else ("plain",):
            speeds += [one for one in _speeds(run, group, device, kind) if one.points]
            ratios += [one for one in _ratios(run, group, device, kind, medians) if one.points]
    for device in group.devices[1:]:
        ratios += [one for one in _with_transfers(run, group, device, medians) if one.points]
    made = sheet(
        Captions(
            f"Devices: how fast {plain(group.subject)} runs on the CPU and on accelerators",
            subtitle(run, group),
            footer(run, group, group.rows, *plain_means(group), interval_note(group.rows)),
        ),
        [2.1, 2.1],
        len(group.modes),
        legend=[
            *(
                legend_entry(style, text, line=True)
                for text, style in {one.text: one.style for one in speeds + ratios}.items()
            ),
            *flag_entry(group.rows),
        ],
    )
    for curves, row, name, unit, ylabel, known in (
        (speeds, made.panels[0], "images/s", "", "throughput (images/s)", []),
        (ratios, made.panels[1], "gain", "×", "speedup over the CPU", [Span(1.0)]),
    ):
        spans = [point.span for one in curves for point in one.points]
        low, high = log_limits([*spans, *known], margin=0.12 if known else 0.06)
        for axes, mode in zip(row, group.modes, strict=True):
            axes.set_label(f"{mode} {name}")
            axes.set_yscale("log")
            axes.grid(visible=True)
            batch_axis(axes, group.batches)
            here = [one for one in curves if one.mode == mode]
            for one in here:
                interval_curve(axes, one.points, one.style, one.name)
            if not here:
                empty_panel(axes, "no batch size in common")
        row[0].set_ylim(low, high)
        row[0].set_ylabel(ylabel)
        value_ticks(row[0].yaxis, low, high, unit)
    for mode, above, below in zip(group.modes, *made.panels, strict=True):
        above.set_title(f"{mode} ({whole_phase(mode)})")
        above.set_xlabel("")
        below.axhline(1, color=FAINT, linewidth=1.2)
        if len(group.devices) == 2:
            plain_ones = (c for c in ratios if (c.mode, c.name) == (mode, f"{c.device} plain"))
            _write_values(below, [point for curve in plain_ones for point in curve.points])
    return made.fitted()


def _write_values(axes: Axes, points: Iterable[CurvePoint]) -> None:
    for point in points:
        axes.annotate(
            units.speedup(point.span.value),
            (point.x, point.span.value),
            xytext=(6, -12),
            textcoords="offset points",
        )


def _style(group: Group, device: str, kind: str) -> Style:
    at = group.devices.index(device) % len(STYLES)
    own = STYLES[at]
    if kind == "plain":
        return Style(own.color, own.marker, "-")
    return Style(own.color, STYLES[at - len(STYLES) // 2].marker, "--")


def _by_batch(group: Group, device: str, mode: str, kind: str) -> dict[int, Row]:
    """A device's rows by batch: those of the plain setting, or the fastest of all."""
    found: dict[int, Row] = {}
    for row in group.rows:
        if (row.device, row.mode) != (device, mode):
            continue
        if kind == "plain" and group.setting(row) != PLAIN:
            continue
        before = found.get(int(row.batch or 0))
        if before is None or (row.images_per_s or 0) > (before.images_per_s or 0):
            found[int(row.batch or 0)] = row
    return found


def _curves(run: RunData, group: Group, device: str, kind: str, points: Points) -> Iterator[Curve]:
    """A curve per mode, of the points that each has."""
    name, style = device_name(run, group, device), _style(group, device, kind)
    text = f"{name}, {_kind(group, device, kind)}" if len(group.settings) > 1 else name
    for mode in group.modes:
        yield Curve(mode, device, f"{device} {kind}", text, style, points(mode))


def _speeds(run: RunData, group: Group, device: str, kind: str) -> Iterator[Curve]:
    """Images per second, by batch."""

    def points(mode: str) -> list[CurvePoint]:
        rows = sorted(_by_batch(group, device, mode, kind).items())
        found = ((batch, throughput_of(row), row) for batch, row in rows)
        return [CurvePoint(n, span, bool(flags([row]))) for n, span, row in found if span]

    return _curves(run, group, device, kind, points)


def _ratios(
    run: RunData, group: Group, device: str, kind: str, medians: speedup.Medians
) -> Iterator[Curve]:
    """Time on the CPU / time on the device, by batch."""

    def points(mode: str) -> list[CurvePoint]:
        base, other = (_by_batch(group, one, mode, kind) for one in ("cpu", device))
        pairs = [(n, base[n], other[n]) for n in sorted(base.keys() & other.keys())]
        found = ((n, ratio(cpu, there, medians), [cpu, there]) for n, cpu, there in pairs)
        return [CurvePoint(n, one[0], bool(flags(rows))) for n, one, rows in found if one]

    return _curves(run, group, device, kind, points) if device != "cpu" else iter(())


def _with_transfers(
    run: RunData, group: Group, device: str, medians: speedup.Medians
) -> Iterator[Curve]:
    """The same of single calls in the plain setting, the data fetched from the host and back."""
    several = f"{device_name(run, group, device)}, " if len(group.devices) > 2 else ""
    run_ids = {str(row.case_id): row.run_id for row in group.rows}
    for way, shape in TRANSFER_SHAPES.items():
        style = Style(_style(group, device, "plain").color, *shape)
        for mode in group.modes:
            base, other = (_by_batch(group, one, mode, "plain") for one in ("cpu", device))
            points = []
            for batch in sorted(base.keys() & other.keys()):
                cpu, there = base[batch], other[batch]
                phase = whole_phase(mode)
                total = transfers.total(str(there.case_id), phase, way, run_ids, medians)
                alone = medians.get((cpu.run_id, str(cpu.case_id), phase, "latency"), {})
                if total and alone:
                    span = _span(alone, total, same=cpu.run_id == there.run_id)
                    points.append(CurvePoint(batch, span, bool(flags([cpu, there]))))
            text = f"{several}single calls, with {way} transfers"
            yield Curve(mode, device, f"{device} with {way} transfers", text, style, points)


def _span(alone: Mapping[int, float], total: Mapping[int, float], *, same: bool) -> Span:
    """The ratio of the times by replicate; `same` says that both are of one run."""
    centres = stats.centre(list(alone.values())), stats.centre(list(total.values()))
    paired = stats.paired(alone, total) if same else None
    one = paired or stats.welch(*centres, None if same else between_runs.unlearnt())
    return Span(one.ratio, *(one.interval() or (None, None)))


def _kind(group: Group, device: str, kind: str) -> str:
    """The fastest setting by name where it is the same throughout."""
    if kind == "plain":
        return kind
    best = {
        label(group.setting(row))
        for mode in group.modes
        for row in _by_batch(group, device, mode, kind).values()
    }
    return f"fastest ({best.pop()})" if len(best) == 1 else "fastest setting of each"
