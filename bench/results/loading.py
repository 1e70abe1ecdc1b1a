"""Read the files of a run: measurements.csv, samples.csv and run.json.

All results are read here.  Impossible values are refused with a message of one line that names the
place, so no other module has to check them.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from bench.core.axes import AXES
from bench.core.errors import UserError
from bench.core.records import COLUMNS, LATER_COLUMNS, STATUSES, Row
from bench.core.text import number_of, shortened
from bench.results import directory_kind, journal, quiet, run_json
from bench.results.csv_files import MEASUREMENTS, RUN, SAMPLE_COLUMNS, SAMPLES, text_of
from bench.results.results import (
    NUMBERS,
    WHOLE_SAMPLE_COLUMNS,
    Results,
    sample_frame,
    samples_of,
)
from bench.results.run_json import Description, DescriptionError

# These are used on a logarithmic scale, so they must be above 0.
_POSITIVE = frozenset(
    {
        name
        for name in COLUMNS
        if name.startswith(("latency_", "pipelined_")) and name not in LATER_COLUMNS
    }
    | {"device_s", "images_per_s", "control_s", "control_factor", "batch", "seconds"}
)
# These can be 0: a first call that took no longer than the others, and an SD without differences.
_NOT_NEGATIVE = (LATER_COLUMNS - _POSITIVE) | {
    "first_call_s",
    "tuning_s",
    "compile_cold_s",
    "compile_warm_s",
}
_COUNTS = frozenset(one.name for one in fields(Row) if one.type == int | None)
_WHOLE = WHOLE_SAMPLE_COLUMNS | {"batch"}
_LATER_AXES = {axis.name: str(axis.default) for axis in AXES if axis.later}
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?")


class ReadError(UserError):
    """The results cannot be read; the message says what is wrong, where, and what is expected."""


def load(path: Path, *, samples: bool = True) -> Results:
    """Read the results in a run directory, or those of a single measurements.csv.

    samples: whether samples.csv is read as well.

    Raises ReadError.
    """
    if not path.exists():
        raise ReadError(f"{path}: no such file or directory; give a run directory")
    folder = path if path.is_dir() else None
    if folder and not (folder / MEASUREMENTS).exists():
        nothing = f"{path}: has no {MEASUREMENTS}; give the directory of a finished run"
        raise ReadError(directory_kind.no_run(path) or nothing)
    rows = _rows(folder / MEASUREMENTS if folder else path)
    return Results(
        path=path,
        rows=rows,
        description=description(folder) if folder else Description(),
        sample_frame=_samples(folder, rows) if folder and samples else sample_frame({}),
    )


def read_columns(path: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Read some columns of a measurements.csv, for a store of many runs.

    Their cells are checked as by `load`, but not how the rows fit together.  Raises ReadError.
    """
    table = _table(path, [one for one in names if _is_needed(one)])
    return {name: table.values(name) for name in names}


