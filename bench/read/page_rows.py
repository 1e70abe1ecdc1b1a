"""The table of all rows, as the page shows it and as its script sorts and filters it."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import units
from bench.axes import AXES
from bench.plain_text import printable
from bench.read.summary import half_width, named, of_several_inputs, settings
from bench.records import Row

MOST_CHOICES = 30  # of a select
DIGITS = 4  # of a number that the script sorts by and the details show
HALF_WIDTH = "half_width_ratio"  # is no column of the CSV, but sorted by
MEANING = {column.name: str(column.metadata["doc"]) for column in dataclasses.fields(Row)} | {
    HALF_WIDTH: "half of the latency's 95 % interval / the latency"
}


@dataclass(frozen=True, slots=True)
class Column:
    """One of the table; its name is that of the column of `data` that it is sorted by."""

    name: str
    shown: str
    number: bool = True

    @property
    def meaning(self) -> str:
        return MEANING[self.name]


@dataclass(frozen=True, slots=True)
class Cell:
    """text, or flags as labels."""

    text: str = ""
    css: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table."""

    cells: tuple[Cell, ...]
    bad: bool


@dataclass(frozen=True, slots=True)
class Select:
    """A choice of an axis' values."""

    column: str
    values: tuple[str, ...]


COLUMNS = (
    Column("subject", "subject", number=False),
    Column("mode", "mode", number=False),
    Column("phase", "phase", number=False),
    Column("batch", "N"),
    Column("case_id", "settings", number=False),
    Column("latency_median_s", "latency"),
    Column(HALF_WIDTH, "±"),
    Column("images_per_s", "images/s"),
    Column("peak_bytes", "peak"),
    Column("flop_per_s", "FLOP/s"),
    Column("bytes_per_s", "bytes/s"),
    Column("relative_error", "error"),
    Column("flags", "flags", number=False),
)


def columns(*, several: bool) -> tuple[Column, ...]:
    """several: runs, which then have a column of their own."""
    return (Column("run_id", "run", number=False), *COLUMNS) if several else COLUMNS


def lines(rows: Sequence[Row], *, several: bool) -> list[Line]:
    """A line a row, the cells in the order of the columns."""
    of_inputs = of_several_inputs(rows)
    return [_line(row, named(row, of_inputs), several=several) for row in rows]


def _line(row: Row, name: str, *, several: bool) -> Line:
    flags = tuple(flag for flag in (row.flags or "").split(";") if flag)
    last = Cell(flags=flags) if row.status == "ok" else Cell(f"{row.status}")
    time_s = row.latency_median_s if row.latency_median_s is not None else row.device_s
    error = "" if row.relative_error is None else f"{row.relative_error:.1e}"
    cells = (
        Cell(_text(name), "name"),
        Cell(_text(row.mode), "word"),
        Cell(_text(row.phase), "word"),
        Cell(str(row.batch), "n"),
        Cell(_text(settings(row))),
        Cell(_known(units.seconds(time_s)), "n"),
        Cell(_known(units.percent(half_width(row))), "n"),
        Cell(_known(units.count(row.images_per_s)), "n"),
        Cell(_known(units.bytes_(row.peak_bytes)), "n"),
        Cell(_known(units.count(row.flop_per_s)), "n"),
        Cell(_known(units.count(row.bytes_per_s)), "n"),
        Cell(error, "n"),
        last,
    )
    return Line((Cell(_text(row.run_id)), *cells) if several else cells, row.status != "ok")


def _known(text: str) -> str:
    return "" if text == "–" else text


def _text(value: str | None) -> str:
    return printable(value or "")


def selects(rows: Sequence[Row], *, several: bool) -> list[Select]:
    """One for every column with a few values to choose from."""
    names = ["run_id"] if several else []
    names += ["status", "phase", *(axis.name for axis in AXES)]
    found = []
    for name in names:
        values = Counter(_value(getattr(row, name)) for row in rows)
        values.pop(None, None)
        if 1 < len(values) <= MOST_CHOICES:
            found.append(Select(name, tuple(map(str, values))))
    return found


def data(rows: Sequence[Row]) -> str:
    """All columns that hold anything, as JSON that no HTML parser takes for its own."""
    names = [column.name for column in dataclasses.fields(Row)]
    values = {name: [_value(getattr(row, name)) for row in rows] for name in names}
    values[HALF_WIDTH] = [_value(half_width(row)) for row in rows]
    kept = {name: own for name, own in values.items() if any(one is not None for one in own)}
    text = json.dumps(
        {"columns": kept, "meaning": {name: MEANING[name] for name in kept}},
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _value(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case str():
            return printable(value)
    return value
