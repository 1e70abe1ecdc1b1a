"""The command line: flags in, exit code out.  Only this module prints errors and exits.

The flags stand in `bench.flags`.  Everything else that a command needs is imported when it runs,
so that `bench --help` answers at once.
"""

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, NoReturn, ParamSpec

import typer

from bench import flags
from bench.core.exit_codes import INTERNAL, INTERRUPTED, OK, WRONG_USE

P = ParamSpec("P")
BEGAN_S = time.monotonic()  # before what a command imports

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

DISTRIBUTION = "convnet-bench"


def show_version(wanted: bool) -> None:
    """Print the version and end the command."""
    if wanted:
        from importlib import metadata

        try:
            found = metadata.version(DISTRIBUTION)
        except metadata.PackageNotFoundError:  # a checkout on the path
            found = "(not installed; the version comes from the tag of the checkout)"
        typer.echo(f"{DISTRIBUTION} {found}")
        raise typer.Exit(OK)


@app.callback()
def before_every_command(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            callback=show_version,
            is_eager=True,
            show_default=False,
        ),
    ] = False,
) -> None:
    """Measure the speed and memory of a PyTorch network and its layers, with intervals.

    \b
    Start here:
      bench run --quick                          the ConvNet that ships, in about a minute
      bench run my/models.py:make_net --input 3,224,224 --batch 8
      bench compare results/latest --by memory_format
      bench ab HEAD .                            is my change slower?
    """


@app.command(name="run")
@flags.with_axis_flags
def run_command(
    *,
    axes: Mapping[str, Sequence[str]],
    subjects: flags.RunSubjects = None,
    config: flags.RunConfig = None,
    subject: flags.Subject = None,
    weights: flags.Weights = None,
    case: flags.CaseIds = None,
    replicates: flags.Replicates = None,
    precision: flags.Precision = None,
    budget: flags.RunBudget = None,
    timeout: flags.Timeout = None,
    isolation: flags.Isolation = None,
    parallel_devices: flags.ParallelDevices = False,
    seed: flags.RunSeed = None,
    quick: flags.RunQuick = False,
    fresh_peaks: flags.FreshPeaks = False,
    name: flags.Name = None,
    out: flags.RunOut = None,
    resume: flags.RunResume = None,
    shard: flags.Shard = None,
    list_: flags.ListOnly = False,
) -> None:
    """Measure the sweep, or your own model, and write a run directory.

    Prints a table; the run directory has CSV files and plots.

    The flags from --mode on are axes. Each replaces the values of that axis in the sweep and can be
    repeated: --batch 1 --batch 8. A default holds if no flag and no TOML file sets the axis.

    In the TOML file, on = "cpu" or "accelerators" limits a [[sweep]] to such devices. In [run],
    budget_s is the time without accelerators; accelerator_budget_s is added for each accelerator.
    """
    _start_probe()
    from bench.commands import run

    asked = run.Asked(
        config=config,
        axes=axes,
        subjects=(*(subjects or ()), *(subject or ())),
        cases=tuple(case or ()),
        options={
            "replicates": replicates,
            "precision": precision,
            "budget_s": budget,
            "timeout_s": timeout,
            "isolation": isolation,
            "parallel_devices": parallel_devices or None,
            "seed": seed,
            "weights": weights,
        },
        quick=quick,
        name=name,
        out=out,
        resume=resume,
        shard=shard,
        list_only=list_,
        fresh_peaks=fresh_peaks,
        began_s=BEGAN_S,
    )
    _end(run.run, asked)


@app.command()
def merge(
    shards: flags.MergeShards,
    out: flags.MergeOut,
) -> None:
    """Merge the shards of a run that several machines measured into one run directory.

    Machines of several kinds give one run directory a kind, inside of --out.

    Exit codes: 0 merged, 2 the directories are not shards of one run, 4 merged, but shards are
    missing.
    """
    from bench.commands import merge

    _end(merge.run, shards, out)


