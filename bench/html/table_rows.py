"""The table of all rows, and the choices that filter it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.core import units
from bench.core.axes import AXES
from bench.core.records import Row
from bench.core.row_names import half_width, named, of_several_inputs, settings
from bench.core.text import printable, shortened
from bench.html.table_data import HALF_WIDTH, MEANING, MOST_CHARS, SETTINGS, TIME, time_s, value_of

MOST_CHOICES = 30  # values of a filter
NAME = 80  # characters of a text in a cell; its title has more, the CSV all


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    name: the column in `table_data`.  Numbers are sorted by it, texts by their cells.
    css:  the class of the heading, and a key of CELLS if the cells have a style.
    """

    name: str
    shown: str
    css: str = "n"  # a number

    @property
    def meaning(self) -> str:
        return MEANING[self.name]


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, or flags as labels.  title: the longer form of a shortened text."""

    text: str = ""
    flags: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table."""

    cells: tuple[Cell, ...]
    bad: bool


@dataclass(frozen=True, slots=True)
class Select:
    """A filter: a column, and the values to choose from."""

    column: str
    values: tuple[str, ...]


COLUMNS = (
    Column("subject", "subject", "name"),
    Column("mode", "mode", "word"),
    Column("phase", "phase", "word"),
    Column("batch", "N"),
    Column(SETTINGS, "settings", "settings"),
    Column(TIME, "latency"),
    Column(HALF_WIDTH, "±"),
    Column("images_per_s", "images/s"),
    Column("peak_bytes", "peak"),
    Column("flop_per_s", "FLOP/s"),
    Column("bytes_per_s", "bytes/s"),
    Column("relative_error", "error"),
    Column("flags", "flags", ""),
)

CELLS = {
    "n": "text-align: right; white-space: nowrap;",
    "word": "white-space: nowrap;",
    "name": "min-width: var(--name);",
    "settings": "min-width: var(--settings);",
}


def columns(*, several: bool) -> tuple[Column, ...]:
    """Return the columns.  several: whether there are several runs, so that a column names them."""
    return (Column("run_id", "run", ""), *COLUMNS) if several else COLUMNS


def css(columns_: Sequence[Column]) -> str:
    """Return the style of each column's cells; a class in each cell would add a tenth in size."""
    return "\n".join(
        f"#rows td:nth-child({place}) {{ {CELLS[column.css]} }}"
        for place, column in enumerate(columns_, 1)
        if column.css
    )


def lines(rows: Sequence[Row], *, several: bool) -> list[Line]:
    """Return a line for each row, with its cells in the order of the columns."""
    of_inputs = of_several_inputs(rows)
    return [_line(row, named(row, of_inputs), several=several) for row in rows]


def _line(row: Row, name: str, *, several: bool) -> Line:
    last = Cell(flags=row.flag_names) if row.status == "ok" else Cell(f"{row.status}")
    error = "" if row.relative_error is None else f"{row.relative_error:.1e}"
    cells = (
        _text(name),
        _text(row.mode),
        _text(row.phase),
        Cell("" if row.batch is None else f"{row.batch}"),
        _text(settings(row)),
        _number(units.seconds, time_s(row)),
        _number(units.half_width, half_width(row)),
        _number(units.count, row.images_per_s),
        _number(units.bytes_, row.peak_bytes),
        _number(units.count, row.flop_per_s),
        _number(units.count, row.bytes_per_s),
        Cell(error),
        last,
    )
    return Line((_text(row.run_id), *cells) if several else cells, row.status != "ok")


def _number(show: Callable[[float | None], str], value: float | None) -> Cell:
    # Rounded like the sort key, so that equal keys have equal texts.
    known = value_of(value)
    return Cell("" if known is None else show(known))


def _text(value: str | None) -> Cell:
    whole = printable(value or "")
    shown = shortened(whole, NAME)
    return Cell(shown, title="" if shown == whole else shortened(whole, MOST_CHARS))


def selects(rows: Sequence[Row], *, several: bool) -> list[Select]:
    """Return a filter for each column that has a few distinct values."""
    names = ["run_id"] if several else []
    names += ["status", "phase", *(axis.name for axis in AXES)]
    found = []
    for name in names:
        values = Counter(value_of(getattr(row, name)) for row in rows)
        values.pop(None, None)
        if 1 < len(values) <= MOST_CHOICES:
            found.append(Select(name, tuple(map(str, values))))
    return found
