"""The table of all rows, as the page shows it, and what its script filters it by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core import units
from bench.core.axes import AXES
from bench.core.records import Row
from bench.core.row_names import half_width, named, of_several_inputs, settings
from bench.core.text import printable, shortened
from bench.html.table_data import HALF_WIDTH, MEANING, MOST_SIGNS, SETTINGS, TIME, time_s, value_of

MOST_CHOICES = 30  # of a select
NAME = 80  # signs of a text in a cell; more of it stands in its title, all of it in the CSV


@dataclass(frozen=True, slots=True)
class Column:
    """One of the table, sorted by what is shown.

    name: of the column of `table_data`; one of numbers is sorted by it, others by their cells.
    css:  class of its head, and, by the page's style sheet, how its cells stand.
    """

    name: str
    shown: str
    css: str = "n"  # a number

    @property
    def meaning(self) -> str:
        return MEANING[self.name]


@dataclass(frozen=True, slots=True)
class Cell:
    """text, or flags as labels.  title: more of a text that was shortened."""

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
    """A choice of an axis' values."""

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
    """several: runs, which then have a column of their own."""
    return (Column("run_id", "run", ""), *COLUMNS) if several else COLUMNS


def css(columns_: Sequence[Column]) -> str:
    """How the cells of each column stand: a class a cell would be a tenth of the page."""
    return "\n".join(
        f"#rows td:nth-child({place}) {{ {CELLS[column.css]} }}"
        for place, column in enumerate(columns_, 1)
        if column.css
    )


def lines(rows: Sequence[Row], *, several: bool) -> list[Line]:
    """A line a row, the cells in the order of the columns."""
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
        Cell(_known(units.seconds(time_s(row)))),
        Cell(_known(units.percent(half_width(row)))),
        Cell(_known(units.count(row.images_per_s))),
        Cell(_known(units.bytes_(row.peak_bytes))),
        Cell(_known(units.count(row.flop_per_s))),
        Cell(_known(units.count(row.bytes_per_s))),
        Cell(error),
        last,
    )
    return Line((_text(row.run_id), *cells) if several else cells, row.status != "ok")


def _known(text: str) -> str:
    return "" if text == "–" else text


def _text(value: str | None) -> Cell:
    whole = printable(value or "")
    shown = shortened(whole, NAME)
    return Cell(shown, title="" if shown == whole else shortened(whole, MOST_SIGNS))


def selects(rows: Sequence[Row], *, several: bool) -> list[Select]:
    """One for every column with a few values to choose from."""
    names = ["run_id"] if several else []
    names += ["status", "phase", *(axis.name for axis in AXES)]
    found = []
    for name in names:
        values = Counter(value_of(getattr(row, name)) for row in rows)
        values.pop(None, None)
        if 1 < len(values) <= MOST_CHOICES:
            found.append(Select(name, tuple(map(str, values))))
    return found
