"""report.md of a check: the verdict in its first line, what changed, then everything, folded.

Always under 60 kB, for GitHub refuses longer comments (65 536 characters).  Names come from
whoever wrote the subject: every sign that Markdown or HTML could take for its own is escaped.
"""

import html
import re

from bench import units
from bench.read.verdict import WORST_FIRST, CaseVerdict, Finding, Report

MAX_BYTES = 60_000
MAX_CHANGED = 20
_MAX_NAME = 160  # characters; what is longer is cut in its middle
_SPECIAL = {ord(sign): f"&#{ord(sign)};" for sign in "|`*_[]\\~#@$"}
_HEAD = "| case | verdict | figure | baseline | now | worse by |\n|---|---|---|---|---|---|\n"


def report_markdown(report: Report) -> str:
    """The whole file."""
    changed = sorted(
        (case for case in report.cases if case.changed),
        key=lambda case: WORST_FIRST.index(case.verdict),
    )
    parts = [f"**{report.headline}**\n"]
    parts.append(
        f"Run {code(report.run_id)} against baseline {code(report.baseline_id or '(none)')}, "
        f"threshold {units.percent(report.threshold)}, "
        + ("the same machine" if report.same_machine else "another machine")
        + (f", {report.earlier_runs} earlier runs.\n" if report.earlier_runs else ".\n")
    )
    parts += [f"- {escape(note)}" for note in report.notes]
    if changed:
        shown = changed[:MAX_CHANGED]
        more = len(changed) - len(shown)
        parts.append(f"\n{_HEAD}" + "".join(_lines(case, only_changed=True) for case in shown))
        if more:
            parts.append(f"… and {more} more changed cases in the full table.\n")
    text = "\n".join(parts) + _commands(changed)
    return text + _folded(report, MAX_BYTES - len(text.encode()))


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


def _lines(case: CaseVerdict, *, only_changed: bool) -> str:
    """A line of the table per figure."""
    findings = [one for one in case.findings if not only_changed or one.verdict != "SAME"]
    name = code(case.case_id)
    if not findings:
        return f"| {name} | {case.verdict} | {escape(case.note)} |  |  |  |\n"
    return "".join(
        f"| {name} | {one.verdict} | {escape(f'{one.phase} {one.figure}')} "
        f"| {figure(one.figure, one.base)} | {figure(one.figure, one.value)} "
        f"| {worse(one)}{f' ({escape(one.note)})' if one.note else ''} |\n"
        for one in findings
    )


def figure(name: str, value: float | None) -> str:
    """A figure in the unit that its name ends with."""
    if name.endswith("_per_s"):
        return units.count(value, "/s")
    if name.endswith("_s"):
        return units.seconds(value)
    if name.endswith("_bytes"):
        return units.bytes_(value)
    return "–" if value is None else f"{value:,.0f}"


def worse(finding: Finding) -> str:
    """How much worse, with its interval: `+12.3 % (+8.0 to +16.9 %)`."""
    if finding.worse is None:
        return ""
    text = f"{100 * (finding.worse - 1):+.1f} %"
    if finding.low is not None and finding.high is not None:
        text += f" ({100 * (finding.low - 1):+.1f} to {100 * (finding.high - 1):+.1f} %)"
    return text


def _commands(changed: list[CaseVerdict]) -> str:
    """What settles the suspects; in a fence longer than any in the commands themselves."""
    commands = [case.command for case in changed if case.command][:MAX_CHANGED]
    short = [" ".join(command.split("\n")) for command in commands if len(command) <= 500]
    if not short:
        return ""
    text = "\n".join(short)
    fence = "`" * max(3, 1 + max(len(run) for run in re.findall("`*", text)))
    return f"\nTo settle what is suspect, here and now:\n\n{fence}sh\n{text}\n{fence}\n"


def _folded(report: Report, room: int) -> str:
    """Every figure of every case, as far as there is room; says how many cases are left out."""
    head = f"\n<details><summary>All {len(report.cases)} cases</summary>\n\n{_HEAD}"
    foot = "\n</details>\n"
    spare = f"\nThe last {len(report.cases)} cases are left out: the file is limited to 60 kB.\n"
    room -= sum(len(part.encode()) for part in (head, foot, spare))
    lines: list[str] = []
    for number, case in enumerate(report.cases):
        line = _lines(case, only_changed=False)
        room -= len(line.encode())
        if room < 0:
            left = len(report.cases) - number
            lines.append(f"\nThe last {left} cases are left out: the file is limited to 60 kB.\n")
            break
        lines.append(line)
    return head + "".join(lines) + foot