@app.command()
@flags.with_axis_flags
def fleet(
    *,
    axes: Mapping[str, Sequence[str]],
    subjects: flags.RunSubjects = None,
    config: flags.FleetConfig = None,
    subject: flags.Subject = None,
    weights: flags.Weights = None,
    case: flags.FleetCase = None,
    replicates: flags.FleetReplicates = None,
    budget: flags.FleetBudget = None,
    timeout: flags.Timeout = None,
    seed: flags.RunSeed = None,
    quick: flags.FleetQuick = False,
    name: flags.FleetName = None,
    address: flags.FleetAddress = "auto",
    out: flags.FleetOut = None,
    resume: flags.FleetResume = None,
) -> None:
    """Measure one run on all machines of a Ray cluster, one replicate a machine at a time.

    Needs the extra: pip install 'convnet-bench[fleet]'. Writes one run directory for each kind of
    machine; docs/machines.md says how a machine joins.

    Exit codes: 0 every kind has its replicates, 2 wrong use, 4 some are missing (--resume).
    """
    from bench.commands import fleet, run

    asked = fleet.Asked(
        run=run.Asked(
            config=config,
            axes=axes,
            subjects=(*(subjects or ()), *(subject or ())),
            cases=tuple(case or ()),
            options={
                "replicates": replicates,
                "budget_s": budget,
                "timeout_s": timeout,
                "seed": seed,
                "weights": weights,
            },
            quick=quick,
            name=name,
        ),
        address=address,
        out=out,
        resume=resume,
    )
    _end(fleet.run, asked)


@app.command()
def compare(
    run: flags.Comparable,
    run2: flags.Run2 = None,
    by: flags.By = None,
) -> None:
    """Compare the settings within a run (--by), or two runs row by row.

    Two directories of bench profile, or one with --by, are compared part by part: which layers and
    operators make the difference.

    Reads results and measures nothing.
    """
    from bench.commands import check

    _end(check.compare, run, run2, by)


@app.command()
def check(
    run: flags.Paths,
    baseline: flags.Baseline,
    threshold: flags.CheckThreshold = 0.05,
    strict: flags.CheckStrict = False,
) -> None:
    """Check a run against a stored baseline: did anything get worse?

    Reads results and measures nothing.

    Exit codes: 0 nothing got worse, 1 REGRESSED, 2 wrong use, 3 SUSPECT, 4 a case failed.
    """
    from bench.commands import check

    _end(check.check, run, baseline, threshold, strict=strict)


@app.command()
@flags.with_axis_flags
def ab(
    *,
    axes: Mapping[str, Sequence[str]],
    a: flags.SideA = None,
    b: flags.SideB = None,
    config: flags.AbConfig = None,
    subject: flags.Subject = None,
    weights: flags.Weights = None,
    threshold: flags.AbThreshold = None,
    pairs: flags.Pairs = None,
    budget: flags.AbBudget = None,
    timeout: flags.AbTimeout = None,
    seed: flags.AbSeed = None,
    count: flags.AbCount = False,
    strict: flags.AbStrict = False,
    explain: flags.AbExplain = None,
    out: flags.AbOut = None,
    resume: flags.AbResume = None,
) -> None:
    """Compare A and B here and now, in turns: is B slower than A?

    A and B are two git revisions, two settings or two Pythons, e.g. bench ab main . compares a
    branch with the working tree.

    Exit codes: 0 nothing got worse, 1 REGRESSED, 2 wrong use, 3 undecided (with --strict), 4 a case
    failed.
    """
    from bench.ab.ab_plan import Asked
    from bench.commands import ab
    from bench.commands import count as counting

    asked = Asked(
        a=a,
        b=b,
        config=config,
        axes=axes,
        subjects=tuple(subject or ()),
        threshold=0.05 if threshold is None else threshold,
        own_threshold=threshold is not None,
        options={
            "budget_s": budget,
            "timeout_s": timeout,
            "seed": seed,
            "weights": weights,
        },
        strict=strict,
        out=out,
        resume=resume,
        pairs=pairs,
        explain=explain,
    )
    _end(counting.run if count else ab.run, asked)


