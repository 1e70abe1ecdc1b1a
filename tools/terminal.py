"""Record a command on a terminal of its own, and replay what its screen showed.

The screen knows the control sequences that rich writes: colours, and the cursor that goes up to
draw a table again (ECMA-48).
"""

import codecs
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

OWN = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")  # variables that would hide the terminal
TOGETHER_S = 0.05  # output that comes within this time is one change of the screen
_TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[^\[]|[\r\n\b]|[^\x1b\r\n\b]+")
_UNFINISHED = re.compile(r"\x1b(\[[?0-9;]*)?$")


@dataclass(frozen=True, slots=True)
class Style:
    """The look of characters.  colour: 30 to 37 or 90 to 97 as in ECMA-48; None: the usual one."""

    bold: bool = False
    dim: bool = False
    colour: int | None = None


Span = tuple[str, Style]
Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """What a command wrote.  at_s: since it was started."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """What a command wrote on a terminal of this size.  title: what it was, where and when."""

    columns: int
    rows: int
    outputs: tuple[Output, ...]
    title: str = ""

    def save(self, path: Path) -> None:
        """Write an asciicast, version 2."""
        head = {
            "version": 2,
            "width": self.columns,
            "height": self.rows,
            "title": self.title,
        }
        lines = [head, *([one.at_s, "o", one.text] for one in self.outputs)]
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Recording":
        head, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        outputs = tuple(Output(at_s, text) for at_s, kind, text in lines if kind == "o")
        return cls(head["width"], head["height"], outputs, head["title"])


def record(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    columns: int,
    rows: int,
) -> Recording:
    """Run a command to its end.  Raises CalledProcessError."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = {name: value for name, value in environment.items() if name not in OWN}
    variables["TERM"] = "xterm-256color"
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    begun_s, outputs = time.monotonic(), list[Output]()
    text = codecs.getincrementaldecoder("utf-8")(errors="replace")
    try:
        while piece := os.read(ours, 2**16):
            outputs.append(Output(round(time.monotonic() - begun_s, 3), text.decode(piece)))
    except OSError:  # Linux says so that nobody holds the other end any more
        pass
    finally:
        os.close(ours)
    if code := process.wait():
        raise subprocess.CalledProcessError(code, command)
    return Recording(columns, rows, tuple(outputs))


@dataclass(slots=True)
class Screen:
    """The lines of a terminal, with all that has scrolled away above."""

    columns: int
    _cells: list[list[tuple[str, Style]]] = field(default_factory=lambda: [[]])
    _row: int = 0
    _column: int = 0
    _style: Style = Style()
    _unfinished: str = ""

    def feed(self, text: str) -> None:
        """Write a text; a control sequence may end in the next one."""
        text = self._unfinished + text
        cut = _UNFINISHED.search(text)
        self._unfinished = cut[0] if cut else ""
        for found in _TOKEN.finditer(text[: cut.start()] if cut else text):
            match found[0]:
                case "\r":
                    self._column = 0
                case "\n":
                    self._down()
                case "\b":
                    self._column = max(0, self._column - 1)
                case sequence if sequence.startswith("\x1b"):
                    self._control(found[2] or "", found[1] or "")
                case characters:
                    for character in characters:
                        self._put(character)

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._cells.append([])

    def _put(self, character: str) -> None:
        if self._column == self.columns:
            self._column = 0
            self._down()
        line = self._cells[self._row]
        line += [(" ", Style())] * (self._column + 1 - len(line))
        line[self._column] = (character, self._style)
        self._column += 1

    def _control(self, letter: str, given: str) -> None:
        numbers = [int(one or 0) for one in given.lstrip("?").split(";")] if given else [0]
        match letter:
            case "A":
                self._row = max(0, self._row - max(1, numbers[0]))
            case "B":
                self._row = min(len(self._cells) - 1, self._row + max(1, numbers[0]))
            case "G":
                self._column = max(1, numbers[0]) - 1
            case "K":
                line = self._cells[self._row]
                del line[0 if numbers[0] == 2 else self._column :]
            case "m":
                self._look(numbers)

    def _look(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            bold, dim, colour = self._style.bold, self._style.dim, self._style.colour
            match number:
                case 0:
                    bold, dim, colour = False, False, None
                case 1:
                    bold = True
                case 2:
                    dim = True
                case 22:
                    bold = dim = False
                case 39:
                    colour = None
                case _ if 30 <= number <= 37 or 90 <= number <= 97:
                    colour = number
            self._style = Style(bold, dim, colour)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines but empty ones at the end, each as spans of one look, without blanks behind."""
        found = [_spans(line) for line in self._cells]
        while found and not found[-1]:
            found.pop()
        return tuple(found)


def _spans(cells: Sequence[tuple[str, Style]]) -> Line:
    spans: list[Span] = []
    for character, style in cells:
        if spans and spans[-1][1] == style:
            spans[-1] = spans[-1][0] + character, style
        else:
            spans.append((character, style))
    while spans and not spans[-1][0].strip():
        spans.pop()
    if spans:
        spans[-1] = spans[-1][0].rstrip(), spans[-1][1]
    return tuple(spans)


@dataclass(frozen=True, slots=True)
class Change:
    """All lines from a moment on.  at_s: since the command was started."""

    at_s: float
    lines: tuple[Line, ...]


def changes(recording: Recording) -> Iterator[Change]:
    """Yield the lines after each output; outputs that belong together are one change."""
    screen, before = Screen(recording.columns), tuple[Line, ...]()
    outputs = recording.outputs
    for place, one in enumerate(outputs):
        screen.feed(one.text)
        is_last = place + 1 == len(outputs)
        if (is_last or outputs[place + 1].at_s - one.at_s > TOGETHER_S) and screen.lines != before:
            before = screen.lines
            yield Change(one.at_s, before)