def description(folder: Path, without: Collection[str] = ()) -> Description:
    """Read run.json of a run directory; without any field if it is missing.  Raises ReadError.

    without: keys that are not read, for a store of many runs; `machine.peaks` is one of `machine`.
    """
    path = folder / RUN
    if not path.exists():
        return Description()
    try:
        return run_json.decode(_text_of(path), without)
    except DescriptionError as error:
        raise ReadError(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Table:
    """The cells of a CSV file by column, and the line number at which each record ends."""

    path: Path
    columns: dict[str, Sequence[str]]
    lines: Sequence[int]

    def wrong(self, record: int, column: str, shown: str, expected: str) -> NoReturn:
        """Raise ReadError for a cell."""
        cell = repr(shortened(shown, 60))
        raise ReadError(
            f"{self.path}, line {self.lines[record]}: {column} is {cell}; expected {expected}"
        )

    def values(self, column: str) -> list[Any]:
        """Return the values of a column.

        Each distinct cell is parsed a single time.  If the file lacks an axis, because it is
        older than the axis, the value is the axis's default.
        """
        cells = self.columns.get(column)
        if cells is None:
            inference = [mode == "inference" for mode in self.columns.get("mode", ())]
            return [_LATER_AXES.get(column) if one else None for one in inference]
        read = _reader(column)
        known: dict[str, Any] = {}
        for cell in dict.fromkeys(cells):
            try:
                known[cell] = read(cell)
            except ValueError as error:
                self.wrong(cells.index(cell), column, cell, str(error))
        return list(map(known.__getitem__, cells))

    def require(self, column: str, values: Sequence[Any], expected: str) -> None:
        """Raise ReadError if a value is unknown."""
        if None in values:
            self.wrong(values.index(None), column, "", expected)


def _reader(column: str) -> Callable[[str], Any]:
    """Return the parser of a column's cells; it raises ValueError with the expected form.

    An unknown value is None.
    """
    if column not in NUMBERS and column not in (*WHOLE_SAMPLE_COLUMNS, "seconds"):
        return _text
    positive, not_negative = column in _POSITIVE, column in _NOT_NEGATIVE

    def number(cell: str) -> float | None:
        """Parse a number more strictly than float(): no `nan`, `inf`, `1_000` or blanks."""
        if not cell:
            return None
        value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
        if not math.isfinite(value):
            raise ValueError("a finite number such as 0.0123, or an empty cell")
        if positive and value <= 0:
            raise ValueError("a number above 0, or an empty cell for an unknown value")
        if not_negative and value < 0:
            raise ValueError("0 or a number above 0, or an empty cell for an unknown value")
        if column in _WHOLE and (value != int(value) or abs(value) >= 2**53):
            raise ValueError("a whole number")
        # Earlier versions wrote the mean of two counts.
        if column in _COUNTS or column in _WHOLE:
            return int(cell) if cell.isdigit() else round(value)
        return value

    return number


def _text(cell: str) -> str | None:
    return text_of(cell) or None


def _is_needed(column: str) -> bool:
    """Return whether every version of this suite wrote the column."""
    return column not in LATER_COLUMNS and column not in _LATER_AXES


def _rows(path: Path) -> tuple[Row, ...]:
    table = _table(path, [one for one in COLUMNS if _is_needed(one)])
    values = {name: table.values(name) for name in COLUMNS}
    rows = tuple(
        Row(**dict(zip(COLUMNS, cells, strict=True)))
        for cells in zip(*values.values(), strict=True)
    )
    table.require("case_id", values["case_id"], "the case_id of the row")
    seen: set[tuple[str | None, str | None, str | None]] = set()
    for record, row in enumerate(rows):
        if row.status not in STATUSES:
            table.wrong(record, "status", row.status or "", f"one of {', '.join(STATUSES)}")
        if (row.phase is not None) != (row.status == "ok"):
            table.wrong(
                record, "phase", row.phase or "", "a phase where status is ok, else an empty cell"
            )
        if row.status == "ok" and row.batch is None:
            table.wrong(record, "batch", "", "a number where status is ok")
        key = (row.run_id, row.case_id, row.phase)
        if key in seen:
            table.wrong(record, "case_id", str(row.case_id), "a single row for each phase")
        seen.add(key)
    return rows


def _samples(folder: Path, rows: Sequence[Row]) -> pd.DataFrame:
    """Read samples.csv, or the journal if samples.csv was left out to save space."""
    if (folder / SAMPLES).exists():
        table = _table(folder / SAMPLES, SAMPLE_COLUMNS)
        values = {name: table.values(name) for name in SAMPLE_COLUMNS}
        for name in SAMPLE_COLUMNS:
            if name != "run_id":
                table.require(name, values[name], "a value in each line")
        return sample_frame(values)
    if (folder / journal.NAME).exists() and rows:
        asked = description(folder).config.replicates
        kept = quiet.counted(journal.read(folder / journal.NAME), asked)
        return samples_of(kept, rows[0].run_id)
    return sample_frame({})


def _table(path: Path, needed: Sequence[str]) -> _Table:
    """Read a CSV file.  Raises ReadError, also if a needed column is missing."""
    text = _text_of(path)
    names, columns, lines = _plain(text) or _quoted(path, text)
    missing = [name for name in needed if name not in names]
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise ReadError(
            f"{path}: has no column {', '.join(missing[:4])}{more}; "
            f"give a {MEASUREMENTS} that this suite wrote"
        )
    if len(set(names)) != len(names):
        raise ReadError(f"{path}: two columns have the same name; each name must be unique")
    return _Table(path, dict(zip(names, columns, strict=True)), lines)


_Cells = tuple[Sequence[str], Sequence[Sequence[str]], Sequence[int]]  # names, columns, lines


def _plain(text: str) -> _Cells | None:
    """Split a text without quotes whose lines all have the same number of cells; else None.

    This is faster than `_quoted`.  A run of a thousand cases has half a million samples, which
    have this form.
    """
    if '"' in text:
        return None
    head, *lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    names = head.split(",")
    if not lines or {line.count(",") for line in lines} != {len(names) - 1}:
        return None
    cells = ",".join(lines).split(",")
    columns = [cells[at :: len(names)] for at in range(len(names))]
    return names, columns, range(2, len(lines) + 2)


def _quoted(path: Path, text: str) -> _Cells:
    """Split any CSV text.  Raises ReadError."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[list[str]] = []
    lines: list[int] = []
    try:
        names = next(reader, None)
        if not names:
            raise ReadError(f"{path}: is empty; a CSV starts with its column names")
        for cells in reader:
            if len(cells) != len(names):
                raise ReadError(
                    f"{path}, line {reader.line_num}: has {number_of(len(cells), 'cell')}; "
                    f"there are {len(names)} columns"
                )
            records.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ReadError(f"{path}, line {reader.line_num}: is not valid CSV: {error}") from None
    return names, list(zip(*records, strict=True)) if records else [()] * len(names), lines


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # a spreadsheet writes a BOM
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ReadError(f"{path}: is not UTF-8 text, so this suite did not write it") from None
