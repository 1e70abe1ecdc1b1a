"""Decide the verdicts from the pairs, and write them into the directory."""

import dataclasses
import functools
import json
import statistics
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.ab.ab_directory import DESCRIPTION
from bench.ab.ab_plan import AbError, Planned
from bench.ab.findings import of_case
from bench.ab.notes import further, notes
from bench.ab.pair_journal import PhaseKey
from bench.ab.scheduler import Pairs, values
from bench.core.records import whole_phase
from bench.host import probe
from bench.plots import forest
from bench.results import run_directory
from bench.verdict import ab_csv, outputs, paired_test, power
from bench.verdict.comparison import PairComparison
from bench.verdict.report import NOTHING_PAIRED, TIME, Finding, Report


class _Fresh(NamedTuple):
    """The key of the null case's second stage."""

    of: Hashable

    def __str__(self) -> str:
        return f"{self.of} (fresh)"


LEAST_NULL_PAIRS = 4  # with fewer, later comparisons do not use this null case


def decided(
    planned: Planned,
    pairs: Pairs,
    history: Sequence[float],
    directory: Path,
    *,
    incomplete: str | None,
) -> Report[PairComparison]:
    """Return the report of a comparison.

    directory:  the directory of the comparison, for the commands that resume it.
    incomplete: the reason why not everything was measured, or None.
    """
    seen, keys = pairs.seen, [key for key in planned.cases if not pairs.given_up(key)]
    null, again = pairs.null_key(), pairs.suspects()
    nulls = _by_stage(values(seen, [null], null=True, again=()) if null else [])
    cases = pairs.values(keys, again=again)
    found = paired_test.decide(cases, nulls, planned.threshold, history)
    found = power.with_reach(
        found, cases, planned.threshold, bias=paired_test.bias(history), pairs=planned.pairs,
        complete=incomplete is None, adds=functools.partial(pairs.adds, suspects=again),
    )  # fmt: skip
    for mixed in filter(None, map(probe.edited, planned.sources.values())):
        found = paired_test.untrusted(found, mixed)
    decisions = {one.key: one for one in found}
    findings = [
        Finding(case_id=key, verdict="FAILED", note=why) for key, why in planned.missing.items()
    ]
    for key in planned.cases:
        findings += of_case(key, planned, pairs, again, decisions, f"not measured: {incomplete}")
    a, b = planned.sides
    least = paired_test.bias(history)
    return Report(
        comparison=PairComparison(
            thresholds={key: max(own, least) for key, own in planned.thresholds.items()}
        ),
        base=a.shown,
        value=b.shown,
        threshold=max(planned.threshold, least),
        findings=tuple(findings),
        cases={**planned.lacking, **{key: one["A"] for key, one in planned.cases.items()}},
        notes=(*notes(planned, pairs, history, incomplete), *further(findings, directory)),
        empty=None if any(one.figure == TIME for one in findings) else NOTHING_PAIRED,
    )


def _by_stage(nulls: Sequence[paired_test.PairedPhase]) -> list[paired_test.PairedPhase]:
    """Return the two stages of the null cases as separate cases, so that each is tested alone."""
    stages = []
    for one in nulls:
        stages.append(dataclasses.replace(one, fresh=()))
        if one.fresh:
            stages.append(dataclasses.replace(one, key=_Fresh(one.key), first=one.fresh, fresh=()))
    return stages


def write(path: Path, report: Report[PairComparison], pairs: Pairs, code: int) -> None:
    """Write the files of the report.  code: the exit code.  Raises AbError."""
    key = pairs.null_key()
    try:
        ab_csv.write(path / ab_csv.FILE, report.findings)
        outputs.write(path, report)
        forest.draw(path, report)
        stored = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        whole = PhaseKey(key, whole_phase(pairs.cases[key].mode)) if key else None
        logs = [
            value
            for one in (values(pairs.seen, [key], null=True) if key else [])
            for value in one.first
            if one.key == whole
        ]
        stored |= {"headline": report.headline, "exit_code": code, "null_case": key}
        if len(logs) >= LEAST_NULL_PAIRS:
            # The median, so that one disturbed pair does not count as the machine's bias.
            stored["null_log_ratio"] = statistics.median(logs)
        run_directory.write_atomically(path / DESCRIPTION, json.dumps(stored, indent=1) + "\n")
    except OSError as error:
        raise AbError(f"{path}: the report cannot be written: {error.strerror}") from None
