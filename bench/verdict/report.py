"""The verdicts of `bench check` and `bench ab`, and the report of a check as records.

The exit code is derived from the report.  No figure is computed here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bench.core.records import Row
from bench.core.row_names import CaseNames

# In order, the worst first.  docs/glossary.md explains each.
Verdict = Literal[
    "FAILED",  # check: it ran in the baseline and fails now; ab: a variant fails
    "MISSING",  # the baseline has the case and the run has not
    "REGRESSED",
    "UNTRUSTED",  # a null case differed
    "SUSPECT",  # slower, but less surely than REGRESSED, or the machine slowed down as well
    "INCONCLUSIVE",  # the data decide nothing
    "ADVISORY",  # measured on another machine: times say nothing about the code
    "IMPROVED",
    "DIFFERS",  # a counted figure differs between two settings or Pythons, which is allowed
    "NEW",  # check: the baseline lacks the case; ab: variant A lacks the phase
    "UNMEASURED",  # neither variant can run it, or B cannot for a reason outside its code
    "SAME",
]
SHOWN = 0.01  # a reader who divides two figures of three digits may be off by so much
WORST_FIRST: tuple[Verdict, ...] = get_args(Verdict)
_CHANGED = frozenset({"FAILED", "MISSING", "REGRESSED", "SUSPECT", "IMPROVED", "NEW"})


def headline(
    bad: Sequence[str], same: int, improved: int, undecided: int, rest: Sequence[str] = ()
) -> str:
    """Return `1 REGRESSED (3 same or better (1 IMPROVED), 2 undecided)`.

    bad:  the part before the parentheses, such as `1 REGRESSED`; empty: no regression was found.
    rest: further parts inside the parentheses.
    """
    better = f" or better ({improved} IMPROVED)" if improved else ""
    others = ", ".join([f"{same + improved} same{better}", f"{undecided} undecided", *rest])
    return f"{', '.join(bad) or 'no regression found'} ({others})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure of one phase, in the run and in the baseline.

    worse:     the change as a ratio; above 1 is worse.  1.10 means 10 % more seconds, or 10 %
               fewer images per second.  None if the baseline is 0 or unknown.
    low, high: the 95 % interval of `worse`; None for counted figures and if it is unknown.
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

    @property
    def of_the_two(self) -> bool:
        """Return whether `worse` is the ratio of `base` and `value` as a reader sees them."""
        if not (self.base and self.value and self.worse):
            return True
        more = self.value / self.base
        return min(abs(self.worse / more - 1), abs(self.worse * more - 1)) <= SHOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseReport:
    """One case with the verdict of its worst finding.

    row: any row of the case; it serves to name the case.
    """

    case_id: str
    subject: str
    verdict: Verdict
    note: str = ""
    findings: tuple[Finding, ...] = ()
    command: str | None = None  # the `bench ab` command that decides the case
    row: Row | None = None

    def name(self, names: CaseNames) -> str:
        """Return its name in a table; the case id if there is no row to name it by."""
        return self.case_id if self.row is None else names.of(self.row)

    @property
    def changed(self) -> bool:
        return self.verdict in _CHANGED or any(one.verdict in _CHANGED for one in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The result of a check.

    measured:     the run has at least one case that is ok.
    has_baseline: the baseline has at least one case that is ok.
    earlier_runs: number of earlier runs of this machine that the times were compared with.
    notes:        sentences that concern all cases.
    """

    run_id: str
    baseline_id: str
    threshold: float
    measured: bool
    has_baseline: bool
    same_machine: bool
    earlier_runs: int
    cases: tuple[CaseReport, ...]
    notes: tuple[str, ...] = ()

    def count(self, *verdicts: Verdict) -> int:
        counts = Counter(case.verdict for case in self.cases)
        return sum(counts[verdict] for verdict in verdicts)

    @property
    def worst_first(self) -> list[CaseReport]:
        """The cases, ordered by verdict, then by the change of the worst figure."""

        def rank(case: CaseReport) -> tuple[int, float]:
            worse = max((one.worse or 0.0 for one in case.findings), default=0.0)
            return WORST_FIRST.index(case.verdict), -worse

        return sorted(self.cases, key=rank)

    @property
    def commands(self) -> list[str]:
        """The commands that decide the cases in doubt, the worst case first."""
        return [case.command for case in self.worst_first if case.command]

    @property
    def headline(self) -> str:
        """The verdict in one line."""
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


def worse_than_earlier(report: CheckReport, findings: Iterable[Finding]) -> str:
    """Return a sentence where `worse by` is not the ratio of the two figures beside it."""
    if not report.earlier_runs or all(one.of_the_two for one in findings):
        return ""
    return (
        f"`worse by` of a time is against {report.earlier_runs} earlier runs, of which the "
        "baseline is one, so it can differ from now / baseline"
    )


def exit_code(report: CheckReport, strict: bool = False) -> int:
    """Return the exit code: 0, 1, 3 or 4.

    4: a case is FAILED or MISSING, or nothing was measured.
    1: a case is REGRESSED; with `strict`, also if one is SUSPECT.
    3: a case is SUSPECT; with `strict`, if one is INCONCLUSIVE or ADVISORY, or if there is no
       baseline.
    0: otherwise.
    """
    if not report.measured or report.count("FAILED", "MISSING"):
        return 4
    if report.count("REGRESSED"):
        return 1
    if report.count("SUSPECT"):
        return 1 if strict else 3
    unknown = not report.has_baseline or report.count("INCONCLUSIVE", "ADVISORY") > 0
    return 3 if unknown and strict else 0
