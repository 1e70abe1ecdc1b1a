"""The command `bench run`: configuration, probe, plan, run, tables, plots.

`run` reads as the table of contents of a run.
"""

import dataclasses
import datetime
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bench.core import decode
from bench.core.errors import UserError
from bench.core.records import Case, Entry
from bench.core.subject import parse
from bench.core.text import command, printable
from bench.engine import largest
from bench.engine.requests import request
from bench.engine.scheduler import Runner, RunSoFar
from bench.engine.workers import Experience, WorkerPool, opened
from bench.host import environment, peaks, preflight, probe
from bench.host.probed import Probe, Source
from bench.plan import config
from bench.plan import expand as plan
from bench.plan.estimate import estimate, with_budget
from bench.results import journal, run_directory, run_json
from bench.terminal.progress import Bar, wide_console

QUICK = {"replicates": 3, "samples_s": 0.1, "warmup_s": 0.1, "budget_s": 60.0}
QUICK_ACCELERATOR_S = 120.0  # more for each accelerator
NEWER_OPTIONS = frozenset({"weights", "accelerator_budget_s"})  # earlier run.json lack them
OK, FAILED, INTERRUPTED = 0, 4, 130


class MeasureError(UserError):
    """A run that cannot be started or resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags of `bench run`."""

    config: Path | None = None
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False
    name: str | None = None
    out: Path | None = None
    resume: Path | None = None
    list_only: bool = False


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run directory, and the plan that is measured into it."""

    directory: run_directory.RunDir
    plan: plan.Plan
    options: config.RunOptions
    torch: str
    devices: Mapping[str, str]  # as torch finds them → as their drivers name them
    sources: Mapping[str, Source]  # what the subjects came with, as it was then
    description: Mapping[str, Any] | None = None  # of a resume that changes it: the new run.json


def run(asked: Asked) -> int:
    """Measure, and write a run directory.  Return the exit code."""
    console = wide_console()
    if asked.resume:
        begun = _resume(asked)
    else:
        settings = _config(asked)
        if asked.out and not asked.list_only:
            run_directory.refuse_existing(asked.out)  # before the probe, which takes seconds
        found = _look(settings)
        planned = plan.make(settings, found, finds_largest=True)
        settings = with_budget(settings, planned)
        if asked.list_only:
            from bench.terminal import listing

            names = {name: device.shown for name, device in found.devices.items()}
            listing.show(planned, estimate(planned, settings), names, console)
            return OK
        for one in planned.left_out:
            if one.settings == plan.LAYERS:  # the others make no sense, this may be a surprise
                _say(console, f"note: {one.reason}")
            elif one.settings == plan.DEVICE:
                _say(console, f"note: {one.subject} is left out: {one.reason}")
        for name, text in planned.guessed.items():
            _say(console, f"note: the input of {name} is guessed {text}; --input says otherwise")
        planned, largest_batches = _with_largest(planned, settings, console)
        begun = _begin(asked, settings, found, planned, console, largest_batches)
    _say_what_is_here(begun, console)
    if why := environment.no_commit(Path.cwd()):
        _say(console, f"note: no commit is stored beside the figures: {why}")
    for warning in preflight.warnings():
        _say(console, f"note: {warning}")
    return _measure(begun, console)


def _say_what_is_here(begun: _Begun, console: Console) -> None:
    here = ", ".join(f"{name} ({shown})" for name, shown in begun.devices.items())
    none = "" if len(begun.devices) > 1 else "; no accelerator"
    _say(console, f"{len(begun.plan.cases)} cases; torch {begun.torch} finds {here}{none}")


def _say(console: Console, text: str) -> None:
    """Print a line without wrapping, so that commands in it can be copied."""
    console.print(Text(printable(text)), soft_wrap=True)


def _config(asked: Asked) -> config.Config:
    quick: Mapping[str, float] = QUICK if asked.quick else {}
    given = {name: value for name, value in asked.options.items() if value is not None}
    if quick and "budget_s" not in given:
        quick = {**quick, "accelerator_budget_s": QUICK_ACCELERATOR_S}
    return config.load(
        asked.config,
        flags=asked.axes,
        subjects=asked.subjects,
        only=asked.cases,
        **{**quick, **given},
    )


def _look(settings: config.Config) -> Probe:
    run = settings.run
    return probe.built(
        probe.look(settings.subjects(), settings.inputs(), run.timeout_s, weights=run.weights_file)
    )


def _begin(
    asked: Asked,
    settings: config.Config,
    found: Probe,
    planned: plan.Plan,
    console: Console,
    largest_batches: Mapping[str, Any],
) -> _Begun:
    around = environment.environment()
    names = {name: device.shown for name, device in found.devices.items()}
    accelerators = {name: shown for name, shown in names.items() if name != "cpu"}
    path = asked.out or run_directory.default_path(
        asked.name, around["git_commit"], datetime.datetime.now(datetime.UTC)
    )
    directory = run_directory.create(
        path,
        {
            "command": ["bench", *sys.argv[1:]],
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "name": asked.name,
            "config": settings.as_dict(),
            "machine": {
                **environment.machine(accelerators),
                "peaks": _peaks(planned, settings, console),
            },
            "environment": {**found.facts, **around, "sources": found.digests},
            "devices": names,
            "parameters": {name: one.parameters for name, one in found.subjects.items()},
            "layers": {
                name: [dataclasses.asdict(layer) for layer in one.layers]
                for name, one in found.subjects.items()
            },
            "cases": [case.as_dict() for case in planned.cases],
            "largest_batches": largest_batches,
            "left_out": [dataclasses.asdict(one) for one in planned.left_out],
        },
    )
    return _Begun(directory, planned, settings.run, found.torch, names, found.sources)


def _with_largest(
    planned: plan.Plan, settings: config.Config, console: Console
) -> tuple[plan.Plan, dict[str, Any]]:
    """The plan with a number for each `batch = max`, and what was found, by case id.

    A case of which no batch fits stays in it at the least batch: its row says why.
    """
    if not planned.largest:
        return planned, {}
    cases = {case.case_id: case for case in planned.cases}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-largest-") as folder:
        folders = run_directory.Folders(Path(folder), Path(folder) / "failures")
        pool = WorkerPool(
            cases=planned.largest,
            folders=folders,
            log=folders.scratch / "largest.log",
            timeout_s=settings.run.timeout_s,
            experience=Experience(tell=lambda text: _say(console, text)),
        )

        def attempt(case: Case) -> Entry:
            return pool.ask(request("fits", case, 0, settings.run, folders))

        with opened(pool):
            for asked in planned.largest:
                found = largest.find(asked, attempt)
                name = asked.case_id.replace(":b1:", ":bmax:", 1)
                _say(console, f"{name}: {largest.described(found)}")
                case = dataclasses.replace(asked, batch=found.batch or 1)
                cases.setdefault(case.case_id, case)
                if found.batch is not None:
                    results[case.case_id] = dataclasses.asdict(found)
    return dataclasses.replace(planned, cases=tuple(cases.values()), largest=()), results


def _peaks(planned: plan.Plan, settings: config.Config, console: Console) -> dict[str, Any]:
    """Measure the peaks of this machine; a run works without them."""
    found, problems = peaks.measure(planned.cases, settings.run.timeout_s)
    notes = [
        f"note: its peaks are unknown, so no row is held against them ({problem})"
        for problem in problems
    ]
    if peaks.disturbed(found):
        notes.append(
            "note: other work disturbed the measuring of the machine's peaks; no row is held "
            "against those"
        )
    for note in notes:
        _say(console, note)
    return found


def _resume(asked: Asked) -> _Begun:
    """Load the stored plan.  Refuse it if the machine or the code has changed since."""
    path = asked.resume
    assert path is not None
    others = asked.axes or asked.subjects or asked.cases or asked.config or asked.out
    more = (
        asked.quick
        or asked.name
        or any(asked.options.get(name) is not None for name in ("seed", "weights"))
    )
    if others or more or asked.list_only:
        raise MeasureError(
            f"--resume {path}: goes on with what that run was; of all flags only "
            "--replicates, --precision, --budget and --timeout may stand beside it"
        )
    directory, stored = run_directory.reopen(path)
    try:
        described = run_json.of(stored)
        cases = _cases(stored)
        options = config.RunOptions(
            **{
                key: stored["config"][key]
                for key in config.RunOptions.model_fields
                if key in stored["config"] or key not in NEWER_OPTIONS
            }
        )
        before = environment.fixed_details(
            described.machine.written(), described.environment.written()
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasureError(f"--resume {path}: its run.json is damaged ({error})") from None
    longer = config.run_options(options.model_dump(), asked.options, f"--resume {path}")
    wholes = dict.fromkeys(parse(case.subject).whole for case in cases)
    found = probe.built(
        probe.look(tuple(wholes), {}, longer.timeout_s, weights=longer.weights_file)
    )
    accelerators = {name: device.shown for name, device in found.devices.items() if name != "cpu"}
    now = environment.fixed_details(
        environment.machine(accelerators), {**found.facts, **environment.environment()}
    )
    differs = [
        f"another {what}: it was {before.get(what)}, this is {now.get(what)}"
        for what in dict.fromkeys((*before, *now))
        if before.get(what) != now.get(what)
    ] + [
        f"another {name}: its file has changed since"
        for name, digest in found.digests.items()
        if described.environment.sources.get(name, digest) != digest
    ]
    if differs:
        raise MeasureError(
            f"--resume {path}: {'; '.join(differs)}; start a new run and compare the two"
        )
    names = {name: device.shown for name, device in found.devices.items()}
    changed = {**stored, "config": {**stored["config"], **longer.model_dump()}}
    return _Begun(
        directory, plan.Plan(cases, ()), longer, found.torch, names, found.sources, changed
    )


def _cases(stored: Mapping[str, Any]) -> tuple[Case, ...]:
    """Raises KeyError, TypeError or ValueError where they are none."""
    cases = tuple(map(decode.case, stored["cases"]))
    for case in cases:
        parse(case.subject)
    return cases


def _measure(begun: _Begun, console: Console) -> int:
    directory = begun.directory
    holder = run_directory.lock(directory)
    if begun.description:  # not before: another run may be writing here
        run_directory.change(directory, begun.description)
    log = journal.Journal(directory.journal)
    seen = RunSoFar()
    for entry in journal.read(directory.journal):
        seen.add(entry)
    interrupted, stopped, enough = False, None, False
    earlier = [one for outcomes in seen.outcomes.values() for one in outcomes]
    with Bar(console, cases=begun.plan.cases, earlier=earlier) as bar:
        bar.budget_s = begun.options.budget_s
        start = time.monotonic()
        runner = Runner(
            plan=begun.plan,
            run=begun.options,
            folders=directory.folders,
            journal=log,
            watcher=bar,
            seen=seen,
        )
        try:
            enough = runner.measure()
        except KeyboardInterrupt:
            interrupted = True
        except UserError as error:  # a full disk: what was measured is still there
            stopped = error
        except OSError as error:
            stopped = MeasureError(f"{directory.path}: {error.strerror or error}")
        finally:
            log.close()
    try:
        code = _derive(directory, console, time.monotonic() - start)
    except OSError as error:
        where = f"{directory.path}: its tables and plots cannot be written: {error.strerror}"
        stopped = stopped or MeasureError(where)
        code = FAILED
    except Exception as error:  # whatever a table or a plot trips over: the figures are safe
        traceback.print_exc(file=(directory.path / "derive-error.txt").open("w"))
        stopped = stopped or MeasureError(
            f"{directory.path}: its tables or plots failed ({type(error).__name__}: {error}); the "
            "journal is whole, derive-error.txt says more"
        )
        code = FAILED
    run_directory.finish(directory, complete=enough)
    run_directory.release(holder)
    if mixed := probe.edited(begun.sources):
        _say(console, f"note: {mixed}; start a new run")
    go_on = command("bench", "run", "--resume", directory.path)
    if interrupted:
        _say(console, f"interrupted; go on with: {go_on}")
        return INTERRUPTED
    if not enough:
        _say(console, f"to measure the rest: {go_on}")
    if stopped:
        raise stopped
    return code


def _derive(directory: run_directory.RunDir, console: Console, elapsed_s: float) -> int:
    """Make the tables, the plots and the summary from the journal."""
    from bench.commands import derive
    from bench.terminal import run_summary

    results, entries, plots = derive.write_all(directory.path)
    run_summary.show(results, entries, plots, console, elapsed_s)
    bad = {"invalid", "timeout", "crash", "error"}
    found = {row.status for row in results.rows}
    return FAILED if "ok" not in found or found & bad else OK
