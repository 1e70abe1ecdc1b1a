"""The two sources of the ratios of a report: stored runs (`bench check`), and pairs (`bench ab`).

Each has what only such a report has: fields, texts, and the choice of the lines of its tables.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from bench.core import units
from bench.core.text import number_of
from bench.verdict.lines import Line, counted_line, line, reach
from bench.verdict.markdown import MAX_BYTES, code, fitting
from bench.verdict.report import (
    TIMES,
    Comparison,
    Finding,
    Report,
    Verdict,
    of_cases,
    rank,
    worst,
)

MOST_CASES = 20  # changed cases in the terminal's table; the report has all of them
MOST_COMMANDS = 5  # on the terminal
SHOWN = 0.01  # a reader who divides two figures of three digits may be off by so much
CHANGED = frozenset({"FAILED", "MISSING", "REGRESSED", "SUSPECT", "IMPROVED", "NEW"})
QUIET = frozenset({"SAME", "INCONCLUSIVE", "ADVISORY"})
# Of a counted figure, the headline counts no such verdict.
PASSED = frozenset({"SAME", "IMPROVED", "DIFFERS", "NEW"})
LEGEND = (
    "INCONCLUSIVE figures show the smallest slowdown that would have been found four times in five "
    "and the --pairs that would find twice the threshold; both are simulated from the pairs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """A run against a stored one.  The worst figure of a case gives its verdict.

    earlier_runs: number of earlier runs of this machine that the times were compared with.
    commands:     the `bench ab` commands that decide the cases in doubt, by case_id.
    """

    same_machine: bool
    earlier_runs: int = 0
    commands: Mapping[str, str] = field(default_factory=dict)

    columns: ClassVar = {  # the heads of both tables, by the field of a line
        "case": "case", "verdict": "verdict", "figure": "figure", "base": "baseline",
        "value": "now", "ratio": "worse by",
    }  # fmt: skip
    short: ClassVar = False  # the names of cases leave out what the cases share
    noun: ClassVar = "case"  # of `every`
    named: ClassVar = True  # `every` names its cases, and does not show their ids
    changed_noun: ClassVar = "changed case"
    worse: ClassVar = " worse"  # behind a ratio in a sentence
    group: ClassVar = ""  # of all cases in junit.xml; empty: the subject of each

    def counted(self, findings: Sequence[Finding]) -> Iterable[Verdict]:
        """Return the verdict of each case."""
        return (worst(own).verdict for own in of_cases(findings).values())

    def suite(self, report: Report[Comparison]) -> str:
        """Return the name of the test suite in junit.xml."""
        return f"bench check {report.value} against {report.base or 'nothing'}"

    def about(self, report: Report[Comparison]) -> str:
        """Return the sentences below the headline of report.md."""
        sentences = [_too_wide(report.findings), self._against_earlier(report.findings)]
        return (
            f"Run {code(report.value)} against baseline {code(report.base or '(none)')}, "
            f"threshold {units.percent(report.threshold)}, "
            + ("the same machine" if self.same_machine else "another machine")
            + (f", {self.earlier_runs} earlier runs." if self.earlier_runs else ".")
            + "".join(f" {_capital(one)}." for one in sentences if one)
        )

    def changed(self, report: Report[Comparison]) -> list[list[Line]]:
        """Return the lines of each changed case, for report.md."""
        return [
            [line(one) for one in own if one.verdict != "SAME"] for own in _changed_cases(report)
        ]

    def section(self, report: Report[Comparison]) -> str:
        """Return the commands that decide the cases in doubt, as a code block of report.md.

        Its fence is longer than any run of backticks in the commands.
        """
        commands = self._in_doubt(report)
        if not commands:
            return ""
        lines = fitting([" ".join(one.split("\n")) + "\n" for one in commands], MAX_BYTES // 4)
        text = "".join(lines)
        fence = "`" * max(3, 1 + max(len(run) for run in re.findall("`*", text)))
        head = "To settle the cases in doubt, run on this machine:"
        block = f"\n{head}\n\n{fence}sh\n{text}{fence}\n" if lines else "\n"
        more = number_of(len(commands) - len(lines), "more command")
        rest = f"… and {more} that did not fit; junit.xml has all of them.\n"
        return block + (rest if len(commands) > len(lines) else "")

    def every(self, report: Report[Comparison]) -> list[list[Line]]:
        """Return the lines of each case, for the folded table of report.md."""
        return [list(map(line, own)) for own in of_cases(report.findings).values()]

    def shown(self, report: Report[Comparison]) -> tuple[list[Line], str]:
        """Return the lines and the caption of the table for a terminal."""
        changed = _changed_cases(report) if report.base else []
        more = len(changed) - MOST_CASES
        left_out = f"{number_of(more, 'more changed case')} in the report" if more > 0 else ""
        found = [one for own in changed[:MOST_CASES] for one in own if one.verdict not in QUIET]
        caption = filter(None, (left_out, _too_wide(found), self._against_earlier(found)))
        return list(map(line, found)), "; ".join(caption)

    def told(self, report: Report[Comparison]) -> list[str]:
        """Return the sentences below the table of the terminal."""
        keep = "keep this run as one: copy its folder into results/baseline/"
        commands = self._in_doubt(report)
        told = [*([] if report.base else [keep]), *report.notes]
        told += [f"to settle it: {one}" for one in commands[:MOST_COMMANDS]]
        if len(commands) > MOST_COMMANDS:
            more = number_of(len(commands) - MOST_COMMANDS, "more such command")
            told.append(f"… and {more} in the report")
        return told

    def _against_earlier(self, findings: Iterable[Finding]) -> str:
        """Return a sentence if a `worse by` is not the ratio of the two figures beside it."""
        if not self.earlier_runs or all(map(_is_of_the_two, findings)):
            return ""
        return (
            f"`worse by` of a time is against {self.earlier_runs} earlier runs, of which the "
            "baseline is one, so it can differ from now / baseline"
        )

    def _in_doubt(self, report: Report[Comparison]) -> list[str]:
        """Return the commands, that of the worst case first."""
        return [
            self.commands[own[0].case_id]
            for own in report.by_case
            if own[0].case_id in self.commands
        ]


def _is_of_the_two(one: Finding) -> bool:
    """Return whether the ratio is that of `base` and `value` as a reader sees them."""
    if not (one.base and one.value and one.ratio):
        return True
    more = one.value / one.base
    return min(abs(one.ratio / more - 1), abs(one.ratio * more - 1)) <= SHOWN


def _changed_cases(report: Report[Comparison]) -> list[list[Finding]]:
    return [own for own in report.by_case if any(one.verdict in CHANGED for one in own)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairComparison:
    """Variant B against variant A, in pairs.  Each time of a case has its own verdict.

    thresholds: by case_id, for the cases that have their own.
    causes:     of what changed, a section of report.md.  causes_told: the same for a terminal.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    causes: str = ""
    causes_told: tuple[str, ...] = ()

    columns: ClassVar = {
        "case": "case", "figure": "figure", "base": "A", "value": "B", "ratio": "B / A (95 %)",
        "verdict": "verdict",
    }  # fmt: skip
    short: ClassVar = True
    noun: ClassVar = "figure"
    named: ClassVar = False  # so that a line is found in ab.csv
    changed_noun: ClassVar = "line"
    worse: ClassVar = ""
    group: ClassVar = "bench ab"
    commands: ClassVar[Mapping[str, str]] = {}

    def counted(self, findings: Sequence[Finding]) -> Iterable[Verdict]:
        """Return the verdict of each time, and the bad ones of counted figures."""
        return (one.verdict for one in findings if _is_timed(one) or one.verdict not in PASSED)

    def suite(self, report: Report[Comparison]) -> str:
        return f"bench ab {report.base} {report.value}"

    def about(self, report: Report[Comparison]) -> str:
        return (
            f"A is {code(report.base)}, B is {code(report.value)}; threshold "
            f"{units.percent(report.threshold)}; B / A above 1 is slower."
            + "".join(f" {one}." for one in _legends(report.findings))
        )

    def changed(self, report: Report[Comparison]) -> list[list[Line]]:
        changed = [one for one in report.findings if one.verdict not in ("SAME", "INCONCLUSIVE")]
        return [[one] for one in _with_counted(changed)]

    def section(self, _: Report[Comparison]) -> str:
        return self.causes

    def every(self, report: Report[Comparison]) -> list[list[Line]]:
        return [[line(one)] for one in sorted(report.findings, key=rank)]

    def shown(self, report: Report[Comparison]) -> tuple[list[Line], str]:
        shown = [one for one in report.findings if one.figure in TIMES or one.verdict != "SAME"]
        caption = (
            f"A: {report.base}; B: {report.value}; threshold {units.percent(report.threshold)}; "
            "B / A with the 95 % interval over pairs"
            + "".join(f". {one}" for one in _legends(report.findings))
        )
        return _with_counted(shown), caption

    def told(self, report: Report[Comparison]) -> list[str]:
        return [*self.causes_told, *report.notes]


def _legends(findings: Sequence[Finding]) -> list[str]:
    """Explain the words that occur in a table of the findings; no sentence has its full stop."""
    reached = LEGEND if any(map(reach, findings)) else ""
    return [one for one in (reached, _capital(_too_wide(findings))) if one]


def _too_wide(findings: Iterable[Finding]) -> str:
    """Explain an interval that says nothing, if there is one."""
    told = any(units.TOO_WIDE in line(one).ratio for one in findings)
    return units.WHY_TOO_WIDE if told else ""


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _is_timed(one: Finding) -> bool:
    """Return whether it is about a time or about the whole case."""
    return one.figure in (*TIMES, None)


def _with_counted(findings: Sequence[Finding]) -> list[Line]:
    """Return a line for each time, the worst first, then one for the counted figures of a phase."""
    counted: dict[tuple[str, str | None], list[Finding]] = {}
    lines = []
    for one in sorted(findings, key=rank):
        if _is_timed(one):
            lines.append(line(one))
        else:
            counted.setdefault((one.case_id, one.phase), []).append(one)
    return lines + list(map(counted_line, counted.values()))


AnyReport: TypeAlias = Report[RunComparison | PairComparison]
