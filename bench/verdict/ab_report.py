"""The report of `bench ab`: its rows, headline, exit code and files."""

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
from bench.verdict.exact_metrics import COUNTED, counted_findings
from bench.verdict.markdown import (
    MAX_BYTES,
    MOST_SENTENCE,
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

TIME = "time_s"  # the latency
PIPELINED = "pipelined_s"  # the time of a call back-to-back with others, on an accelerator
TIMES = (TIME, PIPELINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbRow:
    """One figure of one phase of one case; the fields are the columns of ab.csv.

    Times are in seconds, in the middle of the pairs and B / A apart.  Ratios are B / A.
    """

    case_id: str  # of variant A
    phase: str | None = None
    figure: str | None = None  # time_s, pipelined_s or a counted figure
    a: float | None = None
    b: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None  # of its 95 % interval
    ratio_high: float | None = None
    verdict: Verdict
    pairs: int | None = None
    p_adjusted: float | None = None
    smallest_effect_ratio: float | None = None  # smallest slowdown that is found, B / A - 1
    pairs_needed: int | None = None  # --pairs of a resume that finds twice the threshold
    outlook: Outlook | None = None  # the effect of more pairs, if INCONCLUSIVE
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbReport:
    """The result of a comparison."""

    a: str  # the variants as messages name them
    b: str
    threshold: float
    # By case_id, for the cases that have their own.
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rows: tuple[AbRow, ...]
    cases: Mapping[str, Case] = dataclasses.field(default_factory=dict)  # by case_id, to name rows
    notes: tuple[str, ...] = ()
    causes: str = ""  # a section of report.md, in Markdown
    causes_told: tuple[str, ...] = ()  # the same for a terminal

    def count(self, *verdicts: Verdict, times: bool = False) -> int:
        """Return the number of rows with one of the verdicts; times: without counted figures."""
        rows = [row for row in self.rows if not times or row.figure in (*TIMES, None)]
        return sum(row.verdict in verdicts for row in rows)

    @property
    def headline(self) -> str:
        """The verdict in one line."""
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
        """Return the exit code: 0, 1, 3 or 4.

        4: a case is FAILED, or nothing was measured.
        1: a row is REGRESSED; if a null case differed, only counted figures can be.
        3: with `strict`, a row is UNTRUSTED or INCONCLUSIVE.
        0: otherwise.
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
) -> AbRow:
    """Return the row of a time.  a_s, b_s: in the middle of the pairs, in seconds."""
    return AbRow(
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


def doubted(row: AbRow, why: str) -> AbRow:
    """Return the row of a case that failed in some pairs: SAME and IMPROVED become INCONCLUSIVE.

    why: the failures, as the row's note.
    """
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
) -> list[AbRow]:
    """Return a row for each counted figure.

    gated: an increase is REGRESSED; otherwise any difference is DIFFERS.
    """
    base, value = ({one.name: side.get(one.name) for one in COUNTED} for side in (a, b))
    rows = []
    for one in counted_findings({phase: base}, {phase: value}):
        verdict: Verdict = "SAME"
        if one.verdict == "INCONCLUSIVE":
            verdict = "INCONCLUSIVE"
        elif one.verdict in ("REGRESSED", "IMPROVED"):
            verdict = one.verdict if gated else "DIFFERS"
        rows.append(
            AbRow(
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


def table(report: AbReport) -> TextTable:
    """Return the table of all times, and of the counted figures that differ.

    Each case and phase has one line for its times and one for its counted figures.
    """
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
        "B / A with the 95 % interval over pairs" + "".join(f". {one}" for one in _legends(report)),
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


def _name(row: AbRow, report: AbReport, names: CaseNames) -> str:
    case = report.cases.get(row.case_id)
    return row.case_id if case is None else names.of(case)


def _counted(rows: Iterable[AbRow]) -> dict[tuple[str, str | None], list[AbRow]]:
    """Return the rows of counted figures by case and phase."""
    by_phase: dict[tuple[str, str | None], list[AbRow]] = {}
    for row in rows:
        if row.figure not in (*TIMES, None):
            by_phase.setdefault((row.case_id, row.phase), []).append(row)
    return by_phase


def _one_counted(row: AbRow) -> str:
    """Return a counted figure as text: `operators 51 → 53 (+3.9 %)`."""
    name = str(row.figure).removesuffix("_bytes").replace("_", " ")
    a, b = (figure(str(row.figure), value) for value in (row.a, row.b))
    more = ratio(row)
    return f"{name} {a} → {b}{f' ({more})' if more else ''}"


def ordered(rows: Sequence[AbRow]) -> list[AbRow]:
    """Return the rows, those with the worst verdict first."""
    return sorted(rows, key=lambda row: WORST_FIRST.index(row.verdict))


def _cells(row: AbRow) -> tuple[str, str, str, str, str]:
    """Return the texts of the columns figure, A, B, ratio and verdict."""
    if row.figure is None:
        return row.note, "", "", "", row.verdict
    name = named(row)
    a, b = figure(row.figure, row.a), figure(row.figure, row.b)
    return f"{row.phase}{name}", a, b, ratio(row), row.verdict


def named(row: AbRow) -> str:
    """Return the name of the figure, to follow the phase; empty for the latency."""
    if row.figure == PIPELINED:
        return " back-to-back"
    return "" if row.figure == TIME else f" {row.figure}"


def ratio(row: AbRow) -> str:
    """Return how much more B takes than A: `+2.1 % (-0.4 to +4.7 %)`."""
    return percent_more(row.ratio, row.ratio_low, row.ratio_high)


LEGEND = (
    "INCONCLUSIVE figures show the smallest slowdown that would have been found four times in five "
    "and the --pairs that would find twice the threshold; both are simulated from the pairs"
)


def reach(row: AbRow) -> str:
    """Return `would have found +37 %, needs about --pairs 112` for an INCONCLUSIVE row.

    A part that is unknown is left out.  The text is empty for other verdicts.
    """
    if row.verdict != "INCONCLUSIVE":
        return ""
    parts = []
    least = row.smallest_effect_ratio
    if least is not None and math.isfinite(least):
        parts.append(f"would have found {100 * least:+.0f} %")
    match row.outlook:
        case "more pairs":
            parts.append(f"needs about --pairs {row.pairs_needed}")
        case "go on":
            parts.append("lacks planned pairs (--resume)")
        case "given up":
            parts.append("a look ended it")
        case "too noisy":
            parts.append(f"needs more than --pairs {MOST_TRIED}")
    return ", ".join(parts)


def further(rows: Sequence[AbRow], directory: Path) -> list[str]:
    """Return a sentence for each kind of INCONCLUSIVE times, with the command that can help."""
    by_outlook: dict[Outlook, list[AbRow]] = {}
    for row in rows:
        if row.outlook is not None and row.verdict == "INCONCLUSIVE":
            by_outlook.setdefault(row.outlook, []).append(row)
    sentences = []
    resume = command("bench", "ab", "--resume", directory)
    if lacking := by_outlook.get("go on"):
        sentences.append(f"{_times(lacking)} did not get all planned pairs; to resume: {resume}")
    if more := by_outlook.get("more pairs"):
        most = max(row.pairs_needed or 0 for row in more)
        sentences.append(
            f"{_times(more)} may be decided by more pairs; to add as many as the noisiest one "
            f"needs: {resume} --pairs {most}"
        )
    if ended := by_outlook.get("given up"):
        sentences.append(
            f"{_times(ended)} got no more pairs because a look found a slowdown by the threshold "
            "unlikely; --resume adds no pairs to them, only a new comparison measures them again"
        )
    if noisy := by_outlook.get("too noisy"):
        sentences.append(
            f"{_times(noisy)} cannot be decided on this machine: even --pairs {MOST_TRIED} would "
            "not find twice the threshold; use a quieter machine or a larger --threshold"
        )
    return sentences


def _times(rows: Sequence[AbRow]) -> str:
    return number_of(len(rows), "undecided time")


def _legends(report: AbReport) -> list[str]:
    """Explain the words that occur in the table."""
    wide = any(units.TOO_WIDE in ratio(row) for row in report.rows)
    return [
        *([LEGEND] if any(map(reach, report.rows)) else []),
        *([f"{units.WHY_TOO_WIDE[0].upper()}{units.WHY_TOO_WIDE[1:]}"] if wide else []),
    ]


_HEAD = "| case | figure | A | B | B / A (95 %) | verdict |\n|---|---|---|---|---|---|\n"


def markdown(report: AbReport) -> str:
    """Return the content of report.md; the first line is the verdict, the size is under 60 kB."""
    head = [f"**{escape(report.headline, MOST_SENTENCE)}**\n"]
    head.append(
        f"A is {code(report.a)}, B is {code(report.b)}; threshold "
        f"{units.percent(report.threshold)}; B / A above 1 is slower."
        + "".join(f" {one}." for one in _legends(report))
        + "\n"
    )
    head += fitting([f"- {escape(note, MOST_SENTENCE)}" for note in report.notes], MAX_BYTES // 8)
    rows = ordered(report.rows)
    names = case_names(report.cases.values(), short=True)
    if names.above:
        head.append(f"\n{escape(names.above, MOST_SENTENCE)}\n")
    changed = [row for row in rows if row.verdict not in ("SAME", "INCONCLUSIVE")]
    text = "\n".join(head) + "\n"
    text += changed_table(_HEAD, _changed_lines(changed, report, names), MAX_BYTES // 2)
    text += report.causes
    lines, room = [_line(row, row.case_id) for row in rows], MAX_BYTES - len(text.encode())
    return text + folded(all_of(len(rows), "figure"), _HEAD, lines, room)


def _changed_lines(rows: Sequence[AbRow], report: AbReport, names: CaseNames) -> list[list[str]]:
    """Return a line for each time, then a line for each case and phase with counted figures."""
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


def _line(row: AbRow, case: str) -> str:
    """Return the line of a figure.  case: its name, or its id where all figures are listed."""
    name, a, b, shown, verdict = _cells(row)
    verdict = "; ".join(filter(None, (verdict, reach(row))))
    note = f" ({escape(row.note)})" if row.note and row.figure else ""
    first = code(case) if case == row.case_id else escape(case)
    return f"| {first} | {escape(name)} | {a} | {b} | {shown} | {verdict}{note} |\n"


def write_rows(path: Path, rows: Sequence[AbRow]) -> None:
    """Write ab.csv: a line for each row, a column for each field of `AbRow`."""
    names = [one.name for one in dataclasses.fields(AbRow)]
    write_csv(path, names, ([getattr(row, name) for name in names] for row in rows))
