"""What the plots show of a run: its rows as records, grouped, and their settings in words."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.compare.match import lines
from bench.core.axes import AXES, BY_NAME
from bench.core.records import COLUMNS, Row, whole_phase
from bench.core.subject import SubjectError, layer_name, parse
from bench.plots.style import LOOKS, REST, Look, plain
from bench.results.load import RunData
from bench.stats import between_runs

SETTINGS = tuple(a.name for a in AXES if a.name not in ("mode", "batch", "input", "device"))

Setting = tuple[tuple[str, str], ...]  # (axis, value) of what differs from the plain setting
PLAIN: Setting = ()


@dataclass(frozen=True, slots=True)
class Span:
    """A value and the ends of its 95 % interval, None where unknown."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    """What stands in one figure: a subject on one input shape, over all modes and devices.

    name:   subject, and input where the subject has several.
    rows:   those that are ok.
    failed: the others, one a case.
    base:   by axis, the value that "plain" has here.
    """

    name: str
    subject: str
    input: str
    rows: tuple[Row, ...]
    failed: tuple[Row, ...]
    base: Mapping[str, str]

    def of(self, rows: Iterable[Row]) -> "Group":
        """The same with some of its rows."""
        return dataclasses.replace(self, rows=tuple(rows))

    def setting(self, row: Row) -> Setting:
        """What sets the row apart from the plain setting; an empty axis agrees with any."""
        return tuple(
            (axis, value)
            for axis in SETTINGS
            if (value := getattr(row, axis)) is not None and value != self.base[axis]
        )

    @property
    def settings(self) -> list[Setting]:
        """All that were measured: the plain one, then those with one change, then others."""
        return sorted({self.setting(row) for row in self.rows}, key=_rank)

    @property
    def modes(self) -> list[str]:
        there = {row.mode for row in self.rows}
        return [mode for mode in BY_NAME["mode"].values if mode in there]

    @property
    def devices(self) -> list[str]:
        """The CPU first, then accelerators by name."""
        return sorted({str(row.device) for row in self.rows}, key=lambda d: (d != "cpu", d))

    @property
    def batches(self) -> list[int]:
        return sorted({int(row.batch) for row in self.rows if row.batch is not None})


def records(rows: pd.DataFrame) -> list[Row]:
    """The rows as records, unknown as None."""
    return [Row(**line) for line in lines(rows[list(COLUMNS)])]


def finite(value: float | None) -> float | None:
    """None for what has no place on a logarithmic axis."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


def calls(layer: Mapping[str, Any]) -> int:
    """How often a layer of run.json and those equal to it are called, in one call of the whole."""
    return int(layer.get("calls") or 1 + len(layer.get("same_as") or ()))


def split(subject: str) -> tuple[str, str | None]:
    """`convnet/conv1` → `convnet`, `conv1`."""
    try:
        ref = parse(subject)
    except SubjectError:  # a name from elsewhere; it is only shown here
        head, slash, tail = subject.rpartition("/")
        return (head, tail) if slash and ")" not in tail else (subject, None)
    return ref.whole, None if ref.layer is None else layer_name(ref.layer)


def groups(rows: Iterable[Row], *, layers: bool = False) -> list[Group]:
    """The figures that the rows give, in the rows' order.

    layers: those of layers; else those of whole subjects, with their whole phase alone.
    """
    gathered: dict[tuple[str, str], tuple[list[Row], list[Row]]] = {}
    for row in rows:
        subject, layer = split(row.subject or "")
        if (layer is not None) != layers:
            continue
        good, failed = gathered.setdefault((subject, row.input or ""), ([], []))
        if row.status != "ok":
            failed.append(row)
        elif layers or row.phase == whole_phase(row.mode or ""):
            good.append(row)
    inputs = Counter(subject for subject, _ in gathered)
    return [
        Group(
            name=subject if inputs[subject] == 1 else f"{subject} {input_}",
            subject=subject,
            input=input_,
            rows=tuple(good),
            failed=tuple(failed),
            base=_base(good),
        )
        for (subject, input_), (good, failed) in gathered.items()
        if good or failed
    ]