@app.command()
@flags.with_axis_flags
def bisect(
    *,
    axes: Mapping[str, Sequence[str]],
    good: flags.Good = None,
    bad: flags.Bad = None,
    case: flags.BisectCase = "",
    phase: flags.BisectPhase = None,
    config: flags.AbConfig = None,
    subject: flags.Subject = None,
    weights: flags.Weights = None,
    pairs: flags.BisectPairs = None,
    budget: flags.AbBudget = None,
    timeout: flags.AbTimeout = None,
    out: flags.BisectOut = None,
    resume: flags.BisectResume = None,
) -> None:
    """Find the commit between GOOD and BAD that made a case slower or faster.

    GOOD and a commit take turns in fresh processes. Each pair changes the probability of every
    commit, and the next pair goes where it tells most. At 95 %, bench ab compares the commit with
    the one before it.

    Exit codes: 0 found and confirmed, 2 wrong use, 3 not decided, or GOOD and BAD do not differ.
    """
    from bench.bisect.search import MOST_PAIRS
    from bench.commands import bisect

    wanted = bisect.Wanted(
        good=good,
        bad=bad,
        case=case,
        phase=phase,
        config=config,
        axes=axes,
        subjects=tuple(subject or ()),
        options={"budget_s": budget, "timeout_s": timeout, "weights": weights},
        most_pairs=MOST_PAIRS if pairs is None else pairs,
        out=out,
        resume=resume,
    )
    _end(bisect.run, wanted)


@app.command()
def tune(
    *,
    subjects: flags.TuneSubjects = None,
    subject: flags.TuneSubject = None,
    weights: flags.Weights = None,
    mode: flags.Mode = None,
    batch: flags.Batch = None,
    input_: flags.TuneInput = None,
    device: flags.Device = None,
    objective: flags.Objective = "latency",
    max_error: flags.MaxError = None,
    max_memory: flags.MaxMemory = None,
    budget: flags.TuneBudget = 300.0,
    only: flags.Only = None,
    fix: flags.Fix = None,
    timeout: flags.TuneTimeout = 180.0,
    seed: flags.TuneSeed = 0,
    out: flags.TuneOut = None,
    resume: flags.TuneResume = None,
    verify: flags.TuneVerify = None,
) -> None:
    """Find the fastest settings of a network that still compute the right result.

    Settings are timed in fresh processes. Those that may be the fastest are checked against float64
    and raced; the winner is confirmed against the plain setting in fresh pairs. Prints the code to
    paste.

    Exit codes: 0 a setting was found, 1 with --verify: it is wrong or not better here, 2 wrong use,
    4 no setting gave a right result or was checked in time.
    """
    named = [*(subjects or ()), *([subject] if subject else [])]
    if len(named) < 2:
        _start_probe()
    from bench.commands import tune, tune_verify

    given = {"mode": mode, "batch": batch, "input": input_, "device": device}
    if resume is not None:
        others = (*named, *given.values(), weights, max_error, max_memory, only, fix, verify, out)
        if any(others) or (objective, budget) != ("latency", 300.0):
            raise typer.BadParameter("--resume continues a search as it began; give no other flag")
        _end(tune.resume, resume)
    if verify is not None:
        if named:
            raise typer.BadParameter("--verify names its subject in the TOML file; give no other")
        _end(tune_verify.run, verify, budget, timeout)
    if len(named) > 1:
        raise typer.BadParameter(f"one search is for one subject; {len(named)} are given")
    asked = tune.Asked(
        subject=named[0] if named else "convnet",
        axes={name: (value,) for name, value in given.items() if value is not None},
        objective=objective,
        max_error=max_error,
        max_memory=max_memory,
        budget_s=budget,
        only=tuple(only or ()),
        fix=tuple(fix or ()),
        weights=weights,
        timeout_s=timeout,
        seed=seed,
        out=out,
    )
    _end(tune.run, asked)


