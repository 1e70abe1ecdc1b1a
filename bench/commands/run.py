"""The command `bench run`: configuration, probe, plan, run, tables, plots.

`run` reads as the table of contents of a run.
"""

import dataclasses
import datetime
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.commands import machine_peaks, provenance
from bench.commands.early_start import EarlyStart, plan_of
from bench.commands.machine_peaks import MachinePeaks
from bench.core import decode
from bench.core.errors import UserError
from bench.core.exit_codes import FAILED, INTERRUPTED, OK
from bench.core.records import Case, Entry
from bench.core.shard import WHOLE, Shard, ShardError
from bench.core.shard import parse as parse_shard
from bench.core.subject import SHIPPED, SubjectError, parse
from bench.core.text import command, number_of
from bench.engine import largest
from bench.engine.requests import request
from bench.engine.run_estimate import estimate
from bench.engine.run_so_far import Known, RunSoFar
from bench.engine.scheduler import OneOff, Runner
from bench.engine.spent import Spent
from bench.engine.workers import Experience, WorkerPool, opened
from bench.host import environment, gpu_driver, helper, preflight, probe, wait_policy
from bench.host.probed import Probe, Source
from bench.plan import config, digest, expand
from bench.plan.case_costs import with_budget
from bench.results import journal, run_directory, run_json
from bench.terminal import brief
from bench.terminal.progress import Bar, wide_console
from bench.verdict import tables

# The options of --quick.  On a quiet machine a run ends before `extras_s`, or soon after; on a
# busy one, cases that lack replicates have the time up to `budget_s`.
QUICK: Mapping[str, Any] = {
    "replicates": 3,
    "samples_s": 0.1,
    "warmup_s": 0.1,
    "min_samples": 3,
    "extras_s": 50.0,
    "budget_s": 80.0,
    "energy": False,
    "isolation": "session",  # one process for the cases of an accelerator saves what costs once
}
QUICK_ACCELERATOR_S = 60.0  # more for each accelerator
DECIDED_AT_THE_START = ("seed", "weights", "isolation", "parallel_devices", "wait_policy")
NEWER_OPTIONS = frozenset(
    {
        "weights",
        "extras_s",
        "least_replicates",
        "accelerator_budget_s",
        "isolation",
        "parallel_devices",
        "wait_policy",
        "energy",
    }
)  # keys that run.json of earlier runs lacks


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
    shard: str | None = None  # i/n
    known: Known | None = None  # of the same plan, from other machines
    list_only: bool = False
    fresh_peaks: bool = False
    began_s: float | None = None  # by time.monotonic; None: now
    command: tuple[str, ...] | None = None  # that run.json names; None = that of this process

    @property
    def described(self) -> list[str]:
        return list(self.command or ("bench", *sys.argv[1:]))


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of a run.  path: of its directory; None if its cases were only listed."""

    path: Path | None
    code: int


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run directory, and the plan that is measured into it."""

    directory: run_directory.RunDir
    plan: expand.Plan
    options: config.RunOptions
    torch: str
    devices: Mapping[str, str]  # as torch finds them → as their drivers name them
    sources: Mapping[str, Source]  # what the subjects came with, as it was then
    peaks: MachinePeaks | None = None  # None: those that are missing are not measured
    machine: Mapping[str, Any] = field(default_factory=dict)  # of run.json
    began_s: float | None = None  # by time.monotonic, when the command began; None: now
    budget_has_imports: bool = False
    description: Mapping[str, Any] | None = None  # of a resume that changes it: the new run.json
    auto_threads: int | None = None  # torch's own choice; None: unknown
    others: Sequence[preflight.Other] | None = None  # None: not looked at yet
    shard: Shard = WHOLE
    known: Known | None = None
    early: EarlyStart | None = None  # fork servers that start already


def run(asked: Asked) -> int:
    """Measure, and write a run directory.  Return the exit code."""
    return measured(asked, wide_console()).code


def measured(asked: Asked, console: Console) -> Ran:
    """Measure, and write a run directory."""
    with EarlyStart() as early:
        begun = _resume(asked) if asked.resume else _planned(asked, console, early)
        return Ran(None, OK) if begun is None else _measured(begun, console)


