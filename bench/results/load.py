"""The files of a run, read: measurements.csv, samples.csv and run.json.

The only door by which results come in: whatever cannot be right is refused here, in one line
that names the place, so that nothing behind it has to look again.
"""

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from bench.core.axes import AXES
from bench.core.errors import UserError
from bench.core.records import COLUMNS, LATER_COLUMNS, STATUSES, Row, defaults_of_earlier
from bench.results import journal, run_json
from bench.results.csv_files import (
    MEASUREMENTS,
    RUN,
    SAMPLE_COLUMNS,
    SAMPLES,
    sample_lines,
    text_of,
)

_SAMPLE_WHOLE = frozenset({"replicate", "sample", "calls_per_sample"})
NUMBERS = frozenset(
    column.name for column in dataclasses.fields(Row) if column.type in (int | None, float | None)
)
# Compared on a logarithmic scale, so that a zero or a negative one has no meaning.
_POSITIVE = frozenset(
    {
        name
        for name in COLUMNS
        if name.startswith(("latency_", "pipelined_")) and name not in LATER_COLUMNS
    }
    | {"device_s", "images_per_s", "control_s", "control_factor", "batch", "seconds"}
)
_LATER = frozenset(axis.name for axis in AXES if axis.later)  # not in files of earlier versions
# Seconds that are spent once; 0 where a first call took no longer than the others.
# And spreads, 0 where nothing differs.
_NOT_NEGATIVE = (LATER_COLUMNS - _POSITIVE) | {
    "first_call_s",
    "tuning_s",
    "compile_cold_s",
    "compile_warm_s",
}
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?")


class ReadError(UserError):
    """Results that cannot be read: what, where, what would be right, in one line."""


@dataclass(frozen=True)
class RunData:
    """The results of one run.

    rows:    a line per phase of a case, the columns of `records.COLUMNS`; texts are objects
             (None = unknown), batch is Int64, the other numbers are float64 (NaN = unknown;
             exact up to 2**53).
    samples: the columns of `SAMPLE_COLUMNS`; empty where samples.csv is not at hand.
    run:     run.json, without what is broken in it; {} where it is not at hand.
    """

    path: Path
    run: dict[str, Any]
    rows: pd.DataFrame
    samples: pd.DataFrame


def load(path: Path, *, samples: bool = True) -> RunData:
    """The results in a run directory, or those of a measurements.csv alone.

    samples: False leaves samples.csv unread.

    Raises ReadError.
    """
    if not path.exists():
        raise ReadError(f"{path}: no such file or directory; give a run directory")
    folder = path if path.is_dir() else None
    if folder and not (folder / MEASUREMENTS).exists():
        raise ReadError(f"{path}: holds no {MEASUREMENTS}; give the directory of a finished run")
    rows = _measurements(folder / MEASUREMENTS if folder else path)
    return RunData(
        path=path,
        run=_run(folder / RUN) if folder else {},
        rows=rows,
        samples=_samples(folder if samples else None, rows),
    )


def _number(cell: str) -> float | None:
    """Raises ValueError; stricter than float(): no `nan`, `inf`, `1_000` or blanks."""
    if not cell:
        return None
    if not _NUMBER.fullmatch(cell):
        raise ValueError
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError
    return value


def _measurements(path: Path) -> pd.DataFrame:
    lines = _lines(path, [name for name in COLUMNS if name not in LATER_COLUMNS])
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    seen: set[tuple[str | None, ...]] = set()
    for number, line in lines:
        earlier = defaults_of_earlier(line)
        for name in COLUMNS:
            cell = line[name] if name in line else earlier.get(name, "")
            columns[name].append(_value(path, number, name, cell, name in NUMBERS))
        status, case_id = columns["status"][-1], columns["case_id"][-1]
        phase = columns["phase"][-1]
        if status not in STATUSES:
            known = ", ".join(STATUSES)
            _wrong(path, number, "status", line["status"], f"is none; it is one of {known}")
        if case_id is None:
            _wrong(path, number, "case_id", "", "is empty; every row has one")
        if (phase is not None) != (status == "ok"):
            _wrong(path, number, "phase", line["phase"], "rows that are ok have one, others none")
        if status == "ok" and columns["batch"][-1] is None:
            _wrong(path, number, "batch", "", "is empty; rows that are ok have one")
        key = (columns["run_id"][-1], case_id, phase)
        if key in seen:
            _wrong(path, number, "case_id", line["case_id"], "stands twice with the same phase")
        seen.add(key)
    frame = {
        name: pd.Series(values, dtype="Int64" if name == "batch" else _dtype(name in NUMBERS))
        for name, values in columns.items()
    }
    return pd.DataFrame(frame, columns=list(COLUMNS))


