"""Names of rows for people: the subject, its input, the settings that are not plain."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bench.core.axes import AS_PLAIN_PROCESS, AXES, BY_NAME
from bench.core.records import Case, Row
from bench.core.subject import SubjectError, parse

NOT_SETTINGS = ("mode", "batch", "device", "input")  # each has a place of its own in a name
PLAIN = {axis.name: axis.values[0] for axis in AXES if axis.values}


def of_several_inputs(rows: Iterable[Row]) -> set[str | None]:
    """Return the subjects that the run measured on more than one input."""
    inputs = {(row.subject, row.input) for row in rows}
    return {name for name, count in Counter(name for name, _ in inputs).items() if count > 1}


def named(row: Row, several: Collection[str | None]) -> str:
    """Return the subject, and its input if the subject is in `several`."""
    name = row.subject or ""
    return f"{name} on {row.input}" if row.subject in several else name


def accelerators(rows: Iterable[Row]) -> dict[str, str]:
    """Return the accelerators by number, with the names that their drivers report.

    A slice of a GPU (MIG) has the slice in its name.
    """
    found: dict[str, str] = {}
    for row in rows:
        if row.device not in (None, "cpu") and row.device_name:
            found.setdefault(str(row.device), row.device_name)
    return dict(sorted(found.items(), key=lambda one: _by_number(one[0])))


def _by_number(device: str) -> tuple[str, int]:
    type_, _, index = device.partition(":")
    return type_, int(index) if index.isdecimal() else 0


def settings(row: Row | Case, apart: str = "") -> str:
    """Return the settings that are not plain, without the axis `apart`; or `plain`."""
    parts = [] if row.device in (None, "cpu") or apart == "device" else [str(row.device)]
    for axis in AXES:
        value = getattr(row, axis.name)
        if axis.name in (*NOT_SETTINGS, apart) or value is None:
            continue
        if value != (PLAIN.get(axis.name) or axis.default):
            parts.append(setting_name(axis.name, str(value)))
    return " ".join(parts) or "plain"


def setting_name(axis: str, value: str) -> str:
    """`amp=bfloat16`; of an axis whose values speak for themselves the value: `channels_last`."""
    if (axis, value) == ("allocator", "system"):
        return AS_PLAIN_PROCESS
    return value if BY_NAME[axis].value_alone else f"{axis}={value}"


@dataclass(frozen=True, slots=True)
class CaseNames:
    """The names of cases in a table.

    above: what all of them have in common: `all on cpu, 3,224,224, float32`; empty without cases.
    apart: the axes that differ between the cases.
    short: leave out a subject, a mode and a batch size that are the same in all.
    """

    above: str
    apart: frozenset[str]
    ambiguous: frozenset[str]
    short: bool = False

    def of(self, case: Row | Case, without: str = "") -> str:
        """`resnet18 inference N=4 channels_last`.

        without: an axis that stands elsewhere in the table.
        """
        parts = [_subject(case, self.ambiguous)] if self._has("subject") else []
        if self._has("mode") and without != "mode":
            parts.append(str(case.mode))
        if self._has("batch") and without != "batch":
            parts.append(f"N={case.batch}")
        parts += self._settings(case, without)
        return " ".join(parts)

    def _has(self, what: str) -> bool:
        return not self.short or what in self.apart

    def _settings(self, case: Row | Case, without: str) -> list[str]:
        parts = []
        for axis in ("input", "device"):
            value = getattr(case, axis)
            if axis in self.apart and axis != without and value is not None:
                parts.append(f"on {value}")
        varied = [
            axis for axis in AXES if axis.name in self.apart and axis.name not in NOT_SETTINGS
        ]
        changed = [
            setting_name(axis.name, str(value))
            for axis in varied
            if axis.name != without and not _is_plain(axis.name, value := getattr(case, axis.name))
        ]
        if not changed and any(axis.name != without for axis in varied):
            changed = ["plain"]
        return parts + changed


def case_names(cases: Iterable[Row | Case], *, short: bool = False) -> CaseNames:
    """Return how to name these cases in one table."""
    every = list(cases)
    seen = {name: _values(every, name) for name in ("subject", *(axis.name for axis in AXES))}
    apart = frozenset(name for name, values in seen.items() if len(values) > 1)
    owners: dict[str, set[str]] = {}
    for whole in {_split(str(one.subject))[0] for one in every}:
        owners.setdefault(_callable(whole), set()).add(whole)
    ambiguous = frozenset(name for name, heads in owners.items() if len(heads) > 1)
    short = short and bool(apart)
    above = _above(every[0], apart, ambiguous, short=short) if every else ""
    return CaseNames(above, apart, ambiguous, short)


def _values(cases: Iterable[Row | Case], name: str) -> set[object]:
    """Return the values of an axis.  An empty one, which has no meaning, agrees with any."""
    values = {getattr(one, name) for one in cases}
    return values - {None} or values


def _is_plain(axis: str, value: object) -> bool:
    return value is None or value == (PLAIN.get(axis) or BY_NAME[axis].default)


def _above(
    case: Row | Case, apart: Collection[str], ambiguous: Collection[str], *, short: bool
) -> str:
    parts = []
    if short:
        parts += [_subject(case, ambiguous)] if "subject" not in apart else []
        parts += [str(case.mode)] if "mode" not in apart else []
        parts += [f"N={case.batch}"] if "batch" not in apart else []
    for axis in ("device", "input", "dtype"):
        value = getattr(case, axis)
        if axis not in apart and value is not None:
            parts.append(f"on {value}" if axis == "device" else str(value))
    parts += [
        setting_name(axis.name, str(value))
        for axis in AXES
        if axis.name not in (*NOT_SETTINGS, "dtype", *apart)
        and not _is_plain(axis.name, value := getattr(case, axis.name))
    ]
    return f"all {', '.join(parts)}" if parts else ""


def _subject(case: Row | Case, ambiguous: Collection[str]) -> str:
    """`my.models:resnet18/layer1.0` → `resnet18/layer1.0`, where no other module has the name."""
    whole, layer = _split(str(case.subject))
    short = _callable(whole)
    return f"{whole if short in ambiguous else short}{layer}"


def _split(subject: str) -> tuple[str, str]:
    """`my.models:resnet18/layer1.0` → `my.models:resnet18`, `/layer1.0`."""
    try:
        whole = parse(subject).whole
    except SubjectError:  # a name from elsewhere; it is only shown here
        return subject, ""
    return (whole, subject[len(whole) :]) if subject.startswith(whole) else (subject, "")


def _callable(subject: str) -> str:
    """`my.models:resnet18` → `resnet18`; arguments stay."""
    module, colon, name = subject.partition(":")
    return name if colon and "(" not in module else subject


def half_width(row: Row) -> float | None:
    """Return half of the 95 % interval of the latency divided by the median; None = unknown."""
    low, high, median = row.latency_low_s, row.latency_high_s, row.latency_median_s
    return None if low is None or high is None or not median else (high - low) / 2 / median