def _measured(begun: _Begun, console: Console) -> Ran:
    _say_what_is_here(begun, console)
    for text in machine_peaks.told(begun.machine):
        tables.say(console, text)
    if why := environment.no_commit(Path.cwd()):
        tables.say(console, f"note: no commit is stored beside the figures: {why}")
    asked_threads = (case.threads for case in begun.plan.cases)
    threads = preflight.most_threads(asked_threads, begun.auto_threads)
    for warning in preflight.warnings(threads=threads, others=begun.others):
        tables.say(console, f"note: {warning}")
    with gpu_driver.kept_loaded(case.device for case in begun.plan.cases):
        return Ran(begun.directory.path, _measure(begun, console))


def for_a_busy_machine(
    settings: config.Config, others: Sequence[preflight.Other], console: Console
) -> config.Config:
    """Let waiting threads sleep if other processes compute now, unless the user has decided.

    A quick run would not end in its time otherwise (`bench.host.wait_policy`).
    """
    run = settings.run
    if "wait_policy" in run.model_fields_set or wait_policy.chosen_by_user(os.environ):
        return settings
    if not any(one.busy for one in others):
        return settings
    tables.say(
        console,
        "note: other processes are computing, so threads that wait for each other sleep here "
        "(OMP_WAIT_POLICY=passive): the run ends sooner; compare it with such runs only",
    )
    chosen = run.model_copy(update={"wait_policy": "passive"})
    return dataclasses.replace(settings, run=chosen)


def _planned(asked: Asked, console: Console, early: EarlyStart) -> _Begun | None:
    """Plan a new run and make its directory; None if its cases were only listed."""
    settings = config_of(asked)
    shard = WHOLE
    if asked.shard is not None:
        shard, settings = _sharded(asked.shard, settings)
    if asked.out and not asked.list_only:
        run_directory.refuse_existing(asked.out)  # before the probe, which takes seconds
    others = None
    if not asked.list_only:
        others = preflight.other_processes(own=helper.early_processes())  # before ours start
        if asked.quick:
            settings = for_a_busy_machine(settings, others, console)
        early.begin(settings, own_options(settings.run, shard))
    found = provenance.look(settings)
    early.go_on()
    planned = plan_of(settings, found)
    asked_for = digest.of(settings)  # without what this machine adds
    settings = with_budget(settings, planned)
    if shard is not WHOLE and planned.largest:
        raise MeasureError(
            f"--shard {shard}: batch = max may differ from shard to shard; search it by a run "
            "without --shard, and give the number"
        )
    if asked.list_only:
        from bench.terminal import listing

        own = own_options(settings.run, shard)
        listing.show(planned, estimate(planned, own), found.names, console)
        return None
    _say_what_is_planned(planned, console)
    if settings.chosen_without_file:
        tables.say(console, brief.of(planned.cases, planned.largest))
    search_began_s = time.monotonic()
    with gpu_driver.kept_loaded(case.device for case in planned.largest):
        planned, largest_batches = _with_largest(planned, settings, console)
    if asked.began_s is not None:  # the search is no part of the imports
        spent_s = time.monotonic() - search_began_s
        asked = dataclasses.replace(asked, began_s=asked.began_s + spent_s)
    begun = _begin(asked, settings, found, planned, largest_batches)
    if shard is not WHOLE:
        begun = _as_shard(begun, shard, asked_for)
    return dataclasses.replace(begun, known=asked.known, others=others, early=early)


def _sharded(text: str, settings: config.Config) -> tuple[Shard, config.Config]:
    """Return the shard, and the configuration of the whole run.  Raises MeasureError.

    No shard sees the interval over all replicates, so none adds replicates for precision.
    """
    try:
        shard = parse_shard(text)
    except ShardError as error:
        raise MeasureError(f"--shard {error}") from None
    replicates = settings.run.replicates
    if not shard.share(replicates):
        raise MeasureError(
            f"--shard {shard}: a shard takes whole replicates, and the run has {replicates}; "
            f"make {replicates} shards or fewer, or give --replicates {shard.count}"
        )
    run = settings.run.model_copy(update={"max_replicates": replicates})
    return shard, dataclasses.replace(settings, run=run)


def own_options(run: config.RunOptions, shard: Shard) -> config.RunOptions:
    """Return the options of the whole run with the replicates of this shard alone."""
    if shard == WHOLE:
        return run
    own = shard.share(run.replicates)
    return run.model_copy(update={"replicates": own, "max_replicates": own})


