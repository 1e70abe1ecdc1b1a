"""The verdicts of `bench check` and `bench ab`, and what a check found, as records.

The exit code follows from them; nothing here computes a figure.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bench.core.records import Row

# The worst first.
Verdict = Literal[
    "FAILED",  # did not break in the baseline; of two sides: one fails, or both
    "MISSING",  # is in the baseline, not here
    "REGRESSED",
    "UNTRUSTED",  # A against itself was called different
    "SUSPECT",  # slower, but less surely than REGRESSED, or the machine slowed down as well
    "INCONCLUSIVE",  # what was measured cannot tell
    "ADVISORY",  # measured on another machine: times say nothing about the code
    "IMPROVED",
    "DIFFERS",  # a counted figure of two settings or interpreters, which may differ
    "NEW",  # is not in the baseline; of two sides: a phase that side B alone has
    "UNMEASURED",  # ran neither here nor there, or it is no fault of B that it cannot
    "SAME",
]
WORST_FIRST: tuple[Verdict, ...] = get_args(Verdict)
_CHANGED = frozenset({"FAILED", "MISSING", "REGRESSED", "SUSPECT", "IMPROVED", "NEW"})


def headline(
    bad: Sequence[str], same: int, improved: int, undecided: int, rest: Sequence[str] = ()
) -> str:
    """`1 REGRESSED (3 same or better (1 IMPROVED), 2 undecided)`; bad, rest: what else there is."""
    better = f" or better ({improved} IMPROVED)" if improved else ""
    others = ", ".join([f"{same + improved} same{better}", f"{undecided} undecided", *rest])
    return f"{', '.join(bad) or 'no regression found'} ({others})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure of one phase, here and in the baseline.

    worse: how much worse it got, as a ratio in the figure's own direction: 1.10 is 10 % more
           seconds, or 10 % fewer images per second; None where the baseline is 0 or unknown.
    low, high: its 95 % interval; None for exact figures and where it is unknown.
    """

    figure: str
    phase: str
    base: float | None
    value: float | None
    worse: float | None
    low: float | None = None
    high: float | None = None
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseVerdict:
    """One case, judged by the worst of its findings.

    row: any row of it, by which people name it.
    """

    case_id: str
    subject: str
    verdict: Verdict
    note: str = ""
    findings: tuple[Finding, ...] = ()
    command: str | None = None  # that settles it here and now
    row: Row | None = None

    @property
    def changed(self) -> bool:
        return self.verdict in _CHANGED or any(one.verdict in _CHANGED for one in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a check found.

    measured:     the run has at least one case that is ok.
    has_baseline: so has the baseline.
    earlier_runs: runs of this machine beside the baseline that the times were held against.
    notes:        what bears on every case, a sentence each.
    """

    run_id: str
    baseline_id: str
    threshold: float
    measured: bool
    has_baseline: bool
    same_machine: bool
    earlier_runs: int
    cases: tuple[CaseVerdict, ...]
    notes: tuple[str, ...] = ()

    def count(self, *verdicts: Verdict) -> int:
        counts = Counter(case.verdict for case in self.cases)
        return sum(counts[verdict] for verdict in verdicts)

    @property
    def worst_first(self) -> list[CaseVerdict]:
        """By verdict, then by how much worse the worst figure is."""

        def rank(case: CaseVerdict) -> tuple[int, float]:
            worse = max((one.worse or 0.0 for one in case.findings), default=0.0)
            return WORST_FIRST.index(case.verdict), -worse

        return sorted(self.cases, key=rank)

    @property
    def commands(self) -> list[str]:
        """What settles the cases that are not clear, the worst first."""
        return [case.command for case in self.worst_first if case.command]

    @property
    def headline(self) -> str:
        """The verdict, in one line."""
        if not self.measured:
            return "NOTHING MEASURED: no case of the run is ok"
        if not self.has_baseline:
            return "NO BASELINE: there is nothing to compare with"
        parts = [
            (self.count("FAILED"), "FAILED"),
            (self.count("MISSING"), "MISSING"),
            (self.count("REGRESSED"), "REGRESSED"),
            (self.count("SUSPECT"), "SUSPECT"),
        ]
        rest = []
        if self.count("ADVISORY"):
            rest.append(f"{self.count('ADVISORY')} timed on another machine: advisory")
        if self.count("NEW"):
            rest.append(f"{self.count('NEW')} new")
        if self.count("UNMEASURED"):
            rest.append(f"{self.count('UNMEASURED')} unmeasured in both")
        return headline(
            [f"{count} {word}" for count, word in parts if count],
            self.count("SAME"),
            self.count("IMPROVED"),
            self.count("INCONCLUSIVE"),
            rest,
        )


def exit_code(report: Report, strict: bool = False) -> int:
    """0 nothing got worse; 1 regressed; 3 not known; 4 failed, missing or nothing measured.

    A suspect is 3, strictly 1; what else is not known (undecided, another machine, no baseline)
    is 0, strictly 3.
    """
    if not report.measured or report.count("FAILED", "MISSING"):
        return 4
    if report.count("REGRESSED"):
        return 1
    if report.count("SUSPECT"):
        return 1 if strict else 3
    unknown = not report.has_baseline or report.count("INCONCLUSIVE", "ADVISORY") > 0
    return 3 if unknown and strict else 0
