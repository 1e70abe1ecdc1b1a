"""The outputs of a report: report.md, junit.xml, the terminal, and GitHub.

The first line of report.md is the verdict.  The changes follow, then everything in a folded
section.
"""

import contextlib
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench.core.row_names import CaseNames, case_names
from bench.verdict import ci, github, junit
from bench.verdict.comparison import AnyReport
from bench.verdict.lines import Line
from bench.verdict.markdown import (
    MAX_BYTES,
    MOST_SENTENCE,
    changed_table,
    code,
    escape,
    fitting,
    folded,
)
from bench.verdict.tables import report_table, say

REPORT = "report.md"


def write(folder: Path, report: AnyReport, *, strict: bool = False) -> None:
    """Write report.md and junit.xml.  Raises OSError."""
    (folder / REPORT).write_text(markdown(report), encoding="utf-8")
    suite = junit.junit(report.comparison.suite(report), ci.outcomes(report, strict=strict))
    (folder / junit.FILE).write_text(suite, encoding="utf-8")


def tell(folder: Path, report: AnyReport, console: Console, *, strict: bool = False) -> None:
    """Print the report, and write it to GitHub's step summary.  folder: that of `write`."""
    problem = github.step_summary(markdown(report))
    with contextlib.suppress(BrokenPipeError):  # the verdict is the exit code, read or not
        table = report_table(report)
        if table.rows:
            console.print(table)
        else:
            say(console, report.headline)
        problems = [problem] if problem else []
        for text in (*report.comparison.told(report), *problems, f"report: {folder / REPORT}"):
            say(console, text)
        github.annotate(ci.outcomes(report, strict=strict), console)


def markdown(report: AnyReport) -> str:
    """Return the content of report.md; the size is under 60 kB."""
    of = report.comparison
    parts = [f"**{escape(report.headline, MOST_SENTENCE)}**\n", f"{of.about(report)}\n"]
    parts += fitting([f"- {escape(note, MOST_SENTENCE)}" for note in report.notes], MAX_BYTES // 8)
    names = case_names(report.cases.values(), short=of.short)
    if names.above:
        parts.append(f"\n{escape(names.above, MOST_SENTENCE)}\n")
    text = "\n".join(parts) + "\n"
    head = f"| {' | '.join(of.columns.values())} |\n{'|---' * len(of.columns)}|\n"
    changed = [[_line(one, report, names) for one in own] for own in of.changed(report)]
    text += changed_table(head, changed, MAX_BYTES // 2, of.changed_noun)
    text += of.section(report)
    own_names = names if of.named else None
    every = ["".join(_line(one, report, own_names) for one in own) for own in of.every(report)]
    room = MAX_BYTES - len(text.encode())
    return text + folded(head, every, room, of.noun)


def _line(one: Line, report: AnyReport, names: CaseNames | None) -> str:
    """Return a line of a table in Markdown; the note stands at its end.

    names: None: the case is named by its id.
    """
    case = report.cases.get(one.case_id)
    cells = asdict(one) | {
        "case": escape(names.of(case)) if names and case else code(one.case_id),
        "figure": escape(one.figure, MOST_SENTENCE) if one.figure else escape(one.note),
        "verdict": "; ".join(filter(None, (one.verdict, one.reach))),
    }
    note = f" ({escape(one.note)})" if one.note and one.figure else ""
    return f"| {' | '.join(cells[part] for part in report.comparison.columns)}{note} |\n"
