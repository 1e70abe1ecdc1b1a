"""From pairs to a verdict: what is decided, written into the directory, and shown."""

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import judge, pair_journal, probe, rundir
from bench.ab_directory import DESCRIPTION
from bench.ab_plan import AbError, Planned
from bench.pairs import Pairs, phase_key, values
from bench.read import ab_report, ci, decide, plot_forest, show
from bench.read.junit import junit
from bench.records import whole_phase

LEAST_NULL_PAIRS = 4  # that a later comparison may learn from
REPORT, TABLE = "report.md", "ab.csv"


def decided(
    planned: Planned, pairs: Pairs, history: Sequence[float], *, complete: bool
) -> ab_report.Report:
    seen, keys = pairs.seen, [key for key in planned.cases if not pairs.given_up(key)]
    null = pairs.null_key()
    nulls = _by_stage(values(seen, [null], null=True, again=()) if null else [])
    found = decide.decide(
        pairs.values(keys, again=pairs.suspects()),
        nulls,
        planned.threshold,
        history,
    )
    for mixed in filter(None, map(probe.edited, planned.sources.values())):
        found = decide.untrusted(found, mixed)
    decisions = {one.key: one for one in found}
    rows = [
        ab_report.Row(case_id=key, verdict="FAILED", note=why)
        for key, why in planned.missing.items()
    ]
    for key in planned.cases:
        rows += _rows_of(key, planned, pairs, decisions)
    a, b = planned.sides
    notes = [] if nulls else ["A was not measured against itself: nothing guards these figures."]
    least = decide.bias(history)
    if least > planned.threshold:
        notes.append(
            f"A against itself came to {least / 2:.1%} in the last comparisons of this machine: "
            f"the threshold is {least:.1%} instead of {planned.threshold:.1%}."
        )
    notes += _not_counted(planned, pairs)
    notes += [] if complete else ["The comparison is not complete: its budget was used up."]
    return ab_report.Report(
        a=a.shown,
        b=b.shown,
        threshold=max(planned.threshold, least),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _by_stage(nulls: Sequence[decide.Case]) -> list[decide.Case]:
    """Each stage by itself: the verdicts rest on either, and the one must not hide the other."""
    found = []
    for one in nulls:
        found.append(dataclasses.replace(one, fresh=()))
        if one.fresh:
            found.append(
                dataclasses.replace(one, key=f"{one.key} (fresh)", first=one.fresh, fresh=())
            )
    return found


def _not_counted(planned: Planned, pairs: Pairs) -> list[str]:
    """Of which cases a side's counted figures are unknown."""
    found = []
    for side in ("A", "B"):
        without = [
            key
            for key in planned.cases
            if pairs.seen.of(key, "first")
            and not ((facts := pairs.seen.facts.get((key, side))) and facts.facts)
        ]
        if without:
            found.append(
                f"Nothing was counted on side {side} of {len(without)} of {len(planned.cases)} "
                f"cases, so that only times are compared there: {without[0]}"
                + (", …" if len(without) > 1 else "")
            )
    return found


def _rows_of(
    key: str, planned: Planned, pairs: Pairs, decisions: Mapping[str, decide.Decision]
) -> list[ab_report.Row]:
    """Times by phase, then what is counted; a case that failed is one row."""
    seen = pairs.seen
    failures = seen.failures(key)
    measured = [*seen.of(key, "first"), *seen.of(key, "fresh")]
    if pairs.given_up(key) or (failures and not measured):
        side, why = next(iter(failures[0].failed.items()))
        return [ab_report.Row(case_id=key, verdict="FAILED", note=f"side {side}: {why}")]
    if not measured:
        why = "not measured: the budget was used up"
        return [ab_report.Row(case_id=key, verdict="FAILED", note=why)]
    rows, again = [], pairs.suspects()
    for phase in measured[0].samples:
        fresh = seen.of(key, "fresh") if phase_key(key, phase) in again else []
        decisive = fresh or seen.of(key, "first")
        times = [one.samples[phase] for one in decisive if phase in one.samples]
        a_s, b_s = (
            statistics.median(statistics.median(pair[side]) for pair in times) for side in (0, 1)
        )
        rows.append(ab_report.time_row(key, phase, a_s, b_s, decisions[phase_key(key, phase)]))
    counted = {}
    for side in ("A", "B"):
        facts = seen.facts.get((key, side))
        counted[side] = {**(facts.facts if facts else {}), **measured[0].facts.get(side, {})}
    gated = planned.sides[0].kind == "revision"
    whole = whole_phase(planned.cases[key]["A"].mode)
    return rows + ab_report.counted_rows(key, whole, counted["A"], counted["B"], gated=gated)


def write(
    path: Path, report: ab_report.Report, seen: pair_journal.Seen, pairs: Pairs, *, strict: bool
) -> int:
    """The files.  Raises AbError."""
    key, code = pairs.null_key(), report.exit_code(strict=strict)
    text = ab_report.markdown(report)
    try:
        ab_report.write_rows(path / TABLE, report.rows)
        (path / REPORT).write_text(text, encoding="utf-8")
        suite = f"bench ab {report.a} {report.b}"
        (path / judge.JUNIT).write_text(junit(suite, ci.of_ab(report)), encoding="utf-8")
        plot_forest.draw(path, report)
        stored = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        whole = phase_key(key, whole_phase(pairs.cases[key].mode)) if key else ""
        logs = [
            value
            for one in (values(seen, [key], null=True) if key else [])
            for value in one.first
            if one.key == whole
        ]
        stored |= {"headline": report.headline, "exit_code": code, "null_case": key}
        if len(logs) >= LEAST_NULL_PAIRS:
            stored["null_log_ratio"] = statistics.fmean(logs)
        rundir.write_atomically(path / DESCRIPTION, json.dumps(stored, indent=1) + "\n")
    except OSError as error:
        raise AbError(f"{path}: the report cannot be written: {error.strerror}") from None
    judge.step_summary(text)
    return code


def tell(report: ab_report.Report, console: Console, path: Path) -> None:
    with contextlib.suppress(BrokenPipeError):  # the verdict is the exit code, read or not
        console.print(ab_report.table(report), width=min(show.WIDTH, console.width))
        for note in report.notes:
            console.print(show.safe(note), soft_wrap=True)
        console.print(show.safe(f"report: {path / REPORT}"), soft_wrap=True)
        judge.annotate(ci.of_ab(report), console)
