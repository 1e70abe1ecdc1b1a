"""What a comparison of two sides says: its rows, its first line, its exit code, its files."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core import units
from bench.core.records import Case
from bench.core.row_names import CaseNames, case_names
from bench.core.text import command, number_of
from bench.results.csv_files import write_csv
from bench.verdict.exact_metrics import counted_findings
from bench.verdict.markdown import (
    MAX_BYTES,
    all_of,
    changed_table,
    code,
    escape,
    figure,
    fitting,
    folded,
    percent_more,
)
from bench.verdict.paired_test import Decision, Outlook
from bench.verdict.power import MOST_TRIED
from bench.verdict.report import WORST_FIRST, Verdict, headline
from bench.verdict.tables import style_of
from bench.verdict.text_table import Cell, Column, TextTable

TIME = "time_s"  # of a call
PIPELINED = "pipelined_s"  # of a call back to back with others, on an accelerator
TIMES = (TIME, PIPELINED)
MOST_SENTENCE = 1000  # characters of a first line or a note, in the file
COUNTED = ("flops", "graph_breaks", "recompiles", "layout_flips", "operators", "peak_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of one phase of one case; the fields are the columns of ab.csv.

    Times in seconds, medians over the pairs; ratios are B / A.
    """

    case_id: str  # of side A
    phase: str | None = None
    figure: str | None = None  # time_s, or one that is counted
    a: float | None = None
    b: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None  # of its 95 % interval
    ratio_high: float | None = None
    verdict: Verdict
    pairs: int | None = None
    p_adjusted: float | None = None
    smallest_effect_ratio: float | None = None  # that would have been found, B / A - 1
    pairs_needed: int | None = None  # that a resume takes, to find twice the threshold
    outlook: Outlook | None = None  # what more pairs could do for what is undecided
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a comparison found."""

    a: str  # the sides, as shown
    b: str
    threshold: float
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)  # of some cases
    rows: tuple[Row, ...]
    cases: Mapping[str, Case] = dataclasses.field(default_factory=dict)  # by case_id, to name rows
    notes: tuple[str, ...] = ()

    def count(self, *verdicts: Verdict, times: bool = False) -> int:
        """Rows with one of these verdicts; times: without what is counted."""
        rows = [row for row in self.rows if not times or row.figure in (*TIMES, None)]
        return sum(row.verdict in verdicts for row in rows)

    @property
    def headline(self) -> str:
        """The verdict, in one line."""
        if not any(row.figure == TIME for row in self.rows):
            return "NOTHING MEASURED: no case ran on both sides"
        bad = [f"{n} {word}" for word in ("FAILED", "REGRESSED") if (n := self.count(word))]
        if self.count("UNTRUSTED"):
            why = next(row.note for row in self.rows if row.verdict == "UNTRUSTED")
            return f"{', '.join([*bad, 'UNTRUSTED'])}: {why}"
        unmeasured = self.count("UNMEASURED")
        return headline(
            bad,
            self.count("SAME", times=True),
            self.count("IMPROVED", times=True),
            self.count("INCONCLUSIVE"),
            [f"{unmeasured} unmeasured"] if unmeasured else [],
        )

    def exit_code(self, *, strict: bool) -> int:
        """4 failed or nothing measured; 1 regressed; 3, strictly, what is not known; else 0.

        Where A differs from itself, no time is believed; what is counted still is.
        """
        if self.count("FAILED") or not any(row.figure == TIME for row in self.rows):
            return 4
        if self.count("REGRESSED"):
            return 1
        return 3 if strict and self.count("UNTRUSTED", "INCONCLUSIVE") else 0


def time_row(
    case_id: str,
    phase: str,
    a_s: float,
    b_s: float,
    decision: Decision,
    figure: str = TIME,
) -> Row:
    """a_s, b_s: medians over the pairs."""
    return Row(
        case_id=case_id,
        phase=phase,
        figure=figure,
        a=a_s,
        b=b_s,
        ratio=decision.ratio,
        ratio_low=decision.low,
        ratio_high=decision.high,
        verdict=decision.verdict,
        pairs=decision.pairs,
        p_adjusted=decision.p_adjusted,
        smallest_effect_ratio=decision.smallest_effect,
        pairs_needed=decision.pairs_needed,
        outlook=decision.outlook,
        note=decision.note,
    )


def doubted(row: Row, why: str) -> Row:
    """The same times, of a case that failed once: what stands is a slowdown alone."""
    if row.verdict not in ("SAME", "IMPROVED"):
        return dataclasses.replace(row, note="; ".join(filter(None, (row.note, why))))
    return dataclasses.replace(row, verdict="INCONCLUSIVE", note=why)


def counted_rows(
    case_id: str,
    phase: str,
    a: Mapping[str, float],
    b: Mapping[str, float],
    *,
    gated: bool,
) -> list[Row]:
    """What repeats exactly.  gated: more is worse; else a difference is only shown."""
    base, value = ({name: side.get(name) for name in COUNTED} for side in (a, b))
    rows = []
    for one in counted_findings({phase: base}, {phase: value}):
        verdict: Verdict = "SAME"
        if one.verdict == "INCONCLUSIVE":
            verdict = "INCONCLUSIVE"
        elif one.verdict in ("REGRESSED", "IMPROVED"):
            verdict = one.verdict if gated else "DIFFERS"
        rows.append(
            Row(
                case_id=case_id,
                phase=phase,
                figure=one.figure,
                a=one.base,
                b=one.value,
                ratio=one.worse,
                verdict=verdict,
                note="unknown on side B" if one.verdict == "INCONCLUSIVE" else "",
            )
        )
    return rows


def table(report: Report) -> TextTable:
    """Every time, and of what is counted that which differs, a line for each case and phase."""
    shown = [row for row in ordered(report.rows) if row.figure in TIMES or row.verdict != "SAME"]
    names = case_names(
        (report.cases[row.case_id] for row in shown if row.case_id in report.cases), short=True
    )
    made = TextTable(
        report.headline,
        (
            Column("case", wraps=True),
            Column("figure", wraps=True),
            Column("A", right=True),
            Column("B", right=True),
            Column("B / A (95 %)", right=True),
            Column("verdict", wraps=True),
        ),
        above=names.above,
        caption=f"A: {report.a}; B: {report.b}; threshold {units.percent(report.threshold)}; "
        "B / A with the 95 % interval over pairs" + (f". {LEGEND}" if _unfound(report) else ""),
    )
    before = ""
    for row in (row for row in shown if row.figure in (*TIMES, None)):
        name = _name(row, report, names)
        figure_, a, b, ratio_, verdict = _cells(row)
        shown_verdict = Cell(", ".join(filter(None, (verdict, reach(row)))), style_of(verdict))
        made.add(name if name != before else "", figure_, a, b, ratio_, shown_verdict)
        before = name
    for key, own in _counted(shown).items():
        verdict = min((row.verdict for row in own), key=WORST_FIRST.index)
        what = f"{key[1]}: {'; '.join(map(_one_counted, own))}"
        name = _name(own[0], report, names)
        made.add(name, what, "", "", "", Cell(verdict, style_of(verdict)))
    return made


def _name(row: Row, report: Report, names: CaseNames) -> str:
    case = report.cases.get(row.case_id)
    return row.case_id if case is None else names.of(case)


def _counted(rows: Iterable[Row]) -> dict[tuple[str, str | None], list[Row]]:
    """The counted figures that differ, by case and phase."""
    found: dict[tuple[str, str | None], list[Row]] = {}
    for row in rows:
        if row.figure not in (*TIMES, None):
            found.setdefault((row.case_id, row.phase), []).append(row)
    return found


def _one_counted(row: Row) -> str:
    """`operators 51 → 53 (+3.9 %)`."""
    name = str(row.figure).removesuffix("_bytes").replace("_", " ")
    a, b = (figure(str(row.figure), value) for value in (row.a, row.b))
    more = ratio(row)
    return f"{name} {a} → {b}{f' ({more})' if more else ''}"


def ordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: WORST_FIRST.index(row.verdict))


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    """figure, A, B, ratio, verdict."""
    if row.figure is None:
        return row.note, "", "", "", row.verdict
    name = named(row)
    a, b = figure(row.figure, row.a), figure(row.figure, row.b)
    return f"{row.phase}{name}", a, b, ratio(row), row.verdict


def named(row: Row) -> str:
    """What follows the phase: nothing where it is the time of a call."""
    if row.figure == PIPELINED:
        return " back-to-back"
    return "" if row.figure == TIME else f" {row.figure}"


def ratio(row: Row) -> str:
    """`+2.1 % (-0.4 to +4.7 %)`: what B takes more than A."""
    return percent_more(row.ratio, row.ratio_low, row.ratio_high)


LEGEND = (
    "Of what is INCONCLUSIVE: the smallest slowdown that would have been found four times in five, "
    "and the --pairs with which twice the threshold is; both simulated from its pairs' scatter"
)


def reach(row: Row) -> str:
    """`would have found +37 %, needs --pairs 112`, of what is undecided; what is known of it."""
    if row.verdict != "INCONCLUSIVE":
        return ""
    found = []
    least = row.smallest_effect_ratio
    if least is not None and math.isfinite(least):
        found.append(f"would have found {100 * least:+.0f} %")
    match row.outlook:
        case "more pairs":
            found.append(f"needs about --pairs {row.pairs_needed}")
        case "go on":
            found.append("lacks planned pairs (--resume)")
        case "given up":
            found.append("a look ended it")
        case "too noisy":
            found.append(f"needs more than --pairs {MOST_TRIED}")
    return ", ".join(found)


def further(rows: Sequence[Row], directory: Path) -> list[str]:
    """What can be done for what is undecided, a sentence each; every command is one that works."""
    by: dict[Outlook, list[Row]] = {}
    for row in rows:
        if row.outlook is not None and row.verdict == "INCONCLUSIVE":
            by.setdefault(row.outlook, []).append(row)
    found = []
    resume = command("bench", "ab", "--resume", directory)
    if going := by.get("go on"):
        found.append(f"{_figures(going)} did not get all planned pairs; to go on: {resume}")
    if more := by.get("more pairs"):
        most = max(row.pairs_needed or 0 for row in more)
        found.append(
            f"{_figures(more)} may be decided by more pairs; to add as many as the noisiest one "
            f"needs: {resume} --pairs {most}"
        )
    if ended := by.get("given up"):
        found.append(
            f"{_figures(ended)} got no more pairs because a look found a slowdown by the threshold "
            "unlikely; --resume adds none, only a new comparison measures them again"
        )
    if noisy := by.get("too noisy"):
        found.append(
            f"{_figures(noisy)} cannot be decided here: not even --pairs {MOST_TRIED} would find "
            "twice the threshold; use a quieter machine or a larger --threshold"
        )
    return found


def _figures(rows: Sequence[Row]) -> str:
    return number_of(len(rows), "undecided time")


def _unfound(report: Report) -> bool:
    return any(map(reach, report.rows))


_HEAD = "| case | figure | A | B | B / A (95 %) | verdict |\n|---|---|---|---|---|---|\n"


def markdown(report: Report) -> str:
    """report.md: the verdict in its first line; always under 60 kB."""
    head = [f"**{escape(report.headline, MOST_SENTENCE)}**\n"]
    head.append(
        f"A is {code(report.a)}, B is {code(report.b)}; threshold "
        f"{units.percent(report.threshold)}; B / A above 1 is slower."
        + (f" {LEGEND}.\n" if _unfound(report) else "\n")
    )
    head += fitting([f"- {escape(note, MOST_SENTENCE)}" for note in report.notes], MAX_BYTES // 8)
    rows = ordered(report.rows)
    names = case_names(report.cases.values(), short=True)
    if names.above:
        head.append(f"\n{escape(names.above, MOST_SENTENCE)}\n")
    changed = [row for row in rows if row.verdict not in ("SAME", "INCONCLUSIVE")]
    text = "\n".join(head) + "\n"
    text += changed_table(_HEAD, _changed_lines(changed, report, names), MAX_BYTES // 2)
    lines, room = [_line(row, row.case_id) for row in rows], MAX_BYTES - len(text.encode())
    return text + folded(all_of(len(rows), "figure"), _HEAD, lines, room)


def _changed_lines(rows: Sequence[Row], report: Report, names: CaseNames) -> list[list[str]]:
    """The times, a line each, then what is counted, a line for each case and phase."""
    found = [
        [_line(row, _name(row, report, names))] for row in rows if row.figure in (*TIMES, None)
    ]
    for (_, phase), own in _counted(rows).items():
        verdict = min((row.verdict for row in own), key=WORST_FIRST.index)
        name = escape(_name(own[0], report, names))
        noted = dict.fromkeys(row.note for row in own if row.note)
        note = f" ({escape('; '.join(noted))})" if noted else ""
        what = escape(f"{phase}: {'; '.join(map(_one_counted, own))}", MOST_SENTENCE)
        found.append([f"| {name} | {what} |  |  |  | {verdict}{note} |\n"])
    return found


def _line(row: Row, case: str) -> str:
    """case: its name, or its id where all figures are listed."""
    name, a, b, shown, verdict = _cells(row)
    verdict = "; ".join(filter(None, (verdict, reach(row))))
    note = f" ({escape(row.note)})" if row.note and row.figure else ""
    first = code(case) if case == row.case_id else escape(case)
    return f"| {first} | {escape(name)} | {a} | {b} | {shown} | {verdict}{note} |\n"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """ab.csv: a line a row, a column a field."""
    names = [one.name for one in dataclasses.fields(Row)]
    write_csv(path, names, ([getattr(row, name) for name in names] for row in rows))
