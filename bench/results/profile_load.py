"""What `bench profile` left, read again: the layers of each case."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import decode
from bench.core.records import Case, RecordError
from bench.results.csv_files import RUN, text_of
from bench.results.load import ReadError
from bench.results.profile_tables import LAYER_COLUMNS, LAYERS, SUMMARY

_TEXTS = ("case_id", "layer", "module", "type", "kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """One case.  Times are of one profiled step.

    layers:     as layers.csv has them, unknown as None; all rows together are the step.
    machine_id: None where the directory does not tell.
    """

    case: Case
    path: Path
    steps: int
    whole_s: float
    profiled_s: float  # until the device is done, as `unprofiled_s` is
    unprofiled_s: float
    contended: bool
    layers: tuple[Mapping[str, Any], ...]
    machine_id: str | None

    @property
    def where(self) -> str:
        """`device` where its times are known, for they are then the cost; else `host`."""
        return "device" if any(row["device_s"] for row in self.layers) else "host"


def is_profile(path: Path) -> bool:
    """Whether a directory was left by `bench profile`."""
    return any(path.glob(f"*/{SUMMARY}"))


def load(path: Path) -> list[Profiled]:
    """The cases of a profile's directory, by the names of their folders.  Raises ReadError."""
    machine = _json(path / RUN).get("machine") if (path / RUN).exists() else None
    machine_id = machine.get("machine_id") if isinstance(machine, dict) else None
    return [_case(one.parent, machine_id) for one in sorted(path.glob(f"*/{SUMMARY}"))]


def _case(folder: Path, machine_id: str | None) -> Profiled:
    told = _json(folder / SUMMARY)
    try:
        return Profiled(
            case=decode.case(told["case"]),
            path=folder,
            steps=int(told["steps"]),
            whole_s=float(told["whole_s"]),
            # Earlier versions have the host's time alone.
            profiled_s=float(told.get("profiled_s", told["whole_s"])),
            unprofiled_s=float(told["unprofiled_s"]),
            contended=bool(told["contended"]),
            layers=_layers(folder / LAYERS),
            machine_id=machine_id,
        )
    except (KeyError, TypeError, ValueError, RecordError) as error:
        raise ReadError(
            f"{folder / SUMMARY}: is no profile of a case, or one of another version: {error!r}"
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path}: is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ReadError(f"{path}: is no JSON object")
    return found


def _layers(path: Path) -> tuple[Mapping[str, Any], ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            missing = [name for name in LAYER_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ReadError(
                    f"{path}: has no column {', '.join(missing[:4])}; profile the case again"
                )
            return tuple(
                {name: _value(path, reader.line_num, name, line[name]) for name in LAYER_COLUMNS}
                for line in reader
            )
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ReadError(f"{path}: is no CSV: {error}") from None


def _value(path: Path, line: int, name: str, cell: str) -> str | float | None:
    if name in _TEXTS:
        return text_of(cell)
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ReadError(f"{path}, line {line}: {name} {cell[:60]!r} is no time or share")
    return value
