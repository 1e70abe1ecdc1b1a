"""The file report.md of a check, and the parts that it shares with the report of `bench ab`.

The first line is the verdict.  The changed cases follow, then all cases in a folded section.
The file is always smaller than 60 kB, because GitHub refuses longer comments (65 536 characters).
Names come from the author of the subject, so every character with a meaning in Markdown or HTML
is escaped.
"""

import html
import itertools
import re
from collections.abc import Sequence

from bench.core import units
from bench.core.row_names import CaseNames, case_names
from bench.core.text import number_of
from bench.verdict.report import CaseReport, CheckReport, worse_than_earlier

MAX_BYTES = 60_000
MAX_CHANGED = 20
MOST_SENTENCE = 1000  # characters of the headline or a note
_MAX_NAME = 160  # characters; a longer name is cut in the middle
_SPECIAL = {ord(character): f"&#{ord(character)};" for character in "|`*_[]\\~#@$"}
_HEAD = "| case | verdict | figure | baseline | now | worse by |\n|---|---|---|---|---|---|\n"


def report_markdown(report: CheckReport) -> str:
    """Return the content of the file."""
    parts = [f"**{report.headline}**\n"]
    parts.append(
        f"Run {code(report.run_id)} against baseline {code(report.baseline_id or '(none)')}, "
        f"threshold {units.percent(report.threshold)}, "
        + ("the same machine" if report.same_machine else "another machine")
        + (f", {report.earlier_runs} earlier runs.\n" if report.earlier_runs else ".\n")
    )
    parts += fitting([f"- {escape(note, MOST_SENTENCE)}" for note in report.notes], MAX_BYTES // 8)
    names = case_names(case.row for case in report.cases if case.row is not None)
    if names.above:
        parts.append(f"\n{escape(names.above, MOST_SENTENCE)}\n")
    every = [one for case in report.cases for one in case.findings]
    if differs := worse_than_earlier(report, every):
        parts.append(f"\n{escape(differs, MOST_SENTENCE)}.\n")
    text = "\n".join(parts) + "\n"
    changed = [case for case in report.worst_first if case.changed]
    text += changed_table(
        _HEAD,
        [_lines(case, names, only_changed=True) for case in changed],
        MAX_BYTES // 2,
        "changed case",
    )
    text += _commands(report.commands, MAX_BYTES // 4)
    cases = ["".join(_lines(case, names, only_changed=False)) for case in report.cases]
    room = MAX_BYTES - len(text.encode())
    return text + folded(all_of(len(cases), "case"), _HEAD, cases, room, "case")


def all_of(count: int, noun: str) -> str:
    """Return `All 3 cases`, as a heading."""
    return f"The {noun}" if count == 1 else f"All {number_of(count, noun)}"


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


def _lines(case: CaseReport, names: CaseNames, *, only_changed: bool) -> list[str]:
    """Return a line of the table for each figure."""
    findings = [one for one in case.findings if not only_changed or one.verdict != "SAME"]
    name = escape(case.name(names))
    if not findings:
        return [f"| {name} | {case.verdict} | {escape(case.note)} |  |  |  |\n"]
    return [
        f"| {name} | {one.verdict} | {escape(f'{one.phase} {one.figure}')} "
        f"| {figure(one.figure, one.base)} | {figure(one.figure, one.value)} "
        f"| {percent_more(one.worse, one.low, one.high)}"
        f"{f' ({escape(one.note)})' if one.note else ''} |\n"
        for one in findings
    ]


def figure(name: str, value: float | None) -> str:
    """Return a value as text, in the unit that the name of the figure ends with."""
    if name.endswith("_per_s"):
        return units.count(value, "/s")
    if name.endswith("_s"):
        return units.seconds(value)
    if name.endswith("_bytes"):
        return units.bytes_(value)
    return "–" if value is None else f"{value:,.0f}"


def percent_more(ratio: float | None, low: float | None, high: float | None) -> str:
    """Return a ratio as a change in percent with its interval: `+12.3 % (+8.0 to +16.9 %)`.

    The interval is `(too wide)` if it says nothing.
    """
    if ratio is None:
        return ""
    text = f"{100 * (ratio - 1):+.1f} %"
    if low is None or high is None:
        return text
    if units.is_too_wide(ratio, low, high):
        text += f" ({units.TOO_WIDE})"
    else:
        text += f" ({100 * (low - 1):+.1f} to {100 * (high - 1):+.1f} %)"
    return text


def changed_table(head: str, cases: Sequence[Sequence[str]], room: int, noun: str = "line") -> str:
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


def folded(summary: str, head: str, cases: Sequence[str], room: int, noun: str = "line") -> str:
    """Return a folded section with all cases that fit, and the number of those left out.

    cases: the lines of each case.
    room:  in bytes.
    noun:  the singular word for a case in the line about cases that are left out.
    """

    def left_out(count: int) -> str:
        last = f"The last {noun} is" if count == 1 else f"The last {count} {noun}s are"
        return f"\n{last} left out: the file is limited to 60 kB.\n"

    begin = f"\n<details><summary>{summary}</summary>\n\n{head}"
    end = "\n</details>\n"
    room -= sum(len(part.encode()) for part in (begin, end, left_out(len(cases))))
    shown = fitting(cases, room)
    left = len(cases) - len(shown)
    return begin + "".join(shown) + (left_out(left) if left else "") + end


def _commands(commands: Sequence[str], room: int) -> str:
    """Return the commands that decide the cases in doubt, as a code block.

    Its fence is longer than any run of backticks in the commands.
    """
    if not commands:
        return ""
    lines = fitting([" ".join(command.split("\n")) + "\n" for command in commands], room)
    text = "".join(lines)
    fence = "`" * max(3, 1 + max(len(run) for run in re.findall("`*", text)))
    block = f"\nTo settle the cases in doubt, run on this machine:\n\n{fence}sh\n{text}{fence}\n"
    more = len(commands) - len(lines)
    rest = f"… and {number_of(more, 'more command')} that did not fit; junit.xml has all of them.\n"
    return (block if lines else "\n") + (rest if more else "")