def _as_shard(begun: _Begun, shard: Shard, asked_for: str) -> _Begun:
    """Write into run.json which shard this is.  asked_for: the digest of the plan."""
    document = json.loads(begun.directory.description.read_text(encoding="utf-8"))
    document["shard"] = {"index": shard.index, "count": shard.count, "plan": asked_for}
    run_directory.change(begun.directory, document)
    return dataclasses.replace(begun, shard=shard, options=own_options(begun.options, shard))


def _say_what_is_planned(planned: expand.Plan, console: Console) -> None:
    for note in planned.notes:
        tables.say(console, f"note: {note}")


def _say_what_is_here(begun: _Begun, console: Console) -> None:
    here = ", ".join(f"{name} ({shown})" for name, shown in begun.devices.items())
    none = "" if len(begun.devices) > 1 else "; no accelerator"
    tables.say(
        console,
        f"{number_of(len(begun.plan.cases), 'case')}; torch {begun.torch} finds {here}{none}",
    )


def config_of(asked: Asked) -> config.Config:
    """Return the configuration that the flags ask for.  Raises ConfigError."""
    given = {name: value for name, value in asked.options.items() if value is not None}
    quick = dict(QUICK) if asked.quick else {}
    if "budget_s" in given:
        quick.pop("extras_s", None)
    elif quick:
        quick["accelerator_budget_s"] = QUICK_ACCELERATOR_S
    return config.load(
        asked.config,
        default=_default_sweep(asked),
        flags=asked.axes,
        subjects=asked.subjects,
        only=asked.cases,
        **{**quick, **given},
    )


def _default_sweep(asked: Asked) -> Path:
    """Return the sweep of a run without a TOML file."""
    if asked.quick and not asked.cases:  # a case may be one of a layer
        return config.QUICK
    try:
        wholes = {parse(one).whole for one in asked.subjects}
    except SubjectError:  # `config.load` says so, with the flag
        return config.OWN
    return config.DEFAULT if wholes <= set(SHIPPED) else config.OWN


