"""Tables of plain text that fit the width, cut no words and have no spaces at the line ends."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bench.core.text import printable

WIDTH = 100  # terminal columns at most; fewer if the terminal is narrower
GAP = 2  # spaces between two columns
LEAST_TEXT = 12  # the least width of a column that wraps, if its text is as long
_BREAKS = re.compile(r"(?<=[/.:=,;_-])")  # places to break a word that is wider than the line


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    wraps: its cells may take several lines, broken between words.  Other cells are not broken.
    """

    name: str
    right: bool = False
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and the style of its characters."""

    text: str
    style: str = ""


@dataclass(slots=True)
class TextTable:
    """A table that rich can print.

    above:   a text above the table that holds for all rows.
    caption: a text below the table.
    """

    title: str
    columns: Sequence[Column]
    above: str = ""
    caption: str = ""
    rows: list[tuple[Cell, ...]] = field(default_factory=list)

    def add(self, *cells: Cell | str) -> None:
        """Add a row with one cell for each column."""
        assert len(cells) == len(self.columns)
        self.rows.append(
            tuple(
                Cell(printable(one))
                if isinstance(one, str)
                else Cell(printable(one.text), one.style)
                for one in cells
            )
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines(min(WIDTH, options.max_width)):
            line.no_wrap, line.overflow = True, "ignore"
            yield line

    def lines(self, width: int) -> list[Text]:
        """Return the table in at most `width` columns.

        Empty columns are left out.  If the columns do not fit side by side, the cells of a row
        are printed below its first cell.
        """
        kept = [
            number
            for number in range(len(self.columns))
            if any(row[number].text for row in self.rows)
        ]
        columns = [self.columns[number] for number in kept]
        rows = [[row[number] for number in kept] for row in self.rows]
        found = [Text(line, style="bold") for line in wrapped(self.title, width)]
        found += [Text(line) for line in wrapped(self.above, width)]
        found.append(Text())
        widths = _widths(columns, rows, width)
        if widths is None:
            found += _stacked(columns, rows, width)
        else:
            found += _beside(columns, rows, widths)
        if self.caption:
            found += [Text(), *(Text(line, style="dim") for line in wrapped(self.caption, width))]
        return [*found, Text()]


def wrapped(text: str, width: int, lead: str = "") -> list[str]:
    """Break a text between words into lines; a word is broken only if it is wider than a line.

    lead: text before the first line; the other lines are indented by its width.
    """
    room = max(width - cell_len(lead), 1)
    words = [part for word in printable(text).split() for part in _parts(word, room)]
    lines: list[str] = []
    for word, joined in words:
        if lines and not joined and cell_len(lines[-1]) + 1 + cell_len(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    indent = " " * cell_len(lead)
    return [f"{indent if number else lead}{line}" for number, line in enumerate(lines)]


def _parts(word: str, room: int) -> list[tuple[str, bool]]:
    """Return a word in pieces that fit into a line, each with whether it continues the last one."""
    if cell_len(word) <= room:
        return [(word, False)]
    pieces = [""]
    for part in _BREAKS.split(word):
        for chunk in [part] if cell_len(part) <= room else textwrap.wrap(part, room):
            if cell_len(pieces[-1]) + cell_len(chunk) > room:
                pieces.append("")
            pieces[-1] += chunk
    return [(piece, number > 0) for number, piece in enumerate(pieces)]


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int
) -> list[int] | None:
    """Return the width of each column; None if they do not fit side by side."""
    texts = [
        [column.name, *(row[number].text for row in rows)] for number, column in enumerate(columns)
    ]
    widths = [max(map(cell_len, own)) for own in texts]
    room = width - GAP * (len(columns) - 1)
    least = [
        min(natural, max(LEAST_TEXT, *(cell_len(word) for text in own for word in text.split())))
        if column.wraps
        else natural
        for column, own, natural in zip(columns, texts, widths, strict=True)
    ]
    while sum(widths) > room:
        able = [number for number in range(len(columns)) if widths[number] > least[number]]
        if not able:
            return None
        widths[max(able, key=lambda number: widths[number])] -= 1
    return widths


def _beside(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: Sequence[int]
) -> list[Text]:
    head = [Cell(column.name, "bold") for column in columns]
    rule = Text("─" * (sum(widths) + GAP * (len(widths) - 1)), style="dim")
    lines = [*_row(columns, head, widths), rule]
    for row in rows:
        lines += _row(columns, row, widths)
    return lines


def _row(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int]) -> list[Text]:
    cells = [
        wrapped(cell.text, width) if column.wraps else [cell.text]
        for column, cell, width in zip(columns, row, widths, strict=True)
    ]
    return [
        _joined(columns, row, widths, [own[number] if number < len(own) else "" for own in cells])
        for number in range(max(map(len, cells), default=0))
    ]


def _joined(
    columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int], texts: Iterable[str]
) -> Text:
    line, column_start = Text(), 0
    for column, cell, width, text in zip(columns, row, widths, texts, strict=True):
        start = column_start + (width - cell_len(text) if column.right else 0)
        if text:
            line.append(" " * (start - line.cell_len))
            line.append(text, style=cell.style)
        column_start += width + GAP
    return line


def _stacked(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[Text]:
    lines = []
    for row in rows:
        lines += [Text(line) for line in wrapped(row[0].text, width)]
        line = Text()
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if not cell.text:
                continue
            shown = f"{column.name} {cell.text}".strip()
            if line and line.cell_len + GAP + cell_len(shown) > width:
                lines.append(line)
                line = Text()
            parts = [shown] if cell_len(shown) <= width - GAP else [column.name]
            if parts == [column.name]:
                parts += wrapped(cell.text, width - GAP)
            for number, part in enumerate(parts):
                if number:
                    lines.append(line)
                    line = Text()
                line.append(" " * GAP)
                line.append(part, style=cell.style)
        lines.append(line)
    return lines