@app.command()
def report(
    runs: flags.Runs,
    out: flags.ReportOut = None,
) -> None:
    """Write one HTML page: findings in sentences, plots, and every row.

    Two runs are shown side by side, three or more as a history over the commits of the repository
    here. The page needs no network.
    """
    from bench.commands import report

    _end(report.report, runs, out)


@app.command()
def history(
    *,
    runs: flags.HistoryRuns = None,
    case: flags.HistoryCase = None,
    branch: flags.HistoryBranch = "HEAD",
    threshold: flags.HistoryThreshold = 0.05,
    confirm: flags.HistoryConfirm = False,
    budget: flags.HistoryBudget = None,
    strict: flags.HistoryStrict = False,
) -> None:
    """Show what became slower or faster over the commits, and since when.

    Reads a folder of runs, ordered by the first parents of the branch and never by the clock. Runs
    of other machines and other sampling are other series; runs with uncommitted changes do not
    count.

    Exit codes: 0, with --strict 1 if a series is slower, 2 wrong use.
    """
    from bench.commands import history

    asked = history.Asked(
        runs=tuple(runs or ()),
        cases=tuple(case or ()),
        branch=branch,
        threshold=threshold,
        strict=strict,
        confirm=confirm,
        budget_s=budget,
    )
    _end(history.run, asked)


@app.command()
def bless(
    *,
    cases: flags.BlessCases,
    why: flags.BlessWhy,
    at: flags.BlessAt = "HEAD",
) -> None:
    """Accept the level of a case: bench history begins its series anew at a commit.

    Writes bench-blessed.toml at the top of the repository; commit it.
    """
    from bench.commands import bless

    _end(bless.run, bless.Asked(cases=tuple(cases), why=why, at=at))


@app.command()
@flags.with_axis_flags
def backfill(
    *,
    axes: Mapping[str, Sequence[str]],
    commits: flags.BackfillCommits,
    every: flags.BackfillEvery = 1,
    config: flags.AbConfig = None,
    subject: flags.Subject = None,
    weights: flags.Weights = None,
    replicates: flags.Replicates = None,
    budget: flags.BackfillBudget = None,
    timeout: flags.Timeout = None,
    quick: flags.BackfillQuick = False,
    out: flags.BackfillOut = None,
    retry: flags.BackfillRetry = False,
    list_: flags.BackfillList = False,
) -> None:
    """Measure past commits into a store, the newest first.

    Each commit gets a worktree of its own; the working tree is not touched. The suite that measures
    is this one for all of them, and only the subject's code is theirs. What is measured already is
    not measured again, so the same command resumes. A commit that does not build is named and
    skipped.
    """
    from bench.commands import backfill

    asked = backfill.Asked(
        range=commits,
        every=every,
        config=config,
        axes=axes,
        subjects=tuple(subject or ()),
        options={
            "replicates": replicates,
            "budget_s": budget,
            "timeout_s": timeout,
            "weights": weights,
        },
        quick=quick,
        out=out,
        retry=retry,
        list_only=list_,
    )
    _end(backfill.run, asked)


@app.command()
def export(
    run: flags.Run,
    to: flags.To,
    out: flags.ExportOut = None,
) -> None:
    """Write the results of a run as a file for another tool."""
    from bench.commands import export

    _end(export.run, run, to, out)


