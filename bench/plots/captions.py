"""Titles, subtitles and footers: the details that a reader needs beside the data."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.groups import PLAIN, SETTINGS, Group, Setting, part
from bench.core.axes import BY_NAME
from bench.core.records import Row, whole_phase
from bench.core.text import number_of, plain
from bench.plots.sheet import Sheet
from bench.plots.style import OTHER, STYLES, NothingToDraw, Style
from bench.results.results import Results
from bench.stats import between_runs


def by_group(
    found: Iterable[Group], figure: Callable[[Group], Figure | None], missing: str
) -> dict[str, Figure]:
    """Return the figures by group, without groups that have none.  Raises NothingToDraw."""
    drawn = {group.name: made for group in found if (made := figure(group))}
    if not drawn:
        raise NothingToDraw(missing)
    return drawn


def styles(group: Group, rank: Mapping[Setting, float]) -> dict[Setting, Style]:
    """Return a distinct style for the plain setting and each of the best other settings.

    rank: by setting, smaller is better; it is used only if there are more settings than styles.
    """
    settings = group.settings
    named = settings
    if len(settings) > len(STYLES):
        others = sorted((s for s in settings if s != PLAIN), key=lambda s: rank.get(s, math.inf))
        kept = {PLAIN, *others[: len(STYLES) - 1]}
        named = [setting for setting in settings if setting in kept]
    own = dict(zip(named, STYLES, strict=False))
    return {setting: own.get(setting, OTHER) for setting in settings}


def subtitle(run: Results, group: Group, *more: str) -> str:
    """Device, input, and the settings that all rows share beyond the defaults."""
    shared = [
        part(axis, value)
        for axis, value in group.base.items()
        if value != BY_NAME[axis].default
        and {getattr(row, axis) for row in group.rows} - {None} == {value}
    ]
    return _joined(
        ", ".join(device_name(run, group, device) for device in group.devices),
        f"input {plain(group.input, 40)}" if group.input else "",
        "all with " + ", ".join(shared) if shared else "",
        *more,
    )


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def device_name(run: Results, group: Group, device: str) -> str:
    """Return the driver's name of the device, with its number where several are alike."""
    named = run.description.devices.get(device)
    rows = (row.device_name for row in group.rows if row.device == device and row.device_name)
    name = str(next(rows, None) or named or device)
    several = len(set(group.devices) - {"cpu"}) > 1
    number = f" ({device})" if several and device not in ("cpu", name) else ""
    return plain(name, 40) + number


def titled_panels(
    made: Sheet, run: Results, group: Group, phase: Callable[[str], str] = whole_phase
) -> Iterator[tuple[str, str, Axes]]:
    """Yield device, mode and panel: a row of panels for each device, a column for each mode.

    Each panel gets its title: the mode, its phase, and the device if there are several.
    """
    for device, row in zip(group.devices, made.panels, strict=True):
        several = f",\n{device_name(run, group, device)}" if len(group.devices) > 1 else ""
        for mode, axes in zip(group.modes, row, strict=True):
            axes.set_label(f"{mode} {device}")
            axes.set_title(f"{mode} ({phase(mode)}){several}")
            yield device, mode, axes


def plain_means(group: Group) -> list[str]:
    """Return the values of the plain setting on the axes that differ in the figure."""
    differing = dict.fromkeys(axis for setting in group.settings for axis, _ in setting)
    words = [part(axis, group.base[axis]) for axis in SETTINGS if axis in differing]
    return [f"plain: {', '.join(words)}"] if words else []


def footer(run: Results, group: Group, rows: Sequence[Row], *notes: str) -> str:
    """Versions, replicates and omissions: the details that make the figure credible."""
    described = run.description
    torch = next((row.torch_version for row in rows if row.torch_version), None)
    torch = torch or described.environment.torch
    run_id = next((row.run_id for row in rows if row.run_id), None) or described.run_id
    return _joined(
        f"torch {torch}" if torch else "",
        _replicates(rows),
        *notes,
        _left_out(group.failed),
        f"run {plain(str(run_id), 80)}" if run_id else "",
    )


def interval_note(rows: Sequence[Row]) -> str:
    """Return the meaning of the bars of times."""
    deviation = between_runs.describe_rows(rows)
    if any(row.latency_corrected_ratio is not None for row in rows):
        deviation += ", at the usual level of the controls"
    return f"bars: 95 % interval, {deviation or 'over replicates'}"


def _replicates(rows: Sequence[Row]) -> str:
    counts = sorted({int(row.replicates) for row in rows if row.replicates is not None})
    if not counts:
        return ""
    low, high = counts[0], counts[-1]
    many = str(high) if low == high else f"{low} to {high}"
    return f"{many} replicate" + ("" if high == 1 else "s")


def _left_out(failed: Sequence[Row]) -> str:
    counts = Counter(str(row.status) for row in failed)
    if not counts:
        return ""
    kinds = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    total = len(failed)
    return f"{number_of(total, 'case')} not shown: {kinds}"
