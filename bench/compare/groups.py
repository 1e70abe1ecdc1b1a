"""The rows of a run, grouped by subject and input, and their settings in words."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bench.core.axes import AS_PLAIN_PROCESS, AXES, BY_NAME, natural, plainest
from bench.core.records import Row, whole_phase
from bench.core.subject import SubjectError, layer_name, parse
from bench.core.text import plain

SETTINGS = tuple(a.name for a in AXES if a.name not in ("mode", "batch", "input", "device"))

Setting = tuple[tuple[str, str], ...]  # (axis, value) of what differs from the plain setting
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


def finite(value: float | None) -> float | None:
    """None for what has no place on a logarithmic axis."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


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
        base[axis] = plainest(BY_NAME[axis], there)
    return base


def _rank(setting: Setting) -> tuple[Any, ...]:
    return (len(setting), [(SETTINGS.index(axis), _place(axis, v)) for axis, v in setting])


def _place(axis: str, value: str) -> tuple[int, tuple[int, str]]:
    values = BY_NAME[axis].values
    return (values.index(value) if value in values else len(values), natural(value))


def label(setting: Setting) -> str:
    """`(("amp", "bfloat16"), ("memory_format", "channels_last"))` in words."""
    return plain(", ".join(part(axis, value) for axis, value in setting) or "plain", 72)


def part(axis: str, value: str) -> str:
    """One axis of a setting in words: `("tf32", "on")` → `TF32`."""
    match axis, value:
        case "memory_format", _:
            return value
        case "cudnn_benchmark", "on":
            return "cuDNN benchmark"
        case "allocator", "system":
            return AS_PLAIN_PROCESS
        case "tf32", "on":
            return "TF32"
        case "tf32", _:
            return f"TF32 {value}"
        case "cudnn_benchmark", _:
            return f"cuDNN benchmark {value}"
    return f"{axis} {value}"


def flags(rows: Iterable[Row]) -> list[str]:
    """The flags that the rows bear, each once."""
    return sorted({flag for row in rows for flag in row.flag_names})
