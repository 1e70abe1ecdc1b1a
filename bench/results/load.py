"""The files of a run, read: measurements.csv, samples.csv and run.json.

The only door by which results come in: whatever cannot be right is refused here, in one line
that names the place, so that nothing behind it has to look again.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from bench.core.axes import AXES
from bench.core.errors import UserError
from bench.core.records import COLUMNS, LATER_COLUMNS, STATUSES, Row
from bench.core.text import shortened
from bench.results import journal, quiet, run_json
from bench.results.csv_files import MEASUREMENTS, RUN, SAMPLE_COLUMNS, SAMPLES, text_of
from bench.results.results import (
    NUMBERS,
    WHOLE_SAMPLE_COLUMNS,
    Results,
    sample_frame,
    samples_of,
)
from bench.results.run_json import Description, DescriptionError

# Compared on a logarithmic scale, so that a zero or a negative one has no meaning.
_POSITIVE = frozenset(
    {
        name
        for name in COLUMNS
        if name.startswith(("latency_", "pipelined_")) and name not in LATER_COLUMNS
    }
    | {"device_s", "images_per_s", "control_s", "control_factor", "batch", "seconds"}
)
# Seconds that are spent once; 0 where a first call took no longer than the others.
# And spreads, 0 where nothing differs.
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
    """Results that cannot be read: what, where, what would be right, in one line."""


def load(path: Path, *, samples: bool = True) -> Results:
    """The results in a run directory, or those of a measurements.csv alone.

    samples: False leaves samples.csv unread.

    Raises ReadError.
    """
    if not path.exists():
        raise ReadError(f"{path}: no such file or directory; give a run directory")
    folder = path if path.is_dir() else None
    if folder and not (folder / MEASUREMENTS).exists():
        raise ReadError(f"{path}: holds no {MEASUREMENTS}; give the directory of a finished run")
    rows = _rows(folder / MEASUREMENTS if folder else path)
    return Results(
        path=path,
        rows=rows,
        description=description(folder) if folder else Description(),
        sample_frame=_samples(folder, rows) if folder and samples else sample_frame({}),
    )


def description(folder: Path) -> Description:
    """run.json of a run directory; without any field where there is none.  Raises ReadError."""
    path = folder / RUN
    if not path.exists():
        return Description()
    try:
        return run_json.decode(_text_of(path))
    except DescriptionError as error:
        raise ReadError(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Table:
    """The cells of a CSV by column, and the line of the file that each record ends on."""

    path: Path
    columns: dict[str, Sequence[str]]
    lines: Sequence[int]

    def wrong(self, record: int, column: str, shown: str, expected: str) -> NoReturn:
        cell = repr(shortened(shown, 60))
        raise ReadError(
            f"{self.path}, line {self.lines[record]}: {column} is {cell}; expected {expected}"
        )

    def values(self, column: str) -> list[Any]:
        """Each distinct cell is read once.  An axis that came later has its old default."""
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
        """Raises ReadError where one is unknown."""
        if None in values:
            self.wrong(values.index(None), column, "", expected)


def _reader(column: str) -> Callable[[str], Any]:
    """From a cell to a value; None = unknown.  It raises ValueError with what was expected."""
    if column not in NUMBERS and column not in (*WHOLE_SAMPLE_COLUMNS, "seconds"):
        return _text
    positive, not_negative = column in _POSITIVE, column in _NOT_NEGATIVE

    def number(cell: str) -> float | None:
        """Stricter than float(): no `nan`, `inf`, `1_000` or blanks."""
        if not cell:
            return None
        value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
        if not math.isfinite(value):
            raise ValueError("a finite number such as 0.0123, or an empty cell")
        if positive and value <= 0:
            raise ValueError("a number above 0, or an empty cell for an unknown one")
        if not_negative and value < 0:
            raise ValueError("no number below 0; an unknown one is an empty cell")
        if column in _WHOLE and (value != int(value) or abs(value) >= 2**53):
            raise ValueError("a whole number")
        # Earlier versions wrote the half between two counts.
        if column in _COUNTS or column in _WHOLE:
            return int(cell) if cell.isdigit() else round(value)
        return value

    return number


def _text(cell: str) -> str | None:
    return text_of(cell) or None


def _rows(path: Path) -> tuple[Row, ...]:
    needed = [name for name in COLUMNS if name not in LATER_COLUMNS and name not in _LATER_AXES]
    table = _table(path, needed)
    values = {name: table.values(name) for name in COLUMNS}
    rows = tuple(
        Row(**dict(zip(COLUMNS, cells, strict=True)))
        for cells in zip(*values.values(), strict=True)
    )
    table.require("case_id", values["case_id"], "the case that the row is of")
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
            table.wrong(record, "case_id", str(row.case_id), "each phase of a case once")
        seen.add(key)
    return rows


def _samples(folder: Path, rows: Sequence[Row]) -> pd.DataFrame:
    """From samples.csv; where it was left out to save space, from the journal."""
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
    """Raises ReadError."""
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
        raise ReadError(f"{path}: a column name stands twice; every one may stand once")
    return _Table(path, dict(zip(names, columns, strict=True)), lines)


_Cells = tuple[Sequence[str], Sequence[Sequence[str]], Sequence[int]]  # names, columns, lines


def _plain(text: str) -> _Cells | None:
    """Of a text without quotes whose lines have as many cells each; else None.

    A run of a thousand cases has half a million samples, which are so.
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
    """Of any text.  Raises ReadError."""
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
                    f"{path}, line {reader.line_num}: has {len(cells)} cells; "
                    f"there are {len(names)} columns"
                )
            records.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ReadError(f"{path}, line {reader.line_num}: is no CSV: {error}") from None
    return names, list(zip(*records, strict=True)) if records else [()] * len(names), lines


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # a spreadsheet puts a BOM there
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ReadError(f"{path}: is no UTF-8 text, so no file of this suite") from None
