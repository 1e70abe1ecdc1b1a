"""The report of `bench check` and of `bench ab`: findings with their verdicts, and the exit code.

No figure is computed here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar, get_args

from bench.core.records import Case, Row
from bench.verdict.paired_test import Outlook

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
WORST_FIRST: tuple[Verdict, ...] = get_args(Verdict)
# The exit code, and the one with --strict; 0 for every other verdict.
CODES: Mapping[Verdict, tuple[int, int]] = {
    "FAILED": (4, 4),
    "MISSING": (4, 4),
    "REGRESSED": (1, 1),
    "SUSPECT": (3, 1),
    "UNTRUSTED": (0, 3),
    "INCONCLUSIVE": (0, 3),
    "ADVISORY": (0, 3),
}
BAD: tuple[Verdict, ...] = ("FAILED", "MISSING", "REGRESSED", "SUSPECT")
# Of the headline, after the cases that are the same and those that are undecided.
REST: Mapping[Verdict, str] = {
    "ADVISORY": "timed on another machine: advisory",
    "NEW": "new",
    "UNMEASURED": "unmeasured",
}

TIME = "time_s"  # of pairs: the latency
PIPELINED = "pipelined_s"  # of pairs: the time of a call back-to-back with others
TIMES = (TIME, PIPELINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairEvidence:
    """The part of a finding that only pairs have; the fields are columns of ab.csv."""

    pairs: int | None = None
    p_adjusted: float | None = None
    smallest_effect_ratio: float | None = None  # smallest slowdown that is found, B / A - 1
    pairs_needed: int | None = None  # --pairs of a resume that finds twice the threshold
    outlook: Outlook | None = None  # the effect of more pairs, if INCONCLUSIVE


NO_PAIRS = PairEvidence()  # of a counted figure, or of stored rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure of one phase of one case, in the baseline (A) and in the candidate (B).

    figure:      a time or a counted figure; None: the verdict is about the whole case.
    base, value: of the baseline and of the candidate.  Times of pairs are in seconds, in the middle
                 of the pairs and `ratio` apart.
    ratio:       the change as a ratio; above 1 is worse.  1.10 means 10 % more seconds, or 10 %
                 fewer images per second.  None if the baseline is 0 or unknown.
    ratio_low, ratio_high: its 95 % interval; None for counted figures and if it is unknown.
    """

    case_id: str
    phase: str | None = None
    figure: str | None = None
    base: float | None = None
    value: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    verdict: Verdict
    note: str = ""
    evidence: PairEvidence = NO_PAIRS


def rank(one: Finding) -> int:
    """Return the place of its verdict; a smaller one is worse."""
    return WORST_FIRST.index(one.verdict)


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the first of the findings with the worst verdict."""
    return min(findings, key=rank)


def of_cases(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return the findings by case_id, in their order."""
    found: dict[str, list[Finding]] = {}
    for one in findings:
        found.setdefault(one.case_id, []).append(one)
    return found


@dataclass(frozen=True, slots=True)
class Empty:
    """A report that compares nothing.  codes: the exit code, and the one with --strict."""

    headline: str
    codes: tuple[int, int]


NOTHING_RAN = Empty("NOTHING MEASURED: no case of the run is ok", (4, 4))
NOTHING_PAIRED = Empty("NOTHING MEASURED: no case ran on both sides", (4, 4))
NO_BASELINE = Empty("NO BASELINE: there is nothing to compare with", (0, 3))


class Comparison(Protocol):
    """The source of a report's ratios: stored runs, or pairs (`bench.verdict.comparison`)."""

    def counted(self, findings: Sequence[Finding]) -> Iterable[Verdict]:
        """Return the verdicts that the headline counts."""


Of_co = TypeVar("Of_co", bound=Comparison, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Generic[Of_co]):
    """The result of `bench check` or `bench ab`.

    base, value: the names of the two sides in messages; base is empty if there is no baseline.
    cases:       by case_id, to name the findings; a case that it lacks is named by its id.
    notes:       sentences that concern all cases.
    empty:       set if nothing was compared.
    """

    comparison: Of_co
    base: str
    value: str
    threshold: float
    findings: tuple[Finding, ...]
    cases: Mapping[str, Case | Row] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    empty: Empty | None = None

    @property
    def by_case(self) -> list[list[Finding]]:
        """The findings of each case; those with the worst verdict, then the worst ratio, first."""

        def place(own: Sequence[Finding]) -> tuple[int, float]:
            return rank(worst(own)), -max(one.ratio or 0.0 for one in own)

        return sorted(of_cases(self.findings).values(), key=place)

    @property
    def headline(self) -> str:
        """The verdict in one line: `1 REGRESSED (3 same or better (1 IMPROVED), 2 undecided)`."""
        if self.empty is not None:
            return self.empty.headline
        counts = Counter(self.comparison.counted(self.findings))
        bad = [f"{counts[one]} {one}" for one in BAD if counts[one]]
        if counts["UNTRUSTED"]:
            why = next(one.note for one in self.findings if one.verdict == "UNTRUSTED")
            return f"{', '.join([*bad, 'UNTRUSTED'])}: {why}"
        improved = counts["IMPROVED"]
        better = f" or better ({improved} IMPROVED)" if improved else ""
        rest = [f"{counts['SAME'] + improved} same{better}", f"{counts['INCONCLUSIVE']} undecided"]
        rest += [f"{counts[one]} {words}" for one, words in REST.items() if counts[one]]
        return f"{', '.join(bad) or 'no regression found'} ({', '.join(rest)})"

    def exit_code(self, *, strict: bool) -> int:
        """Return the exit code of the worst finding: 4 before 1, 1 before 3, 3 before 0."""
        codes = {CODES.get(one.verdict, (0, 0))[strict] for one in self.findings}
        if self.empty is not None:
            codes.add(self.empty.codes[strict])
        return next((code for code in (4, 1, 3) if code in codes), 0)
