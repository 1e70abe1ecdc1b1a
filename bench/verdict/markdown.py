"""report.md of a check, and the parts that it has in common with that of a comparison.

The verdict in its first line, what changed, then everything, folded.
Always under 60 kB, for GitHub refuses longer comments (65 536 characters).  Names come from
whoever wrote the subject: every sign that Markdown or HTML could take for its own is escaped.
"""

import html
import itertools
import re
from collections.abc import Sequence

from bench.core import units
from bench.core.text import number_of
from bench.verdict.report import CaseVerdict, Report

MAX_BYTES = 60_000
MAX_CHANGED = 20
_MAX_NAME = 160  # characters; what is longer is cut in its middle
_SPECIAL = {ord(sign): f"&#{ord(sign)};" for sign in "|`*_[]\\~#@$"}
_HEAD = "| case | verdict | figure | baseline | now | worse by |\n|---|---|---|---|---|---|\n"


def report_markdown(report: Report) -> str:
    """The whole file."""
    parts = [f"**{report.headline}**\n"]
    parts.append(
        f"Run {code(report.run_id)} against baseline {code(report.baseline_id or '(none)')}, "
        f"threshold {units.percent(report.threshold)}, "
        + ("the same machine" if report.same_machine else "another machine")
        + (f", {report.earlier_runs} earlier runs.\n" if report.earlier_runs else ".\n")
    )
    parts += fitting([f"- {escape(note)}" for note in report.notes], MAX_BYTES // 8)
    text = "\n".join(parts) + "\n"
    changed = [case for case in report.worst_first if case.changed]
    text += changed_table(
        _HEAD,
        [_lines(case, only_changed=True) for case in changed],
        MAX_BYTES // 2,
        "changed case",
    )
    text += _commands(report.commands, MAX_BYTES // 4)
    cases = ["".join(_lines(case, only_changed=False)) for case in report.cases]
    room = MAX_BYTES - len(text.encode())
    return text + folded(all_of(len(cases), "case"), _HEAD, cases, room, "case")


def all_of(count: int, noun: str) -> str:
    """`All 3 cases`, as a heading."""
    return f"The {noun}" if count == 1 else f"All {number_of(count, noun)}"


def fitting(lines: Sequence[str], room: int) -> list[str]:
    """The first of the lines, as many as fit into `room` bytes together."""
    ends = itertools.accumulate(len(line.encode()) for line in lines)
    return [line for line, end in zip(lines, ends, strict=True) if end <= room]


def code(text: str) -> str:
    """A name as code, harmless."""
    return f"<code>{escape(text)}</code>"


def escape(text: str, most: int = _MAX_NAME) -> str:
    """Plain text that neither Markdown nor HTML takes for its own, on one line.

    most: characters; what is longer is cut in its middle.
    """
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    if len(line) > most:
        line = f"{line[: most // 2]}…{line[-most // 2 :]}"
    safe = html.escape(line, quote=False).translate(_SPECIAL)
    return safe.replace("://", "&#58;//").replace("www.", "www&#46;")  # no link by itself


def _lines(case: CaseVerdict, *, only_changed: bool) -> list[str]:
    """A line of the table per figure."""
    findings = [one for one in case.findings if not only_changed or one.verdict != "SAME"]
    name = code(case.case_id)
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
    """A figure in the unit that its name ends with."""
    if name.endswith("_per_s"):
        return units.count(value, "/s")
    if name.endswith("_s"):
        return units.seconds(value)
    if name.endswith("_bytes"):
        return units.bytes_(value)
    return "–" if value is None else f"{value:,.0f}"


def percent_more(ratio: float | None, low: float | None, high: float | None) -> str:
    """How much more, with its interval: `+12.3 % (+8.0 to +16.9 %)`."""
    if ratio is None:
        return ""
    text = f"{100 * (ratio - 1):+.1f} %"
    if low is not None and high is not None:
        text += f" ({100 * (low - 1):+.1f} to {100 * (high - 1):+.1f} %)"
    return text


def changed_table(head: str, cases: Sequence[Sequence[str]], room: int, noun: str = "line") -> str:
    """The table of what changed: the first MAX_CHANGED, as far as there is room.

    head: its two lines.  cases: the lines of each.  noun: of what is left out, of one.
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
    """Everything, as far as there is room; says how many are left out.

    cases: the lines of each.  noun: of what is left out, of one.
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
    """What settles the doubts; in a fence longer than any in the commands themselves."""
    if not commands:
        return ""
    lines = fitting([" ".join(command.split("\n")) + "\n" for command in commands], room)
    text = "".join(lines)
    fence = "`" * max(3, 1 + max(len(run) for run in re.findall("`*", text)))
    made = f"\nTo settle what is in doubt, here and now:\n\n{fence}sh\n{text}{fence}\n"
    more = len(commands) - len(lines)
    rest = f"… and {number_of(more, 'more such command')}: junit.xml has all of them.\n"
    return (made if lines else "\n") + (rest if more else "")