def _samples(folder: Path | None, rows: pd.DataFrame) -> pd.DataFrame:
    """From samples.csv; where it was left out to save space, from the journal."""
    columns: dict[str, list[Any]] = {name: [] for name in SAMPLE_COLUMNS}
    if folder is not None and (plain := _plain_samples(folder / SAMPLES)) is not None:
        return plain
    if folder is not None and (folder / SAMPLES).exists():
        path = folder / SAMPLES
        for number, line in _lines(path, SAMPLE_COLUMNS):
            for name in SAMPLE_COLUMNS:
                numeric = name in _SAMPLE_WHOLE or name == "seconds"
                value = _value(path, number, name, line[name], numeric)
                if value is None and name != "run_id":
                    _wrong(path, number, name, "", "is empty; a sample has it")
                columns[name].append(value)
    elif folder is not None and (folder / journal.NAME).exists() and len(rows):
        entries = journal.read(folder / journal.NAME)
        for values in sample_lines(entries, rows["run_id"].iloc[0]):
            for name, value in zip(SAMPLE_COLUMNS, values, strict=True):
                columns[name].append(value)
    frame = {
        name: pd.Series(
            values, dtype="int64" if name in _SAMPLE_WHOLE else _dtype(name == "seconds")
        )
        for name, values in columns.items()
    }
    return pd.DataFrame(frame, columns=list(SAMPLE_COLUMNS))


def _plain_samples(path: Path) -> pd.DataFrame | None:
    """The same, a tenth of the time, where nothing is unusual; None leaves it to the strict way.

    A run of a thousand cases has half a million samples.
    """
    texts = [name for name in SAMPLE_COLUMNS if name not in (*_SAMPLE_WHOLE, "seconds")]
    kinds: Any = {
        name: "str" if name in texts else "int64" if name in _SAMPLE_WHOLE else "float64"
        for name in SAMPLE_COLUMNS
    }
    try:
        frame = pd.read_csv(path, dtype=kinds, na_filter=False, encoding="utf-8-sig")
    except (OSError, ValueError, OverflowError, pd.errors.ParserError):
        return None
    if list(frame.columns) != list(SAMPLE_COLUMNS) or frame.empty:
        return None
    seconds = frame["seconds"]
    if not ((seconds > 0) & (seconds < math.inf)).all():
        return None
    for name in texts:
        known = {value: text_of(value) or None for value in frame[name].unique()}
        if name != "run_id" and None in known.values():
            return None
        frame[name] = pd.Series([known[value] for value in frame[name]], dtype="object")
    return frame


def _dtype(numeric: bool) -> str:
    return "float64" if numeric else "object"


def _value(path: Path, line: int, name: str, cell: str, numeric: bool) -> Any:
    if not numeric:
        return text_of(cell) or None
    try:
        value = _number(cell)
    except ValueError:
        _wrong(path, line, name, cell, "is no finite number; write e.g. 0.0123, or nothing")
    if value is None:
        return None
    if name in _POSITIVE and value <= 0:
        _wrong(path, line, name, cell, "is not above 0; what is unknown is an empty cell")
    if name in _NOT_NEGATIVE and value < 0:
        _wrong(path, line, name, cell, "is below 0; what is unknown is an empty cell")
    if name == "batch" or name in _SAMPLE_WHOLE:
        if value != int(value) or abs(value) >= 2**53:
            _wrong(path, line, name, cell, "is no whole number")
        return int(value)
    return value


def _wrong(path: Path, line: int, column: str, cell: str, what: str) -> NoReturn:
    shown = repr(cell if len(cell) <= 60 else cell[:60] + "…")
    raise ReadError(f"{path}, line {line}: {column} {shown} {what}")


def _lines(path: Path, header: Sequence[str]) -> list[tuple[int, Mapping[str, str]]]:
    """The line number and the cells of every record.  Raises ReadError."""
    text = _read(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(reader, None)
        if not names:
            raise ReadError(f"{path}: is empty; a CSV starts with its column names")
        missing = [name for name in header if name not in names and name not in _LATER]
        if missing:
            more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
            raise ReadError(
                f"{path}: has no column {', '.join(missing[:4])}{more}; "
                f"give a {MEASUREMENTS} that this suite wrote"
            )
        if len(set(names)) != len(names):
            raise ReadError(f"{path}: a column name stands twice; every one may stand once")
        lines: list[tuple[int, Mapping[str, str]]] = []
        for cells in reader:
            if len(cells) != len(names):
                raise ReadError(
                    f"{path}, line {reader.line_num}: has {len(cells)} cells; "
                    f"there are {len(names)} columns"
                )
            lines.append((reader.line_num, dict(zip(names, cells, strict=True))))
    except csv.Error as error:
        raise ReadError(f"{path}, line {reader.line_num}: is no CSV: {error}") from None
    return lines


def _run(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        run = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path}: is no JSON: {error}") from None
    if not isinstance(run, dict):
        raise ReadError(f"{path}: is no JSON object; a run's facts are one")
    if run_json.deep(run):
        raise ReadError(f"{path}: is nested too deep; no run's facts are")
    return run_json.sound(run)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # a spreadsheet puts a BOM there
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ReadError(f"{path}: is no UTF-8 text, so no CSV of this suite") from None


Line = Mapping[str, Any]  # a row of RunData.rows: unknown texts are None


def lines(rows: pd.DataFrame) -> list[Line]:
    """The rows as dictionaries, every unknown as None."""
    known = rows.astype(object).where(rows.notna(), None)
    return [{str(key): value for key, value in line.items()} for line in known.to_dict("records")]
