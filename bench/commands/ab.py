"""The command `bench ab A B`: variants, plan, pairs, decision, report.

`run` reads as the table of contents of a comparison.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.ab import ab_directory, ab_plan, decision, explained, pair_journal, variants
from bench.ab.ab_plan import AbError, Asked, Planned
from bench.ab.scheduler import Pairs
from bench.ab.workers import PairWorkers
from bench.core.errors import UserError
from bench.core.exit_codes import INTERRUPTED, WRONG_USE
from bench.core.text import command
from bench.engine.workers import Experience
from bench.explain import text
from bench.host import gpu_driver, preflight
from bench.results import run_directory
from bench.results.journal import Journal
from bench.terminal.progress import wide_console
from bench.verdict import outputs, paired_test, tables
from bench.verdict.comparison import PairComparison
from bench.verdict.report import Report


def run(asked: Asked) -> int:
    """Compare, and write a directory.  Return the exit code."""
    console = wide_console()
    ab_plan.refuse_pairs(asked.pairs)
    asked, stored = ab_directory.stored(asked) if asked.resume else (asked, None)
    if not 0 < asked.threshold < 1:
        raise AbError(f"--threshold {asked.threshold}: is not a slowdown; write e.g. 0.05 for 5 %")
    if asked.a is None or asked.b is None:
        raise AbError("two sides are needed: bench ab A B, e.g. bench ab main .")
    a, b = variants.parse(asked.a, asked.b)
    if asked.out and stored is None:
        run_directory.refuse_existing(asked.out)
    with variants.opened(a, b) as both:
        planned = ab_plan.make(asked, *both)
        if stored is None:
            path = ab_directory.create(asked, planned)
        else:
            path = ab_directory.reopen(asked, planned, stored)
        tables.say(console, ab_plan.begins(planned))
        for warning in preflight.warnings(threads=ab_plan.most_threads(planned)):
            tables.say(console, f"note: {warning}")
        devices = (case.device for sides in planned.cases.values() for case in sides.values())
        with gpu_driver.kept_loaded(devices):
            return _measure(path, planned, console, strict=asked.strict, explain=asked.explain)


def _measure(
    path: Path, planned: Planned, console: Console, *, strict: bool, explain: bool | None = None
) -> int:
    """Measure, decide and report while no other process may write into the directory."""
    directory = run_directory.RunDir(path)
    holder = run_directory.lock(directory)
    try:
        return _locked(directory, planned, console, strict=strict, explain=explain)
    finally:
        run_directory.release(holder)


def _locked(
    directory: run_directory.RunDir,
    planned: Planned,
    console: Console,
    *,
    strict: bool,
    explain: bool | None,
) -> int:
    began_s, path = time.monotonic(), directory.path
    journal = Journal(path / pair_journal.NAME)
    history = ab_directory.null_history(path, planned.machine_id)
    experience = Experience(tell=lambda text: tables.say(console, text))
    pairs = _pairs(path, planned, journal, paired_test.bias(history), experience)
    incomplete: str | None = "the budget was used up"
    stopped: UserError | None = None
    try:
        if not planned.cases or pairs.measure():
            incomplete = None
    except KeyboardInterrupt:
        return _interrupted(path, console)
    except UserError as error:  # what is in the journal is worth its report all the same
        incomplete, stopped = str(error), error
    finally:
        journal.close()
    try:
        report = decision.decided(planned, pairs, history, path, incomplete=incomplete)
        code = report.exit_code(strict=strict) if stopped is None else WRONG_USE
        decision.write(path, report, pairs, code)
        if stopped is None and (keys := explained.cases(report.findings, explain)):
            left_s = _left_s(planned, time.monotonic() - began_s)
            report = _with_causes(report, keys, planned, path, experience, left_s)
            decision.write(path, report, pairs, code)
        run_directory.finish(directory, complete=incomplete is None)
        if incomplete is not None:
            tables.say(console, f"to measure the rest: {_go_on(path)}")
        outputs.tell(path, report, console)
    except KeyboardInterrupt:
        return _interrupted(path, console)
    except AbError as error:  # a full disk: the first of two errors is the cause
        raise stopped or error from None
    if stopped is not None:
        raise stopped
    return code


def _pairs(
    path: Path, planned: Planned, journal: Journal, bias: float, experience: Experience
) -> Pairs:
    """Return the pairs to be measured, with those that the journal has already."""
    by_side = {side.name: side for side in planned.sides}
    return Pairs(
        cases={key: one["A"] for key, one in planned.cases.items()},
        seed=planned.run.seed,
        threshold=planned.threshold,
        thresholds=planned.thresholds,
        bias=bias,
        pairs=planned.pairs,
        budget_s=planned.run.budget_s,
        expected_s=ab_plan.first_stage_s(planned),
        names=ab_plan.names(planned),
        journal=journal,
        seen=pair_journal.read(path / pair_journal.NAME),
        open_workers=lambda stage, number: PairWorkers(
            sides=by_side,
            cases=planned.cases,
            run=planned.run,
            directory=path,
            stage=stage,
            number=number,
            experience=experience,
        ).open(),
        tell=experience.tell,
    )


def _left_s(planned: Planned, spent_s: float) -> float | None:
    """Return the seconds that are left of the budget; None without one."""
    budget_s = planned.run.budget_s
    return None if budget_s is None else budget_s - spent_s


def _with_causes(
    report: Report[PairComparison],
    keys: Sequence[str],
    planned: Planned,
    path: Path,
    experience: Experience,
    left_s: float | None,
) -> Report[PairComparison]:
    """Return the report with the causes of what changed.  The verdicts stay as they are."""
    found, notes = explained.explained(keys, planned, path, experience, left_s=left_s)
    comparison = dataclasses.replace(
        report.comparison, causes=text.markdown(found), causes_told=tuple(text.lines(found))
    )
    return dataclasses.replace(report, comparison=comparison, notes=(*report.notes, *notes))


def _interrupted(path: Path, console: Console) -> int:
    tables.say(console, f"interrupted; to resume: {_go_on(path)}")
    return INTERRUPTED


def _go_on(path: Path) -> str:
    return command("bench", "ab", "--resume", path)
