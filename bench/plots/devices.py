"""Accelerators against the CPU: images per second, and how many times as fast."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.compare import transfers
from bench.compare.groups import PLAIN, Group, Span, flags, groups, label
from bench.compare.setting_speedup import ratio
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.core.text import plain
from bench.plots.captions import device_name, footer, interval_note, plain_means, subtitle
from bench.plots.marks import bounds, broken, flag_handle, point, say
from bench.plots.quantity import throughput_of
from bench.plots.sheet import Words, sheet
from bench.plots.style import GREEN, LOOKS, VERMILION, Look, NothingToDraw, batch_ticks, ruler
from bench.results.results import Medians, Results
from bench.stats import between_runs
from bench.stats import ratios as stats

KINDS = ("plain", "fastest")
WAYS = {"pageable": Look(VERMILION, "v", ":"), "pinned": Look(GREEN, "^", "-.")}
Side = Mapping[int, Row]  # by batch


def devices(run: Results) -> dict[str, Figure]:
    """By subject and input.  Raises NothingToDraw."""
    drawn: dict[str, Figure] = {}
    for whole in groups(run.rows):
        group = whole.of(row for row in whole.rows if throughput_of(row))
        if len(group.devices) > 1 and "cpu" in group.devices:
            drawn[group.name] = _figure(run, group)
    if not drawn:
        raise NothingToDraw("no subject was measured on both the CPU and an accelerator")
    return drawn


def side(group: Group, device: str, mode: str, kind: str) -> Side:
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


def _figure(run: Results, group: Group) -> Figure:
    medians = run.medians
    several = len(group.settings) > 1
    kinds = KINDS if several else KINDS[:1]
    page = sheet(
        Words(
            f"When does an accelerator pay for {plain(group.subject)}?",
            subtitle(run, group),
            footer(run, group, group.rows, *plain_means(group), interval_note(group.rows)),
        ),
        [2.8, 2.9],
        len(group.modes),
        panel_in=4.2,
        legend=_handles(run, group, kinds, medians),
    )
    speed, ratios = page.panels
    for column, mode in enumerate(group.modes):
        speed[column].set_label(f"{mode} images/s")
        speed[column].set_title(f"{mode} ({whole_phase(mode)})")
        ratios[column].set_label(f"{mode} gain")
        ratios[column].set_xlabel("batch (images per call)")
        ratios[column].axhline(1, color="#6b6b6b", linewidth=1.2)
        for axes in (speed[column], ratios[column]):
            axes.set_yscale("log")
            axes.grid(visible=True)
            batch_ticks(axes, group.batches)
        for kind in kinds:
            _speeds(speed[column], group, mode, kind)
            _ratios(ratios[column], group, mode, kind, medians)
    _rulers(speed, ratios, group, medians)
    return page.figure


def _look(group: Group, device: str, kind: str) -> Look:
    at = group.devices.index(device) % len(LOOKS)
    if kind == "plain":
        return Look(LOOKS[at].color, LOOKS[at].marker, "-")
    return Look(LOOKS[at].color, LOOKS[at - len(LOOKS) // 2].marker, "--")


def _speeds(axes: Axes, group: Group, mode: str, kind: str) -> None:
    for device in group.devices:
        rows = sorted(side(group, device, mode, kind).items())
        points = [(batch, span, [row]) for batch, row in rows if (span := throughput_of(row))]
        _draw(axes, points, _look(group, device, kind), f"{device} {kind}")


def gains(
    group: Group, device: str, mode: str, kind: str, medians: Medians
) -> list[tuple[int, Span, list[Row]]]:
    """By batch, time on the CPU / time on the device, and the rows compared."""
    base, other = side(group, "cpu", mode, kind), side(group, device, mode, kind)
    found = []
    for batch in sorted(base.keys() & other.keys()):
        one = ratio(base[batch], other[batch], medians)
        if one is not None:
            found.append((batch, one[0], [base[batch], other[batch]]))
    return found


def gains_with_transfers(
    group: Group, device: str, mode: str, way: str, medians: Medians
) -> list[tuple[int, Span, list[Row]]]:
    """The same of single calls in the plain setting, the data fetched from the host and back."""
    base, other = side(group, "cpu", mode, "plain"), side(group, device, mode, "plain")
    run_ids = {str(row.case_id): row.run_id for row in group.rows}
    found = []
    for batch in sorted(base.keys() & other.keys()):
        cpu, there = base[batch], other[batch]
        phase = whole_phase(mode)
        total = transfers.total(str(there.case_id), phase, way, run_ids, medians)
        alone = medians.get((cpu.run_id, str(cpu.case_id), phase, "latency"), {})
        if not total or not alone:
            continue
        same = cpu.run_id == there.run_id
        paired = stats.paired(alone, total) if same else None
        centres = stats.centre(list(alone.values())), stats.centre(list(total.values()))
        one = paired or stats.welch(*centres, None if same else between_runs.unlearnt())
        low, high = one.interval() or (None, None)
        found.append((batch, Span(one.ratio, low, high), [cpu, there]))
    return found


def _ways(group: Group, device: str, medians: Medians) -> list[str]:
    """The kinds of memory that transfers were measured from."""
    return [
        way
        for way in transfers.KINDS
        if any(gains_with_transfers(group, device, mode, way, medians) for mode in group.modes)
    ]


def _ratios(axes: Axes, group: Group, mode: str, kind: str, medians: Medians) -> None:
    drawn = False
    for device in group.devices[1:]:
        points = gains(group, device, mode, kind, medians)
        _draw(axes, points, _look(group, device, kind), f"{device} {kind}")
        for way in transfers.KINDS if kind == "plain" else ():
            moved = gains_with_transfers(group, device, mode, way, medians)
            _draw(axes, moved, WAYS[way], f"{device} with {way} transfers")
        drawn = drawn or bool(points)
        if kind == "plain" and len(group.devices) == 2:
            for batch, span, _ in points:
                axes.annotate(
                    units.speedup(span.value),
                    (batch, span.value),
                    xytext=(6, -12),
                    textcoords="offset points",
                    ha="left",
                )
    if kind == "plain" and not drawn and len(group.settings) == 1:
        say(axes, "no batch size in common")


def _draw(axes: Axes, points: Sequence[tuple[int, Span, list[Row]]], look: Look, name: str) -> None:
    if not points:
        return
    axes.plot(
        [batch for batch, _, _ in points],
        [span.value for _, span, _ in points],
        color=look.color,
        linestyle=look.line,
        linewidth=1.5,
        label=name,
    )
    for batch, span, rows in points:
        if span.low is not None and span.high is not None:
            axes.vlines(batch, span.low, span.high, color=look.color, linewidth=1.2)
        axes.plot(batch, span.value, **point(look, hollow=bool(flags(rows))))


def _rulers(speed: Sequence[Axes], ratios: Sequence[Axes], group: Group, medians: Medians) -> None:
    drawn = (
        row
        for device in group.devices
        for mode in group.modes
        for kind in KINDS
        for row in side(group, device, mode, kind).values()
    )
    low, high = bounds([span for row in drawn if (span := throughput_of(row))])
    speed[0].set_ylim(low, high)
    ruler(speed[0].yaxis, low, high, units.count)
    speed[0].set_ylabel("throughput (images/s)")
    found = [
        span
        for device in group.devices[1:]
        for mode in group.modes
        for kind in KINDS
        for _, span, _ in gains(group, device, mode, kind, medians)
    ]
    found += [
        span
        for device in group.devices[1:]
        for mode in group.modes
        for way in transfers.KINDS
        for _, span, _ in gains_with_transfers(group, device, mode, way, medians)
    ]
    low, high = bounds([*found, Span(1.0)], room=0.12)
    ratios[0].set_ylim(low, high)
    ruler(ratios[0].yaxis, low, high, units.speedup)
    ratios[0].set_ylabel("times as fast as the CPU")


def _handles(run: Results, group: Group, kinds: Sequence[str], medians: Medians) -> list[Line2D]:
    handles = []
    for device in group.devices:
        name = device_name(run, group, device)
        for kind in kinds:
            look = _look(group, device, kind)
            text = f"{name}, {_kind(group, device, kind)}" if len(kinds) > 1 else name
            handles.append(
                Line2D(
                    [],
                    [],
                    **{**point(look, hollow=False), "linestyle": look.line},
                    color=look.color,
                    label=broken(text),
                )
            )
    ways = [way for device in group.devices[1:] for way in _ways(group, device, medians)]
    handles += [
        Line2D(
            [],
            [],
            **{**point(WAYS[way], hollow=False), "linestyle": WAYS[way].line},
            color=WAYS[way].color,
            label=broken(f"single calls, with {way} transfers"),
        )
        for way in dict.fromkeys(ways)
    ]
    return [*handles, *flag_handle(group.rows)]


def _kind(group: Group, device: str, kind: str) -> str:
    """The fastest setting by name where it is one and the same throughout."""
    if kind == "plain":
        return kind
    best = {
        label(group.setting(row))
        for mode in group.modes
        for row in side(group, device, mode, kind).values()
    }
    return f"fastest ({best.pop()})" if len(best) == 1 else "fastest setting of each"