def _base(rows: Sequence[Row]) -> dict[str, str]:
    base: dict[str, str] = {}
    for axis in SETTINGS:
        there = {str(value) for row in rows if (value := getattr(row, axis)) is not None}
        wanted = [BY_NAME[axis].default or "", *BY_NAME[axis].values, *sorted(there, key=_natural)]
        base[axis] = next((value for value in wanted if value in there), wanted[0])
    return base


def _natural(text: str) -> tuple[int, str]:
    return (int(text) if text.isdecimal() else 0, text)


def _rank(setting: Setting) -> tuple[Any, ...]:
    return (len(setting), [(SETTINGS.index(axis), _place(axis, v)) for axis, v in setting])


def _place(axis: str, value: str) -> tuple[int, tuple[int, str]]:
    values = BY_NAME[axis].values
    return (values.index(value) if value in values else len(values), _natural(value))


def label(setting: Setting) -> str:
    """`(("amp", "bfloat16"), ("memory_format", "channels_last"))` in words."""
    return plain(", ".join(_part(axis, value) for axis, value in setting) or "plain", 72)


def _part(axis: str, value: str) -> str:
    match axis, value:
        case "memory_format", _:
            return value
        case "cudnn_benchmark", "on":
            return "cuDNN benchmark"
        case "tf32", "on":
            return "TF32"
        case "tf32", _:
            return f"TF32 {value}"
        case "cudnn_benchmark", _:
            return f"cuDNN benchmark {value}"
    return f"{axis} {value}"


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


def subtitle(run: RunData, group: Group, *more: str) -> str:
    """Device, input, and what all rows share beyond the defaults."""
    shared = [
        _part(axis, value)
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


def device_name(run: RunData, group: Group, device: str) -> str:
    """As its driver names it."""
    devices = run.run.get("devices")
    named = devices.get(device) if isinstance(devices, dict) else None
    rows = (row.device_name for row in group.rows if row.device == device and row.device_name)
    return plain(str(next(rows, None) or named or device), 40)


def panel_title(run: RunData, group: Group, mode: str, device: str) -> str:
    """Mode and phase, and the device where there are several."""
    title = f"{mode} ({whole_phase(mode)})"
    return title if len(group.devices) == 1 else f"{title}, {device_name(run, group, device)}"


def plain_means(group: Group) -> list[str]:
    """What "plain" is, as far as settings differ from it here."""
    differing = dict.fromkeys(axis for setting in group.settings for axis, _ in setting)
    words = [_part(axis, group.base[axis]) for axis in SETTINGS if axis in differing]
    return [f"plain: {', '.join(words)}"] if words else []


def footer(run: RunData, group: Group, rows: Sequence[Row], *notes: str) -> str:
    """What one has to know to believe the figure: versions, replicates, what is left out."""
    environment = run.run.get("environment")
    torch = next((row.torch_version for row in rows if row.torch_version), None)
    if torch is None and isinstance(environment, dict):
        torch = environment.get("torch")
    run_id = next((row.run_id for row in rows if row.run_id), None) or run.run.get("run_id")
    parts = [
        f"torch {torch}" if torch else "",
        _replicates(rows),
        *notes,
        _left_out(group.failed),
        f"run {plain(str(run_id), 80)}" if run_id else "",
    ]
    return " · ".join(part for part in parts if part)


def interval_note(rows: Sequence[Row]) -> str:
    """Of times: over what the bars are."""
    told = between_runs.told_of_rows(rows)
    if any(row.latency_corrected_ratio is not None for row in rows):
        told += ", at the usual level of the controls"
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


def flags(rows: Iterable[Row]) -> list[str]:
    """The flags that the rows bear, each once."""
    return sorted({flag for row in rows for flag in (row.flags or "").split(";") if flag})
