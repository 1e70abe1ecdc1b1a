"""The parts of a report in Markdown.

A report is always smaller than 60 kB, because GitHub refuses longer comments (65 536 characters).
Names come from the author of the subject, so every character with a meaning in Markdown or HTML
is escaped.
"""

import html
import itertools
from collections.abc import Sequence

from bench.core.text import number_of

MAX_BYTES = 60_000
MAX_CHANGED = 20
MOST_SENTENCE = 1000  # characters of the headline or a note
_MAX_NAME = 160  # characters; a longer name is cut in the middle
_SPECIAL = {ord(character): f"&#{ord(character)};" for character in "|`*_[]\\~#@$"}


def fitting(lines: Sequence[str], room: int) -> list[str]:
    """Return as many lines from the start as fit into `room` bytes together."""
    ends = itertools.accumulate(len(line.encode()) for line in lines)
    return [line for line, end in zip(lines, ends, strict=True) if end <= room]


def code(text: str) -> str:
    """Return a name as HTML code, with all characters escaped."""
    return f"<code>{escape(text)}</code>"


def escape(text: str, most: int = _MAX_NAME) -> str:
    """Return the text on one line, without any meaning in Markdown or HTML.

    most: number of characters; a longer text is cut in the middle.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if len(line) > most:
        line = f"{line[: most // 2]}…{line[-most // 2 :]}"
    safe = html.escape(line, quote=False).translate(_SPECIAL)
    return safe.replace("://", "&#58;//").replace("www.", "www&#46;")  # GitHub makes no link


def changed_table(head: str, cases: Sequence[Sequence[str]], room: int, noun: str) -> str:
    """Return the table of the first MAX_CHANGED changed cases, as far as they fit.

    head:  the two lines of the table's head.
    cases: the lines of each case.
    room:  in bytes.
    noun:  the singular word for a case in the line about cases that are left out.
    """
    if not cases:
        return ""
    lines: list[str] = []
    shown = 0
    for own in cases[:MAX_CHANGED]:
        fit = fitting(own, room - sum(len(line.encode()) for line in lines))
        lines += fit
        if len(fit) < len(own):
            break
        shown += 1
    more = len(cases) - shown
    rest = f"… and {number_of(more, f'more {noun}')} in the full table.\n" if more else ""
    return f"\n{head}{''.join(lines)}\n{rest}"


def folded(head: str, cases: Sequence[str], room: int, noun: str) -> str:
    """Return a folded table of all cases that fit, and the number of those left out.

    cases: the lines of each case.
    room:  in bytes.
    noun:  the singular word for a case in the line about cases that are left out.
    """

    def left_out(count: int) -> str:
        last = f"The last {noun} is" if count == 1 else f"The last {count} {noun}s are"
        return f"\n{last} left out: the file is limited to 60 kB.\n"

    every = f"The {noun}" if len(cases) == 1 else f"All {number_of(len(cases), noun)}"
    begin = f"\n<details><summary>{every}</summary>\n\n{head}"
    end = "\n</details>\n"
    room -= sum(len(part.encode()) for part in (begin, end, left_out(len(cases))))
    shown = fitting(cases, room)
    left = len(cases) - len(shown)
    return begin + "".join(shown) + (left_out(left) if left else "") + end
