"""Compare counted figures, which repeat exactly, with those of the baseline on any machine."""

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

Figures = Mapping[str, float | None]  # by name; None = unknown


def of_case(case: CaseRows) -> dict[str | None, Figures]:
    """Return the counted figures of each phase."""
    names = [one.name for one in COUNTED]
    return {phase: {name: getattr(row, name) for name in names} for phase, row in case.items()}


def counted_findings(
    base: Mapping[str | None, Figures], value: Mapping[str | None, Figures]
) -> list[Finding]:
    """Return a finding for each counted figure of each phase of the baseline.

    A missing phase and a missing figure are findings as well.
    """
    findings = []
    for phase, old in base.items():
        new = value.get(phase)
        if new is None:
            findings.append(_missing("phase", str(phase), None, "MISSING"))
            continue
        for figure in COUNTED:
            before, now = old[figure.name], new[figure.name]
            if before is None:
                continue
            if now is None:
                findings.append(_missing(figure.name, str(phase), before, "INCONCLUSIVE"))
            else:
                findings.append(_count(figure, str(phase), before, now))
    return findings


def _missing(figure: str, phase: str, base: float | None, verdict: Verdict) -> Finding:
    return Finding(
        figure=figure,
        phase=phase,
        base=base,
        value=None,
        worse=None,
        verdict=verdict,
        note="in the baseline, not in this run",
    )


def _count(figure: Counted, phase: str, base: float, value: float) -> Finding:
    verdict: Verdict = "SAME"
    if value > base * (1 + figure.tolerance):
        verdict = "REGRESSED"
    elif value < base * (1 - figure.tolerance):
        verdict = "IMPROVED"
    return Finding(
        figure=figure.name,
        phase=phase,
        base=base,
        value=value,
        worse=value / base if base else None,
        verdict=verdict,
    )
