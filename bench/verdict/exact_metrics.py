"""Compare counted figures, which repeat exactly, with those of the baseline on any machine."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass

from bench.compare.cases import CaseRows
from bench.verdict.report import Finding, Verdict


@dataclass(frozen=True, slots=True)
class Counted:
    """A figure that repeats exactly; a smaller value is better.

    tolerance: a relative change that is still SAME.  Peak memory needs one, because the allocator
               rounds sizes and the order of threads varies.
    """

    name: str
    tolerance: float = 0.0


COUNTED = (
    Counted("flops"),
    Counted("graph_breaks"),
    Counted("recompiles"),
    Counted("layout_flips"),
    Counted("operators"),
    Counted("peak_bytes", tolerance=0.01),
)

GONE = "in the baseline, not in this run"
Figures = Mapping[str, float | None]  # by name; None = unknown


def of_case(case: CaseRows) -> dict[str | None, Figures]:
    """Return the counted figures of each phase."""
    names = [one.name for one in COUNTED]
    return {phase: {name: getattr(row, name) for name in names} for phase, row in case.items()}


def counted_findings(
    case_id: str, base: Mapping[str | None, Figures], value: Mapping[str | None, Figures]
) -> list[Finding]:
    """Return a finding for each counted figure of each phase of the baseline.

    A missing phase and a missing figure are findings as well.
    """
    findings = []
    for phase, old in base.items():
        finding = functools.partial(Finding, case_id=case_id, phase=str(phase))
        new = value.get(phase)
        if new is None:
            findings.append(finding(figure="phase", verdict="MISSING", note=GONE))
            continue
        for figure in COUNTED:
            before, now = old[figure.name], new[figure.name]
            if before is None:
                continue
            found = finding(figure=figure.name, base=before, verdict="INCONCLUSIVE", note=GONE)
            if now is not None:
                ratio = now / before if before else None
                verdict = _verdict(figure, before, now)
                found = dataclasses.replace(found, value=now, ratio=ratio, verdict=verdict, note="")
            findings.append(found)
    return findings


def _verdict(figure: Counted, base: float, value: float) -> Verdict:
    if value > base * (1 + figure.tolerance):
        return "REGRESSED"
    return "IMPROVED" if value < base * (1 - figure.tolerance) else "SAME"
