"""Group the rows of a run by subject and input, and name their settings."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bench.core.axes import AXES, BY_NAME, natural, plainest
from bench.core.records import Row, whole_phase
from bench.core.subject import SubjectError, layer_name, parse
from bench.core.text import plain

SETTINGS = tuple(a.name for a in AXES if a.name not in ("mode", "batch", "input", "device"))

Setting = tuple[tuple[str, str], ...]  # (axis, value) for each difference from the plain setting
PLAIN: Setting = ()
PLAIN_PROCESS: Setting = (("allocator", "system"),)  # plain, in a process as any script has it


class Direction(Enum):
    """The side of 1 on which the interval of a speedup lies."""

    FASTER = "faster"
    SLOWER = "slower"
    UNCLEAR = "unclear"  # it holds 1
    UNKNOWN = "unknown"  # there is no interval


@dataclass(frozen=True, slots=True)
class Span:
    """A value and the ends of its 95 % interval; None if they are unknown."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def direction(self) -> Direction:
        if self.low is None or self.high is None:
            return Direction.UNKNOWN
        if self.low > 1:
            return Direction.FASTER
        return Direction.SLOWER if self.high < 1 else Direction.UNCLEAR

    @property
    def inverse(self) -> "Span":
        if not self.low or not self.high:
            return Span(1 / self.value)
        return Span(1 / self.value, 1 / self.high, 1 / self.low)


@dataclass(frozen=True)
class Group:
    """The rows of one figure: a subject on one input shape, over all modes and devices.

    name:   the subject; with its input if the subject has several.
    rows:   the rows that are ok.
    failed: the other rows, one for each case.
    base:   the value of the plain setting by axis.
    """

    name: str
    subject: str
    input: str
    rows: tuple[Row, ...]
    failed: tuple[Row, ...]
    base: Mapping[str, str]

    def of(self, rows: Iterable[Row]) -> "Group":
        """Return the group with only these of its rows."""
        return dataclasses.replace(self, rows=tuple(rows))

    def setting(self, row: Row) -> Setting:
        """Return the differences of a row from plain; an empty axis is no difference."""
        return tuple(
            (axis, value)
            for axis in SETTINGS
            if (value := getattr(row, axis)) is not None and value != self.base[axis]
        )

    @property
    def settings(self) -> list[Setting]:
        """The settings that were measured: plain, then those with one change, then the others."""
        return sorted({self.setting(row) for row in self.rows}, key=_rank)

    @property
    def modes(self) -> list[str]:
        measured = {row.mode for row in self.rows}
        return [mode for mode in BY_NAME["mode"].values if mode in measured]

    @property
    def devices(self) -> list[str]:
        """The devices: the CPU first, then the accelerators by name."""
        return sorted({str(row.device) for row in self.rows}, key=lambda d: (d != "cpu", d))

    @property
    def batches(self) -> list[int]:
        return sorted({int(row.batch) for row in self.rows if row.batch is not None})


def finite(value: float | None) -> float | None:
    """Return the value, or None if it has no place on a logarithmic axis."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


def split(subject: str) -> tuple[str, str | None]:
    """Split a subject into network and layer: `convnet/conv1` → `convnet`, `conv1`."""
    try:
        ref = parse(subject)
    except SubjectError:  # the file has an unknown form of name; it is only shown
        head, slash, tail = subject.rpartition("/")
        return (head, tail) if slash and ")" not in tail else (subject, None)
    return ref.whole, None if ref.layer is None else layer_name(ref.layer)


def groups(rows: Iterable[Row], *, layers: bool = False) -> list[Group]:
    """Return the groups in the order of the rows.

    layers: groups of layers; otherwise groups of whole subjects, with only their whole phase.
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
        measured = {str(value) for row in rows if (value := getattr(row, axis)) is not None}
        base[axis] = plainest(BY_NAME[axis], measured)
    return base


def _rank(setting: Setting) -> tuple[Any, ...]:
    return (len(setting), [(SETTINGS.index(axis), _place(axis, v)) for axis, v in setting])


def _place(axis: str, value: str) -> tuple[int, tuple[int, str]]:
    values = BY_NAME[axis].values
    return (values.index(value) if value in values else len(values), natural(value))


def label(setting: Setting) -> str:
    """Return the name of a setting, such as `amp bfloat16, channels_last`; `plain` if empty."""
    return plain(", ".join(part(axis, value) for axis, value in setting) or "plain", 72)


def part(axis: str, value: str) -> str:
    """Return the name of one axis of a setting: `("tf32", "on")` → `TF32`."""
    return BY_NAME[axis].words(value)


def flags(rows: Iterable[Row]) -> list[str]:
    """Return the distinct flags of the rows, sorted."""
    return sorted({flag for row in rows for flag in row.flag_names})
