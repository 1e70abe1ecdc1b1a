"""Compare a run with a stored baseline.  The functions are pure; nothing is measured here.

Counted figures are compared exactly, on any machine.  Times are compared only on the machine of
the baseline.  If there are enough earlier runs, the time is compared with them.  Otherwise the
replicates of the two runs are compared, with the between-run SD (`bench.stats.between_runs`);
this gives at most a SUSPECT, which `bench ab` decides.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields

from bench.compare.cases import CaseRows, any_row, by_case, is_ok, same_machine
from bench.core.errors import UserError
from bench.core.records import Row
from bench.results.corrected import uncorrected
from bench.results.results import Results
from bench.verdict.ab_command import settling_command
from bench.verdict.comparison import RunComparison
from bench.verdict.exact_metrics import counted_findings, of_case
from bench.verdict.report import (
    NO_BASELINE,
    NOTHING_RAN,
    Finding,
    Report,
    Verdict,
    of_cases,
    worst,
)
from bench.verdict.timing import ENOUGH_HISTORY, TimeTest, findings_of, tests_of

BROKEN = ("crash", "error", "invalid", "timeout")
# `bench ab` is not suggested for these: the verdict is clear, or one revision lacks the case.
SETTLED: frozenset[Verdict] = frozenset({"SAME", "IMPROVED", "NEW", "MISSING", "UNMEASURED"})


class CheckError(UserError):
    """The threshold is not between 0 and 1."""


def check(
    run: Results,
    baseline: Results | None,
    threshold: float = 0.05,
    history: Sequence[Results] = (),
) -> Report[RunComparison]:
    """Return the findings about each case of the baseline and of the run.

    threshold: τ, the smallest slowdown that matters, as a ratio - 1.
    history:   earlier runs of the baseline's machine, without the baseline itself.

    Raises CheckError if the threshold is not between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise CheckError(
            f"--threshold {threshold}: expected a ratio between 0 and 1, such as 0.05 for 5 %"
        )
    # `timing` takes the controls into account.  Times that are corrected by them would count
    # them twice.
    run, history = uncorrected(run), [uncorrected(one) for one in history]
    baseline = None if baseline is None else uncorrected(baseline)
    here = by_case(run)
    there = by_case(baseline) if baseline is not None else {}
    both = {
        case_id: (there[case_id], here[case_id])
        for case_id in there
        if case_id in here and is_ok(there[case_id]) and is_ok(here[case_id])
    }
    tests = tests_of(both, run, baseline, history) if baseline is not None else []
    timed = findings_of(tests, threshold)
    every = {**here, **there}
    findings: list[Finding] = []
    for case_id in [*there, *(one for one in here if one not in there)]:
        if case_id in both:
            counted = counted_findings(case_id, *map(of_case, both[case_id]))
            findings += [*counted, *timed.get(case_id, [])] or [_nothing_in_common(case_id)]
        else:
            findings.append(_unmatched(case_id, there.get(case_id), here.get(case_id)))
    commit = baseline.description.environment.git_commit if baseline else None
    rows = [(any_row(base), any_row(value)) for base, value in both.values()]
    run_id, baseline_id = _names(run, baseline)
    ran, had = (any(map(is_ok, cases.values())) for cases in (here, there))
    return Report(
        comparison=RunComparison(
            same_machine=all(same_machine(*pair) for pair in rows),
            earlier_runs=max((t.predicted.n for t in tests if t.predicted), default=0),
            commands=_commands(findings, there, commit, threshold),
        ),
        base=baseline_id,
        value=run_id,
        threshold=threshold,
        findings=tuple(findings),
        cases={case_id: any_row(every[case_id]) for case_id in of_cases(findings)},
        notes=tuple(_notes(run, baseline, rows, threshold, tests)),
        empty=NOTHING_RAN if not ran else NO_BASELINE if not had else None,
    )


def _nothing_in_common(case_id: str) -> Finding:
    note = "the run and the baseline have no figure in common"
    return Finding(case_id=case_id, verdict="INCONCLUSIVE", note=note)


