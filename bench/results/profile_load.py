"""Read the directory of `bench profile`: the layers of each case."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import decode
from bench.core.records import Case, RecordError
from bench.results import directory_kind
from bench.results.csv_files import RUN, text_of
from bench.results.loading import ReadError
from bench.results.profile_tables import LAYER_COLUMNS, LAYERS, SUMMARY

_TEXTS = ("case_id", "layer", "module", "type", "kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """The profile of one case.  Times are those of one profiled step.

    layers:     the rows of layers.csv, unknown as None; their sum is the step.
    machine_id: None if the directory does not have it.
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
        """The side whose times are the cost: `device` if its times are known, else `host`."""
        return "device" if any(row["device_s"] for row in self.layers) else "host"


def is_profile(path: Path) -> bool:
    """Return whether `bench profile` made a directory, or the folder of a case in one."""
    return directory_kind.kind_of(path) is directory_kind.PROFILE


def folders(path: Path) -> list[Path]:
    """Return the folders of the cases of a profile, sorted by name."""
    return sorted(one.parent for one in path.glob(f"*/{SUMMARY}"))


def load(path: Path) -> list[Profiled]:
    """Read the cases of a profile's directory, sorted by folder name.  Raises ReadError."""
    machine = _json(path / RUN).get("machine") if (path / RUN).exists() else None
    machine_id = machine.get("machine_id") if isinstance(machine, dict) else None
    return [_case(one, machine_id) for one in (folders(path) or [path])]


def _case(folder: Path, machine_id: str | None) -> Profiled:
    summary = _json(folder / SUMMARY)
    try:
        return Profiled(
            case=decode.case(summary["case"]),
            path=folder,
            steps=int(summary["steps"]),
            whole_s=float(summary["whole_s"]),
            # Earlier versions have the host's time alone.
            profiled_s=float(summary.get("profiled_s", summary["whole_s"])),
            unprofiled_s=float(summary["unprofiled_s"]),
            contended=bool(summary["contended"]),
            layers=_layers(folder / LAYERS),
            machine_id=machine_id,
        )
    except (KeyError, TypeError, ValueError, RecordError) as error:
        raise ReadError(
            f"{folder / SUMMARY}: is not a profile of a case that this version can read: {error!r}"
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path}: is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ReadError(f"{path}: is not a JSON object")
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
        raise ReadError(f"{path}: is not valid CSV: {error}") from None


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
        raise ReadError(
            f"{path}, line {line}: {name} is {cell[:60]!r}; expected a time or a share, 0 or above"
        )
    return value
