"""Titles, footers and looks of the plots: what a reader has to know beside the points."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.compare.groups import PLAIN, SETTINGS, Group, Setting, part
from bench.core.axes import BY_NAME
from bench.core.records import Row, whole_phase
from bench.core.text import plain
from bench.plots.style import LOOKS, REST, Look
from bench.results.results import Results
from bench.stats import between_runs


def looks(group: Group, rank: Mapping[Setting, float]) -> dict[Setting, Look]:
    """Colour and marker by setting: the plain one and the best of the others have their own.

    rank: by setting, smaller is better; used only where there are more than there are looks.
    """
    settings = group.settings
    named = settings
    if len(settings) > len(LOOKS):
        others = sorted((s for s in settings if s != PLAIN), key=lambda s: rank.get(s, math.inf))
        kept = {PLAIN, *others[: len(LOOKS) - 1]}
        named = [setting for setting in settings if setting in kept]
    own = dict(zip(named, LOOKS, strict=False))
    return {setting: own.get(setting, REST) for setting in settings}


def subtitle(run: Results, group: Group, *more: str) -> str:
    """Device, input, and what all rows share beyond the defaults."""
    shared = [
        part(axis, value)
        for axis, value in group.base.items()
        if value != BY_NAME[axis].default
        and {getattr(row, axis) for row in group.rows} - {None} == {value}
    ]
    parts = [
        ", ".join(device_name(run, group, device) for device in group.devices),
        f"input {plain(group.input, 40)}" if group.input else "",
        "all with " + ", ".join(shared) if shared else "",
        *more,
    ]
    return " · ".join(part for part in parts if part)


def device_name(run: Results, group: Group, device: str) -> str:
    """As its driver names it."""
    named = run.description.devices.get(device)
    rows = (row.device_name for row in group.rows if row.device == device and row.device_name)
    return plain(str(next(rows, None) or named or device), 40)


def panel_title(run: Results, group: Group, mode: str, device: str) -> str:
    """Mode and phase, and the device where there are several."""
    title = f"{mode} ({whole_phase(mode)})"
    return title if len(group.devices) == 1 else f"{title}, {device_name(run, group, device)}"


def plain_means(group: Group) -> list[str]:
    """What "plain" is, as far as settings differ from it here."""
    differing = dict.fromkeys(axis for setting in group.settings for axis, _ in setting)
    words = [part(axis, group.base[axis]) for axis in SETTINGS if axis in differing]
    return [f"plain: {', '.join(words)}"] if words else []


def footer(run: Results, group: Group, rows: Sequence[Row], *notes: str) -> str:
    """What one has to know to believe the figure: versions, replicates, what is left out."""
    described = run.description
    torch = next((row.torch_version for row in rows if row.torch_version), None)
    torch = torch or described.environment.torch
    run_id = next((row.run_id for row in rows if row.run_id), None) or described.run_id
    parts = [
        f"torch {torch}" if torch else "",
        _replicates(rows),
        *notes,
        _left_out(group.failed),
        f"run {plain(str(run_id), 80)}" if run_id else "",
    ]
    return " · ".join(part for part in parts if part)


def interval_note(rows: Iterable[Row]) -> str:
    """Of times: over what the bars are."""
    told = between_runs.told_of_rows(rows)
    return f"bars: 95 % interval, {told}" if told else "bars: 95 % interval over replicates"


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
    return f"{total} case{'' if total == 1 else 's'} not shown: {kinds}"