@app.command()
@flags.with_axis_flags
def profile(
    *,
    axes: Mapping[str, Sequence[str]],
    a: flags.ProfileA = None,
    b: flags.ProfileB = None,
    config: flags.ProfileConfig = None,
    subject: flags.Subject = None,
    weights: flags.Weights = None,
    timeout: flags.Timeout = None,
    rounds: flags.ProfileRounds = None,
    out: flags.ProfileOut = None,
) -> None:
    """Show where time and memory go: traces, layers, operators, memory over time.

    Writes traces for ui.perfetto.dev and CSV files. Times under a profiler are no measurements; use
    bench run for those.

    With A and B, e.g. bench profile main . or bench profile amp=off amp=bfloat16, both are profiled
    in turns, and sentences say which layers and operators make the difference.
    """
    from bench.commands import profile

    if (a is None) != (b is None):
        raise typer.BadParameter(f"A and B belong together; only {a} is given")
    if rounds is not None and rounds < 1:
        raise typer.BadParameter(f"--rounds {rounds}: expected 1 or more")
    if a is not None:
        from bench.ab.ab_plan import Asked
        from bench.commands import profile_pair

        pair = Asked(
            a=a,
            b=b,
            config=config,
            axes=axes,
            subjects=tuple(subject or ()),
            options={"timeout_s": timeout, "weights": weights},
            out=out,
        )
        _end(profile_pair.run, pair, rounds)
    asked = profile.Asked(
        config=config,
        axes=axes,
        subjects=tuple(subject or ()),
        timeout_s=timeout,
        weights=weights,
        out=out,
        rounds=rounds,
    )
    _end(profile.run, asked)


@app.command()
def selftest(
    *,
    quick: flags.SelftestQuick = False,
) -> None:
    """Test the suite on this machine with work of known length, FLOPs and memory.

    Exit codes: 0 all checks passed, 1 a check failed, 4 nothing could be measured, or it stopped
    early.
    """
    from bench.selftest import command

    _end(command.run, quick=quick)


@app.command()
def init(
    subject: flags.InitSubject,
    input_: flags.InitInput = None,
    out: flags.InitOut = None,
    force: flags.Force = False,
) -> None:
    """Write a commented bench.toml for a network of your own."""
    from bench.commands import init
    from bench.plan.config import LOCAL

    _end(init.run, init.Asked(subject=subject, input=input_, out=out or LOCAL, force=force))


@app.command()
def doctor() -> None:
    """Check what this machine lacks or does that would spoil figures, and how to mend it."""
    from bench.commands import doctor

    _end(doctor.run)


def failed(error: Exception) -> int:
    """Say what ended a command outside of `_end`, and return the exit code.

    A fault of this suite has a code of its own, since Python's is that of REGRESSED.
    """
    import traceback

    from bench.core.errors import UserError, one_line, refused

    if type(error).__name__ == "Abort":  # how older versions of typer tell of Ctrl-C
        return INTERRUPTED
    if isinstance(error, OSError):  # --install-completion in a home that cannot be written
        print(f"bench: {one_line(UserError(refused(error)))}", file=sys.stderr)
        return WRONG_USE
    traceback.print_exception(error)
    print("bench: this is a fault of bench; please report it with these lines", file=sys.stderr)
    return INTERNAL


def _start_probe() -> None:
    """Let the probe import torch while this process imports the rest of the command."""
    from bench.host import helper

    _clean_up_when_ended()
    helper.start_early("bench.worker.probe")


def _clean_up_when_ended() -> None:
    """Let the signals that end a process do as Ctrl-C does: the command cleans up."""
    for ending in ("SIGTERM", "SIGHUP"):
        if signal.getsignal(number := getattr(signal, ending)) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _end(command: Callable[P, int], *arguments: P.args, **named: P.kwargs) -> NoReturn:
    """Exit with the command's code; an error that a user can fix is one line on stderr."""
    from bench.core.errors import UserError, one_line, refused

    _clean_up_when_ended()
    try:
        code = command(*arguments, **named)
    except UserError as error:
        print(f"bench: {one_line(error)}", file=sys.stderr)
        code = WRONG_USE
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except OSError as error:  # a full disk or a folder without permission
        print(f"bench: {one_line(UserError(refused(error)))}", file=sys.stderr)
        code = WRONG_USE
    raise typer.Exit(code)