def _begin(
    asked: Asked,
    settings: config.Config,
    found: Probe,
    planned: expand.Plan,
    largest_batches: Mapping[str, Any],
) -> _Begun:
    around = environment.environment()
    path = asked.out or run_directory.default_path(
        asked.name, around["git_commit"], datetime.datetime.now(datetime.UTC)
    )
    machine = provenance.machine(found)
    known = MachinePeaks(machine_peaks.store(machine, found.torch_details), planned.cases)
    machine |= {"peaks": {}, "peaks_from": {}} if asked.fresh_peaks else known.kept()
    directory = run_directory.create(
        path,
        {
            "command": asked.described,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "name": asked.name,
            "config": settings.as_dict(),
            "machine": machine,
            "environment": provenance.software(found, around),
            "devices": found.names,
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
    return _Begun(
        directory,
        planned,
        settings.run,
        found.torch,
        found.names,
        found.sources,
        # Measuring takes ten seconds; of a minute that is too much.
        None if asked.quick and not asked.fresh_peaks else known,
        machine,
        asked.began_s,
        budget_has_imports=asked.quick,
        auto_threads=found.torch_details.get("threads"),
    )


def _with_largest(
    planned: expand.Plan, settings: config.Config, console: Console
) -> tuple[expand.Plan, dict[str, Any]]:
    """Return the plan with a number for each `batch = max`, and the results by case id.

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
            experience=Experience(tell=lambda text: tables.say(console, text)),
            wait_policy=settings.run.wait_policy,
        )

        def attempt(case: Case) -> Entry:
            return pool.ask(request("fits", case, 0, settings.run, folders))

        with opened(pool):
            for asked in planned.largest:
                found = largest.find(asked, attempt)
                name = asked.case_id.replace(":b1:", ":bmax:", 1)
                tables.say(console, f"{name}: {largest.described(found)}")
                case = dataclasses.replace(asked, batch=found.batch or 1)
                cases.setdefault(case.case_id, case)
                if found.batch is not None:
                    results[case.case_id] = dataclasses.asdict(found)
    return dataclasses.replace(planned, cases=tuple(cases.values()), largest=()), results


def _resume(asked: Asked) -> _Begun:
    """Load the stored plan.  Refuse it if the machine or the code has changed since."""
    path = asked.resume
    assert path is not None
    _refuse_flags_beside_resume(asked)
    directory, stored = run_directory.reopen(path)
    described, before, cases, options = _stored_plan(path, stored)
    longer = _longer(options, asked)
    wholes = dict.fromkeys(parse(case.subject).whole for case in cases)
    found = probe.built(
        probe.look(tuple(wholes), {}, longer.timeout_s, weights=longer.weights_file)
    )
    machine = provenance.machine(found)
    if differs := provenance.differences(before, described.environment.sources, found):
        raise MeasureError(
            f"--resume {path}: {'; '.join(differs)}; start a new run and compare the two"
        )
    shard = _same_shard(described, options, longer, path)
    changed = {**stored, "config": {**stored["config"], **longer.model_dump()}}
    return _Begun(
        directory,
        expand.Plan(cases, ()),
        own_options(longer, shard),
        found.torch,
        found.names,
        found.sources,
        MachinePeaks(machine_peaks.store(machine, found.torch_details), cases),
        stored["machine"],
        asked.began_s,
        description=changed,
        shard=shard,
        auto_threads=found.torch_details.get("threads"),
    )


def _longer(options: config.RunOptions, asked: Asked) -> config.RunOptions:
    """Return the stored options, changed by those of the resume.  Raises ConfigError.

    A new budget is for everything that is left: `extras_s` was a part of the budget before it.
    """
    stored = options.model_dump()
    if asked.options.get("budget_s") is not None:
        stored["extras_s"] = None
    return config.run_options(stored, asked.options, f"--resume {asked.resume}")


def _same_shard(
    described: run_json.Description,
    options: config.RunOptions,
    longer: config.RunOptions,
    path: Path,
) -> Shard:
    """Return the shard of a run that is resumed.  Raises MeasureError if it would take more."""
    shard = described.shard.shard if described.shard else WHOLE
    if shard != WHOLE and longer.replicates != options.replicates:
        raise MeasureError(
            f"--resume {path}: is shard {shard}; its number of replicates cannot change, since "
            "that of the other shards does not"
        )
    return shard


def _refuse_flags_beside_resume(asked: Asked) -> None:
    """Raise MeasureError if a flag would change the plan that is continued."""
    others = asked.axes or asked.subjects or asked.cases or asked.config or asked.out
    more = (
        asked.quick
        or asked.name
        or asked.shard
        or asked.fresh_peaks
        or any(asked.options.get(name) is not None for name in DECIDED_AT_THE_START)
    )
    if others or more or asked.list_only:
        raise MeasureError(
            f"--resume {asked.resume}: continues that run as it was; the only other flags "
            "allowed are --replicates, --precision, --budget and --timeout"
        )


def _stored_plan(
    path: Path, stored: Mapping[str, Any]
) -> tuple[run_json.Description, Mapping[str, Any], tuple[Case, ...], config.RunOptions]:
    """Return run.json, the details in it that must not change, its cases and its options.

    Raises MeasureError if it is damaged.
    """
    try:
        described = run_json.of(stored)
        before = environment.fixed_details(
            described.machine.written(), described.environment.written()
        )
        options = config.RunOptions(
            **{
                key: stored["config"][key]
                for key in config.RunOptions.model_fields
                if key in stored["config"] or key not in NEWER_OPTIONS
            }
        )
        return described, before, _cases(stored), options
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MeasureError(f"--resume {path}: its run.json is damaged ({error})") from None


def _cases(stored: Mapping[str, Any]) -> tuple[Case, ...]:
    """Return the stored cases.  Raises KeyError, TypeError or ValueError if they are damaged."""
    cases = tuple(map(decode.case, stored["cases"]))
    for case in cases:
        parse(case.subject)
    return cases


def _budget_began_s(begun: _Begun, now_s: float) -> float:
    """Return when the budget began.  Imports count, but at most half of the budget."""
    if not begun.budget_has_imports or begun.began_s is None or begun.options.budget_s is None:
        return now_s
    return max(begun.began_s, now_s - begun.options.budget_s / 2)


def _peaks(begun: _Begun, say: Callable[[str], None]) -> OneOff | None:
    """Return the work that measures the peaks that the run still lacks."""
    if begun.peaks is None:
        return None
    return begun.peaks.one_off(begun.machine, begun.directory, begun.options.timeout_s, say)


def _measure(begun: _Begun, console: Console) -> int:
    directory = begun.directory
    holder = run_directory.lock(directory)
    try:  # in a notebook the process goes on after an error
        ended = _measure_alone(begun, console)
    finally:
        run_directory.release(holder)
    if mixed := probe.edited(begun.sources):
        tables.say(console, f"note: {mixed}; start a new run")
    go_on = command("bench", "run", "--resume", directory.path)
    if ended.interrupted:
        tables.say(console, f"interrupted; to resume: {go_on}")
        return INTERRUPTED
    if not ended.enough:
        tables.say(console, f"to measure the rest: {go_on}")
    if ended.stopped:
        raise ended.stopped
    return ended.code


@dataclass(frozen=True, slots=True)
class _Ended:
    """stopped: why it ended early.  enough: whether everything was measured."""

    code: int
    interrupted: bool
    enough: bool
    stopped: UserError | None


def _measure_alone(begun: _Begun, console: Console) -> _Ended:
    """Measure, and write what follows from the journal, in a directory that is locked."""
    directory = begun.directory
    if begun.description:  # not before: another run may be writing here
        run_directory.change(directory, begun.description)
    seen = RunSoFar()
    if begun.known:
        seen.learn(begun.known)
    for entry in journal.read(directory.journal):
        seen.add(entry)
    log = journal.Journal(directory.journal)
    interrupted, stopped, enough = False, None, False
    earlier = [one for outcomes in seen.outcomes.values() for one in outcomes]
    with Bar(console, cases=begun.plan.cases, earlier=earlier) as bar:
        bar.budget_s = begun.options.budget_s
        start = time.monotonic()
        began_s = start if begun.began_s is None else begun.began_s
        runner = Runner(
            plan=begun.plan,
            run=begun.options,
            folders=directory.folders,
            journal=log,
            watcher=bar,
            seen=seen,
            began_s=_budget_began_s(begun, start),
            one_off=_peaks(begun, bar.note),
            shard=begun.shard,
            starting=begun.early.taken() if begun.early else None,
            spent=Spent(imports_s=start - began_s),
        )
        try:
            enough = runner.measure()
        except KeyboardInterrupt:
            interrupted = True
        except UserError as error:  # a full disk: what was measured is still there
            stopped = error
        except OSError as error:
            stopped = MeasureError(f"{directory.path}: {run_directory.stopped_by(error)}")
        finally:
            log.close()
    code, failed = _results(directory, runner.spent.completed(time.monotonic() - began_s), console)
    run_directory.finish(directory, complete=enough)
    run_directory.link_latest(directory)
    return _Ended(code, interrupted, enough, stopped or failed)


def _results(
    directory: run_directory.RunDir, spent: Spent, console: Console
) -> tuple[int, UserError | None]:
    """Write what follows from the journal.  Return the exit code, and why it was not possible."""
    try:
        _keep_spent(directory, spent)
        return _derive(directory, console), None
    except UserError as error:
        return FAILED, error
    except OSError as error:
        where = f"{directory.path}: its tables and plots cannot be written: {error.strerror}"
        return FAILED, MeasureError(where)
    except Exception as error:  # whatever a table or a plot trips over: the figures are safe
        traceback.print_exc(file=(directory.path / "derive-error.txt").open("w"))
        return FAILED, MeasureError(
            f"{directory.path}: its tables or plots failed ({type(error).__name__}: {error}); the "
            "journal is whole, derive-error.txt says more"
        )


def _keep_spent(directory: run_directory.RunDir, spent: Spent) -> None:
    """Add this process' time to `spent` of run.json.  Raises RunDirError."""
    document = json.loads(directory.description.read_text(encoding="utf-8"))
    total = spent.with_earlier(document.get("spent"))
    parts = {name: round(value, 3) for name, value in dataclasses.asdict(total).items()}
    run_directory.change(directory, {**document, "spent": parts})


def _derive(directory: run_directory.RunDir, console: Console) -> int:
    """Make the tables, the plots and the summary from the journal."""
    from bench.commands import derive
    from bench.terminal import run_summary

    results, entries, plots = derive.write_all(directory.path)
    run_summary.show(results, entries, plots, console)
    bad = {"invalid", "timeout", "crash", "error"}
    found = {row.status for row in results.rows}
    return FAILED if "ok" not in found or found & bad else OK
