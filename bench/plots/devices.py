"""The plot of accelerators and the CPU: images per second, and the speedup over the CPU."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare import transfers
from bench.compare.groups import PLAIN, Group, Span, flags, groups, label
from bench.compare.setting_speedup import ratio
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.core.text import plain
from bench.plots import marks
from bench.plots.captions import by_group, device_name, footer, interval_note, plain_means, subtitle
from bench.plots.quantity import throughput_of
from bench.plots.sheet import Captions, sheet
from bench.plots.style import FAINT, STYLES, Style, batch_axis, value_ticks
from bench.results.results import Medians, Results
from bench.stats.intervals import LEAST_REPLICATES

Spanned = Callable[[Row, Row], Span | None]  # the row of the base and that of the device → ratio
TRANSFER_SHAPES = {"pageable": ("<", ":"), "pinned": (">", "-.")}  # marker and line


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of one panel.

    name: the device and the kind of setting.
    text: the name for the legend.
    """

    mode: str
    device: str
    name: str
    text: str
    style: Style
    points: Sequence[marks.CurvePoint]


def devices(run: Results) -> dict[str, Figure]:
    """Return the figures by subject and input.  Raises NothingToDraw."""
    medians = run.medians
    return by_group(
        groups(run.rows),
        lambda group: _figure(run, group, medians),
        "no subject was measured on both the CPU and an accelerator",
    )


def _figure(run: Results, whole: Group, medians: Medians) -> Figure | None:
    group = whole.of(row for row in whole.rows if throughput_of(row))
    if len(group.devices) < 2 or "cpu" not in group.devices:
        return None
    speeds, ratios = _curves(run, group, medians)
    made = sheet(
        Captions(
            f"Devices: how fast {plain(group.subject)} runs on the CPU and on accelerators",
            subtitle(run, group),
            footer(run, group, group.rows, *plain_means(group), _bars(group, speeds, ratios)),
        ),
        [2.1, 2.1],
        len(group.modes),
        legend=[
            *(
                marks.legend_entry(style, text, line=True)
                for text, style in {one.text: one.style for one in speeds + ratios}.items()
            ),
            *marks.flag_entry(group.rows),
        ],
    )
    for curves, row, name, unit, ylabel, known in (
        (speeds, made.panels[0], "images/s", "", "throughput (images/s)", []),
        (ratios, made.panels[1], "gain", "×", "speedup over the CPU", [Span(1.0)]),
    ):
        spans = [point.span for one in curves for point in one.points]
        low, high = marks.log_limits([*spans, *known], margin=0.12 if known else 0.06)
        for axes, mode in zip(row, group.modes, strict=True):
            axes.set_label(f"{mode} {name}")
            axes.set_yscale("log")
            axes.grid(visible=True)
            batch_axis(axes, group.batches)
            here = [one for one in curves if one.mode == mode]
            for one in here:
                marks.interval_curve(axes, one.points, one.style, one.name)
            if not here:
                marks.empty_panel(axes, "no batch size in common")
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


def _bars(group: Group, speeds: Iterable[Curve], ratios: Iterable[Curve]) -> str:
    """The meaning of the bars; empty if there are none."""
    told = [
        (speeds, interval_note(group.rows, "pipelined")),
        (ratios, "those of speedups: over the replicates of this run"),
    ]
    return "; ".join(
        note
        for curves, note in told
        if any(point.span.low is not None for one in curves for point in one.points)
    )


def _write_values(axes: Axes, points: Iterable[marks.CurvePoint]) -> None:
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
    """Return a device's rows by batch: those of the plain setting, or the fastest ones."""
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


def _curves(run: Results, group: Group, medians: Medians) -> tuple[list[Curve], list[Curve]]:
    """Return the curves of images per second, and of time on the CPU / time on the device."""
    speeds: list[Curve] = []
    ratios: list[Curve] = []
    moved: list[Curve] = []
    several = len(group.settings) > 1
    for device in group.devices:
        name = device_name(run, group, device)
        for kind in ("plain", "fastest") if several else ("plain",):
            text = f"{name}, {_kind(group, device, kind)}" if several else name
            drawn = f"{device} {kind}", text, _style(group, device, kind)
            speeds += _drawn(group, device, device, kind, drawn, lambda _, row: throughput_of(row))
            if device != "cpu":
                ratios += _drawn(group, "cpu", device, kind, drawn, _ratio(medians))
        for way, shape in TRANSFER_SHAPES.items() if device != "cpu" else ():
            text = f"single calls, with {way} transfers"
            text = f"{name}, {text}" if len(group.devices) > 2 else text
            style = Style(_style(group, device, "plain").color, *shape)
            drawn = f"{device} with {way} transfers", text, style
            span = _ratio_with_transfers(group, way, medians)
            moved += _drawn(group, "cpu", device, "plain", drawn, span)
    return speeds, ratios + moved


def _drawn(
    group: Group, base: str, device: str, kind: str, drawn: tuple[str, str, Style], span: Spanned
) -> Iterator[Curve]:
    """Return a curve for each mode, over the batch sizes that both devices have."""
    for mode in group.modes:
        one, other = (_by_batch(group, its, mode, kind) for its in (base, device))
        pairs = [(batch, one[batch], other[batch]) for batch in sorted(one.keys() & other.keys())]
        points = [
            marks.CurvePoint(batch, found, bool(flags(rows)))
            for batch, *rows in pairs
            if (found := span(*rows))
        ]
        if points:
            yield Curve(mode, device, *drawn, points)


def _ratio(medians: Medians) -> Spanned:
    def span(cpu: Row, there: Row) -> Span | None:
        found = ratio(cpu, there, medians)
        return found[0] if found else None

    return span


def _ratio_with_transfers(group: Group, way: str, medians: Medians) -> Spanned:
    """Return the ratio of single calls with the transfers of input and output."""
    run_ids = {str(row.case_id): row.run_id for row in group.rows}

    def span(cpu: Row, there: Row) -> Span | None:
        phase = whole_phase(str(cpu.mode))
        total = transfers.total(str(there.case_id), phase, way, run_ids, medians)
        alone = medians.get((cpu.run_id, str(cpu.case_id), phase, "latency"), {})
        if not total or not alone:
            return None
        one, _ = transfers.estimate(alone, total, same_run=cpu.run_id == there.run_id)
        interval = one.interval() if one.n >= LEAST_REPLICATES else None
        return Span(one.ratio, *(interval or (None, None)))

    return span


def _kind(group: Group, device: str, kind: str) -> str:
    """Return the name of the fastest setting if it is the same for all batch sizes."""
    if kind == "plain":
        return kind
    best = {
        label(group.setting(row))
        for mode in group.modes
        for row in _by_batch(group, device, mode, kind).values()
    }
    return f"fastest ({best.pop()})" if len(best) == 1 else "fastest setting of each"