def _unmatched(case_id: str, base: CaseRows | None, value: CaseRows | None) -> Finding:
    """Return the verdict of a case that is missing in one of the runs, or not ok in one."""
    verdict: Verdict
    if value is None:
        verdict, note = "MISSING", "in the baseline, not in this run; was it renamed?"
    elif is_ok(value):
        verdict, note = "NEW", "" if base is None else f"was {_why(base)}"
    elif _broken(value) and (base is None or not _broken(base)):
        was = "new, " if base is None else "" if is_ok(base) else f"was {_why(base)}; now "
        verdict, note = "FAILED", f"{was}{_why(value)}"
    else:
        verdict = "NEW" if base is None else "FAILED" if is_ok(base) else "UNMEASURED"
        note = _why(value)
    return Finding(case_id=case_id, verdict=verdict, note=note)


def _broken(case: CaseRows) -> bool:
    return any(row.status in BROKEN for row in case.values())


def _why(case: CaseRows) -> str:
    row = next(one for one in case.values() if one.status != "ok")
    return f"{row.status}: {row.reason or 'no reason given'}"


def _commands(
    findings: Sequence[Finding],
    there: Mapping[str, CaseRows],
    commit: str | None,
    threshold: float,
) -> dict[str, str]:
    """Return the `bench ab` command that decides a case, unless its verdict is clear."""
    return {
        case_id: settling_command(any_row(there[case_id]), commit, threshold)
        for case_id, own in of_cases(findings).items()
        if case_id in there and worst(own).verdict not in SETTLED
    }


def _notes(
    run: Results,
    baseline: Results | None,
    rows: Sequence[tuple[Row, Row]],
    threshold: float,
    tests: Sequence[TimeTest],
) -> list[str]:
    """Return notes that concern all cases."""
    if baseline is None:
        return []
    notes = []
    if not all(same_machine(*pair) for pair in rows):
        notes.append(
            "The baseline comes from another machine, so times are ADVISORY. To settle them, "
            "measure both revisions on this machine with `bench ab`."
        )
    moved = [
        value.control_s / base.control_s
        for base, value in rows
        if same_machine(base, value) and base.control_s and value.control_s
    ]
    if moved and abs(math.log(statistics.median(moved))) > math.log1p(threshold):
        notes.append(
            "The machine itself became faster or slower: the reference work, which is the same in "
            f"both runs, took {statistics.median(moved):.2f} times as long as in the baseline."
        )
    torches = [
        sorted({row.torch_version for row in one.rows if row.torch_version})
        for one in (baseline, run)
    ]
    if torches[0] and torches[1] and torches[0] != torches[1]:
        notes.append(
            f"The baseline was measured with torch {', '.join(torches[0])}, this run with "
            f"torch {', '.join(torches[1])}."
        )
    if baseline.description.environment.git_dirty:
        notes.append(
            "The baseline was measured with uncommitted changes, so its commit is not the code "
            "that was measured."
        )
    comparable = any(same_machine(*pair) for pair in rows)
    if comparable and (note := _other_sampling(run, baseline)):
        notes.append(note)
    elif comparable and not any(one.predicted for one in tests):
        notes.append(
            f"The baseline folder has fewer than {ENOUGH_HISTORY} earlier runs of this machine, so "
            "a slowdown is at most a SUSPECT, and few times are SAME. Keep runs of unchanged code "
            "in that folder."
        )
    return notes


def _other_sampling(run: Results, baseline: Results) -> str:
    """Return the settings of the sampling that differ, in a sentence; empty if none does."""
    own, other = run.description.config.sampling, baseline.description.config.sampling
    names = [one.name for one in fields(own) if getattr(own, one.name) != getattr(other, one.name)]
    if not names:
        return ""
    before, now = (
        ", ".join(f"{name} {_known(getattr(each, name))}" for name in names)
        for each in (other, own)
    )
    return (
        f"The baseline was measured with another sampling ({before}) than this run ({now}). Times "
        "of another sampling scatter differently, so earlier runs are not used and a slowdown is "
        "at most a SUSPECT. Keep runs with the sampling of this run in the baseline folder."
    )


def _known(value: object) -> str:
    return "unknown" if value is None else str(value)


def _names(run: Results, baseline: Results | None) -> tuple[str, str]:
    """Return the names of both runs; a baseline of the same name is named by its path."""
    own = _run_id(run)
    if baseline is None:
        return own, ""
    other = _run_id(baseline)
    return own, str(baseline.path) if other == own else other


def _run_id(run: Results) -> str:
    return next((row.run_id for row in run.rows if row.run_id), run.path.name)
