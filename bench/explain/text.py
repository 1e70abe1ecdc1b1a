"""The explanations as text: a section of report.md, and lines for the terminal."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.core import units
from bench.core.row_names import case_names
from bench.core.text import number_of
from bench.explain import explanation as explaining
from bench.explain.explanation import Explanation
from bench.results.csv_files import write_csv
from bench.verdict.markdown import escape, fitting
from bench.verdict.text_table import Column, TextTable

TABLE = "difference.csv"
MOST_BYTES = 12_000  # of the section
MOST_ROWS = 12  # of the table of one case
MOST_SENTENCE = 600


def lines(explanations: Sequence[Explanation], *, names: bool = True) -> list[str]:
    """Return lines for a terminal.  names: each case begins with its name."""
    found: list[str] = []
    shown = case_names([one.case for one in explanations], short=True)
    for one in explanations:
        if names:
            found.append(shown.of(one.case) or one.case.case_id)
        found.append(one.headline)
        found += [f"{place}. {text}" for place, text in enumerate(one.sentences, 1)]
        if one.causes:
            found.append(one.rest)
        if one.counts:
            found.append(f"counted: {one.counted}")
        if one.conversions:
            found.append(f"copies and conversions: {one.conversions}")
        if one.doubt:
            found.append(one.doubt)
    return found


def layers_table(one: Explanation) -> TextTable:
    """Return the layers with the largest differences."""
    made = TextTable(
        "layers",
        (
            Column("layer", wraps=True),
            Column("A", right=True),
            Column("B", right=True),
            Column("B - A", right=True),
        ),
        caption="host time of a step, without the profiler; on an accelerator the device's",
    )
    for name, a_s, b_s in one.layers[:MOST_ROWS]:
        made.add(name, units.seconds(a_s), units.seconds(b_s), units.signed(b_s - a_s))
    return made


def markdown(explanations: Sequence[Explanation], heading: str = "Why") -> str:
    """Return the section of a report, of at most MOST_BYTES; empty without explanations."""
    if not explanations:
        return ""
    shown = case_names([one.case for one in explanations], short=True)
    parts = [f"\n### {heading}\n"]
    room = MOST_BYTES - len(_left_out(len(explanations)).encode()) - len(parts[0].encode())
    cases = [_case(one, shown.of(one.case) or one.case.case_id) for one in explanations]
    whole = fitting(["".join(one) for one in cases], room)
    parts += whole or fitting(cases[0], room)
    if left := len(cases) - max(1, len(whole)):
        parts.append(_left_out(left))
    return "".join(parts)


def _left_out(count: int) -> str:
    have = "has" if count == 1 else "have"
    return f"\n{number_of(count, 'more case')} {have} no room here: {TABLE} has every part.\n"


def _case(one: Explanation, name: str) -> list[str]:
    """Return the lines of one case, in the order of their use."""
    parts = [f"\n**{escape(name)}**: {escape(one.headline, MOST_SENTENCE)}\n\n"]
    if one.counts:
        parts.append(f"Counted (exact): {escape(one.counted, MOST_SENTENCE)}\n\n")
    parts += [f"{place}. {_with_code(text)}\n" for place, text in enumerate(one.sentences, 1)]
    if one.doubt:
        parts.append(f"\nBut {one.doubt}.\n")
    if one.causes:
        parts.append(f"\nRemainder: {escape(one.rest, MOST_SENTENCE)}.\n")
        parts.append(_table(one))
    return parts


def _with_code(text: str) -> str:
    """Escape a sentence; what is between backticks becomes code."""
    pieces = text.split("`")
    return "".join(
        f"<code>{escape(piece)}</code>" if place % 2 else escape_keeping_ends(piece)
        for place, piece in enumerate(pieces)
    )


def escape_keeping_ends(text: str) -> str:
    """Escape a text, and keep a blank at its ends."""
    inner = escape(text, MOST_SENTENCE)
    return f"{' ' if text[:1] == ' ' else ''}{inner}{' ' if text[1:] and text[-1] == ' ' else ''}"


def _table(one: Explanation) -> str:
    head = "\n| part | A | B | B - A | calls A → B |\n|---|---:|---:|---:|---:|\n"
    largest = sorted(one.parts, key=lambda part: -abs(part.difference_s))[:MOST_ROWS]
    return head + "".join(
        f"| {escape(f'{part.phase} of {part.layer}: {part.operator}')} | {units.seconds(part.a_s)} "
        f"| {units.seconds(part.b_s)} | {units.signed(part.difference_s)} "
        f"| {part.calls_a} → {part.calls_b} |\n"
        for part in largest
    )


def write_table(folder: Path, explanations: Iterable[Explanation]) -> None:
    """Write difference.csv over all cases."""
    lines_ = [row for one in explanations for row in explaining.rows(one)]
    write_csv(folder / TABLE, tuple(explaining.COLUMNS), lines_)
