"""The command line: flags in, exit code out.  Only this module prints errors and exits.

The flags of the axes come from `bench.core.axes`.  Everything else that a command needs is imported
when it runs, so that `bench --help` answers at once.
"""

import inspect
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.core.axes import AXES, BY_NAME, Axis

BEGAN_S = time.monotonic()  # before what a command imports

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

DISTRIBUTION = "convnet-bench"
OK, REGRESSED, WRONG_USE, UNDECIDED, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 130

SWITCHES = ("--quick", "--list", "--strict", "--force", "--fresh-peaks")
SUBJECT_HELP = (
    "what to measure: convnet, package.module:callable, path/file.py:callable or "
    "torch.nn:Conv2d(3, 8, 3); append /layer for one layer, /* for all layers"
)

WEIGHTS_HELP = (
    "load this state dict, or the one in this checkpoint, into each subject but convnet, before "
    "anything is measured [default: the weights that the subject is built with]"
)

Paths = Annotated[Path, typer.Argument(metavar="RUN", help="a run directory or a measurements.csv")]


def with_axis_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add a repeatable flag for every axis; the command gets all of them as `axes`.

    Typer reads flags from the signature and has no other way to add them from a list.
    """

    def run(**given: Any) -> None:
        axes = {axis.name: given.pop(axis.name) or [] for axis in AXES}
        command(axes=axes, **given)

    signature = inspect.signature(command, eval_str=True)
    own = [one for name, one in signature.parameters.items() if name != "axes"]
    flags = [
        inspect.Parameter(
            axis.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                list[str] | None,
                typer.Option(
                    axis.flag,
                    help=_axis_help(axis),
                    metavar="VALUE",
                    show_default=False,
                    autocompletion=_completing(_values_of(axis)),
                ),
            ],
        )
        for axis in AXES
    ]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + flags
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _values_of(axis: Axis) -> tuple[str, ...]:
    """The values that a shell can offer; those that an axis lists, or has by name."""
    if axis.name == "device":
        return ("auto", "cpu", "cuda:0", "mps", "xpu:0")
    return axis.values or tuple(filter(None, [axis.default]))


def _completing(words: Sequence[str]) -> Callable[[str], list[str]]:
    """Return completions for the beginning of a word."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def _axis_help(axis: Axis) -> str:
    """The effect of the axis, its values and its default."""
    values = f"one of {', '.join(axis.values)}" if axis.values else ""
    default = f"default: {axis.default}" if axis.default else ""
    notes = "; ".join(filter(None, (values, default)))
    return f"{axis.help} [{notes}]" if notes else axis.help


def _option(
    flag: str, help_: str, metavar: str = "VALUE", words: Sequence[str] | None = None
) -> Any:
    """words: that a shell offers; None = files."""
    return typer.Option(
        flag,
        help=help_,
        show_default=False,
        metavar="" if flag in SWITCHES else metavar,
        autocompletion=None if words is None else _completing(words),
    )


def show_version(wanted: bool) -> None:
    """Print the version and end the command."""
    if wanted:
        from importlib import metadata

        try:
            found = metadata.version(DISTRIBUTION)
        except metadata.PackageNotFoundError:  # a checkout on the path
            found = "(not installed; pyproject.toml has the version)"
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
@with_axis_flags
def run_command(
    *,
    axes: Mapping[str, Sequence[str]],
    subjects: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUBJECT]…", help="as --subject", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        _option(
            "--config",
            "TOML file with the sweep [default: ./bench.toml if it exists, else a built-in one]",
            "FILE",
        ),
    ] = None,
    subject: Annotated[
        list[str] | None, _option("--subject", SUBJECT_HELP, "SUBJECT", ("convnet",))
    ] = None,
    weights: Annotated[str | None, _option("--weights", WEIGHTS_HELP, "FILE")] = None,
    case: Annotated[
        list[str] | None,
        _option("--case", "measure only this case id; --list shows all ids", "ID"),
    ] = None,
    replicates: Annotated[
        int | None,
        _option("--replicates", "measure every case in N fresh processes [default: 5]", "N"),
    ] = None,
    precision: Annotated[
        float | None,
        _option(
            "--precision",
            "add replicates until half of the 95 % interval is below this share of the time "
            "[default: 0.10]",
            "SHARE",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        _option(
            "--budget",
            "start nothing new after this time, accelerators included [default: as in the TOML]",
            "SECONDS",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        _option("--timeout", "end a case that takes longer than this [default: 180]", "SECONDS"),
    ] = None,
    seed: Annotated[
        int | None, _option("--seed", "seed for the order of the cases [default: 0]", "N")
    ] = None,
    quick: Annotated[
        bool,
        _option(
            "--quick",
            "measure whole networks alone, in three short replicates, in about a minute, with two "
            "minutes more for each accelerator",
        ),
    ] = False,
    fresh_peaks: Annotated[
        bool,
        _option(
            "--fresh-peaks",
            "measure the machine's peaks again; else those of the last day are used",
        ),
    ] = False,
    name: Annotated[
        str | None, _option("--name", "add this to the name of the run directory", "NAME")
    ] = None,
    out: Annotated[
        Path | None, _option("--out", "run directory [default: results/<time>-…]", "DIR")
    ] = None,
    resume: Annotated[
        Path | None,
        _option(
            "--resume",
            "continue this run directory; only --replicates, --precision, --budget and --timeout "
            "can be given with it",
            "DIR",
        ),
    ] = None,
    list_: Annotated[
        bool,
        _option("--list", "show the cases, the left-out combinations and the duration, then exit"),
    ] = False,
) -> None:
    """Measure the sweep, or your own model, and write a run directory.

    Prints a table; the run directory has CSV files and plots.

    The flags from --mode on are axes. Each replaces the values of that axis in the sweep and can be
    repeated: --batch 1 --batch 8. A default holds if no flag and no TOML file sets the axis.

    In the TOML file, on = "cpu" or on = "accelerators" in a [[sweep]] limits it to devices of that
    sort. In [run], budget_s is the time without accelerators, and accelerator_budget_s is added for
    each accelerator that is measured.
    """
    from bench.commands import run as measure

    _end(
        lambda: measure.run(
            measure.Asked(
                config=config,
                axes={name: tuple(values) for name, values in axes.items() if values},
                subjects=(*(subjects or ()), *(subject or ())),
                cases=tuple(case or ()),
                options={
                    "replicates": replicates,
                    "precision": precision,
                    "budget_s": budget,
                    "timeout_s": timeout,
                    "seed": seed,
                    "weights": weights,
                },
                quick=quick,
                name=name,
                out=out,
                resume=resume,
                list_only=list_,
                fresh_peaks=fresh_peaks,
                began_s=BEGAN_S,
            )
        )
    )


@app.command()
def compare(
    run: Paths,
    run2: Annotated[
        Path | None, typer.Argument(metavar="[RUN2]", help="the candidate; RUN is the baseline")
    ] = None,
    by: Annotated[
        str | None,
        _option(
            "--by",
            "show the speedup of each value of this axis, e.g. memory_format",
            "AXIS",
            tuple(BY_NAME),
        ),
    ] = None,
) -> None:
    """Compare the settings within a run (--by), or two runs row by row.

    Reads results and measures nothing.
    """
    from bench.commands import check as reading

    _end(lambda: reading.compare(run, run2, by))


@app.command()
def check(
    run: Paths,
    baseline: Annotated[
        Path,
        typer.Option(
            "--baseline",
            metavar="RUN",
            help="the run to compare with, or a folder of runs: the newest of this machine is the "
            "baseline, the others are its history",
        ),
    ],
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold", metavar="SHARE", help="the smallest slowdown that counts, 0.05 = 5 %"
        ),
    ] = 0.05,
    strict: Annotated[
        bool,
        _option("--strict", "exit with 1 for a SUSPECT, and with 3 for a case that is undecided"),
    ] = False,
) -> None:
    """Check a run against a stored baseline: did anything get worse?

    Reads results and measures nothing.

    Exit codes: 0 nothing got worse, 1 REGRESSED, 2 wrong use, 3 SUSPECT, 4 a case failed.
    """
    from bench.commands import check as reading

    _end(lambda: reading.check(run, baseline, threshold, strict=strict))


@app.command()
@with_axis_flags
def ab(
    *,
    axes: Mapping[str, Sequence[str]],
    a: Annotated[
        str | None,
        typer.Argument(
            metavar="A",
            help="the baseline: a git revision, . (the working tree), axis=value, or python=PATH",
        ),
    ] = None,
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="the candidate, of the same kind")
    ] = None,
    config: Annotated[
        Path | None,
        _option(
            "--config",
            "TOML file with the cases [default: ./bench.toml if it exists, else the ConvNet]",
            "FILE",
        ),
    ] = None,
    subject: Annotated[
        list[str] | None, _option("--subject", SUBJECT_HELP, "SUBJECT", ("convnet",))
    ] = None,
    weights: Annotated[str | None, _option("--weights", WEIGHTS_HELP, "FILE")] = None,
    threshold: Annotated[
        float | None,
        _option("--threshold", "the smallest slowdown that counts [default: 0.05 = 5 %]", "SHARE"),
    ] = None,
    pairs: Annotated[
        int | None,
        _option(
            "--pairs",
            "measure at most N fresh pairs of a case that may be slower [default: 40]",
            "N",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        _option("--budget", "start no pair after this time [default: no limit]", "SECONDS"),
    ] = None,
    timeout: Annotated[
        float | None,
        _option(
            "--timeout",
            "end a process whose start or turn takes longer than this [default: 180]",
            "SECONDS",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        _option("--seed", "seed for the order of cases and turns [default: random]", "N"),
    ] = None,
    strict: Annotated[
        bool, _option("--strict", "exit with 3 if a case is undecided or untrusted")
    ] = False,
    out: Annotated[
        Path | None, _option("--out", "output directory [default: results/<time>-ab-…]", "DIR")
    ] = None,
    resume: Annotated[
        Path | None,
        _option(
            "--resume",
            "continue this directory; --pairs adds pairs; only --budget, --timeout and --strict "
            "can be given as well",
            "DIR",
        ),
    ] = None,
) -> None:
    """Compare A and B here and now, in turns: is B slower than A?

    A and B are two git revisions, two settings or two Pythons, e.g. bench ab main . compares a
    branch with the working tree.

    Exit codes: 0 nothing got worse, 1 REGRESSED, 2 wrong use, 3 undecided (with --strict), 4 a case
    failed.
    """
    from bench.ab.plan import Asked
    from bench.commands import ab as comparison

    _end(
        lambda: comparison.run(
            Asked(
                a=a,
                b=b,
                config=config,
                axes={name: tuple(values) for name, values in axes.items() if values},
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
            )
        )
    )


@app.command()
def tune(
    *,
    subjects: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUBJECT]", help="as --subject", show_default=False),
    ] = None,
    subject: Annotated[str | None, _option("--subject", SUBJECT_HELP, "SUBJECT")] = None,
    weights: Annotated[str | None, _option("--weights", WEIGHTS_HELP, "FILE")] = None,
    mode: Annotated[str | None, _option("--mode", "inference [default] or training")] = None,
    batch: Annotated[
        str | None,
        _option(
            "--batch",
            "images per call [default: 32]; for throughput the size from which it is doubled",
            "N",
        ),
    ] = None,
    input_: Annotated[
        str | None, _option("--input", "input shape without the batch, e.g. 3,224,224")
    ] = None,
    device: Annotated[
        str | None, _option("--device", "[default: the first accelerator, else the CPU]")
    ] = None,
    objective: Annotated[
        str,
        _option("--objective", "latency [default], throughput, memory or energy"),
    ] = "latency",
    max_error: Annotated[
        float | None,
        _option(
            "--max-error",
            "refuse settings with a larger relative error against float64 [default: what rounding "
            "in their own precision explains]",
            "SHARE",
        ),
    ] = None,
    max_memory: Annotated[
        float | None, _option("--max-memory", "refuse settings with a larger peak", "BYTES")
    ] = None,
    budget: Annotated[
        float, _option("--budget", "start nothing new after this time [default: 300]", "SECONDS")
    ] = 300.0,
    only: Annotated[
        list[str] | None,
        _option("--only", "search this axis; can be repeated [default: all]", "AXIS"),
    ] = None,
    fix: Annotated[
        list[str] | None,
        _option("--fix", "give all settings this value, e.g. memory_format=contiguous"),
    ] = None,
    timeout: Annotated[
        float,
        _option("--timeout", "end a case that takes longer than this [default: 180]", "SECONDS"),
    ] = 180.0,
    seed: Annotated[int, _option("--seed", "seed for the order of cases [default: 0]", "N")] = 0,
    out: Annotated[
        Path | None, _option("--out", "output directory [default: results/<time>-tune-…]", "DIR")
    ] = None,
    resume: Annotated[
        Path | None,
        _option("--resume", "continue the interrupted search of this directory", "DIR"),
    ] = None,
    verify: Annotated[
        Path | None,
        _option(
            "--verify",
            "measure the best.toml of an earlier search again, and search nothing",
            "TOML",
        ),
    ] = None,
) -> None:
    """Find the fastest settings of a network that still compute the right result.

    Every setting is checked against float64, then raced in fresh processes; the winner is confirmed
    against the plain setting in fresh pairs. Prints the code to paste.

    Exit codes: 0 a setting was found, 1 with --verify: it is wrong or not faster here, 2 wrong use,
    4 no setting gave a right result.
    """
    from bench.commands import tune as tuning

    if resume is not None:
        if subjects or subject or verify or out:
            raise typer.BadParameter(
                "--resume goes on with what that search was; give no other flag"
            )
        directory = resume
        _end(lambda: tuning.resume(directory))
        return
    if verify is not None:
        from bench.commands import tune_verify

        if subjects or subject:
            raise typer.BadParameter("--verify names its subject in the TOML file; give no other")
        path = verify
        _end(lambda: tune_verify.run(path, budget, timeout))
        return
    given = {"mode": mode, "batch": batch, "input": input_, "device": device}
    named = [*(subjects or ()), *([subject] if subject else [])]
    if len(named) > 1:
        raise typer.BadParameter(f"one search is for one subject; {len(named)} are given")
    _end(
        lambda: tuning.run(
            tuning.Asked(
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
        )
    )


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN…",
            help="run directories, the oldest first; a directory of `bench profile` as well adds "
            "each layer's share inside the network",
        ),
    ],
    out: Annotated[
        Path | None,
        _option(
            "--out",
            "folder for the page [default: that of the run; a new one for several runs]",
            "DIR",
        ),
    ] = None,
) -> None:
    """Write one HTML page: findings in sentences, plots, and every row.

    Two runs are shown side by side, three or more as a history. The page needs no network.
    """
    from bench.commands import report as page

    _end(lambda: page.report(runs, out))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run directory")],
    to: Annotated[
        str,
        _option(
            "--to",
            "format: pytest-benchmark, github-action-benchmark, bencher, asv or parquet",
            "FORMAT",
        ),
    ],
    out: Annotated[
        Path | None,
        _option(
            "--out", "file to write; for asv its results folder [default: standard output]", "FILE"
        ),
    ] = None,
) -> None:
    """Write the results of a run as a file for another tool."""
    from bench.commands import export as exporting

    _end(lambda: exporting.run(run, to, out))


@app.command()
@with_axis_flags
def profile(
    *,
    axes: Mapping[str, Sequence[str]],
    config: Annotated[
        Path | None,
        _option("--config", "TOML file with the cases [default: the ConvNet at 8 images]", "FILE"),
    ] = None,
    subject: Annotated[
        list[str] | None, _option("--subject", SUBJECT_HELP, "SUBJECT", ("convnet",))
    ] = None,
    weights: Annotated[str | None, _option("--weights", WEIGHTS_HELP, "FILE")] = None,
    timeout: Annotated[
        float | None,
        _option("--timeout", "end a case that takes longer than this [default: 180]", "SECONDS"),
    ] = None,
    out: Annotated[
        Path | None, _option("--out", "output directory [default: results/<time>-profile-…]", "DIR")
    ] = None,
) -> None:
    """Show where time and memory go: traces, layers, operators, memory over time.

    Writes traces for ui.perfetto.dev and CSV files. Times under a profiler are no measurements; use
    bench run for those.
    """
    from bench.commands import profile as profiling

    _end(
        lambda: profiling.run(
            profiling.Asked(
                config=config,
                axes={name: tuple(values) for name, values in axes.items() if values},
                subjects=tuple(subject or ()),
                timeout_s=timeout,
                weights=weights,
                out=out,
            )
        )
    )


@app.command()
def selftest(
    *,
    quick: Annotated[
        bool, _option("--quick", "under a minute: shorter samples, no compiler")
    ] = False,
) -> None:
    """Test the suite on this machine with work of known length, FLOPs and memory.

    Exit codes: 0 all checks passed, 1 a check failed, 4 nothing could be measured.
    """
    from bench.selftest import command

    _end(lambda: command.run(quick=quick))


@app.command()
def init(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="package.module:callable or my/models.py:make")
    ],
    input_: Annotated[
        str | None, _option("--input", "its shape without the batch, e.g. 3,224,224")
    ] = None,
    out: Annotated[Path | None, _option("--out", "the file to write (bench.toml)")] = None,
    force: Annotated[bool, _option("--force", "replace a file that is there")] = False,
) -> None:
    """Write a commented bench.toml for a network of your own."""
    from bench.commands import init as template
    from bench.plan.config import LOCAL

    _end(
        lambda: template.run(
            template.Asked(subject=subject, input=input_, out=out or LOCAL, force=force)
        )
    )


@app.command()
def doctor() -> None:
    """Check what this machine lacks or does that would spoil figures, and how to mend it."""
    from bench.commands import doctor as system_check

    _end(system_check.run)


def _end(command: Callable[[], int]) -> None:
    """Exit with the command's code; an error that a user can fix is one line on stderr."""
    from bench.core.errors import UserError, one_line, refused

    for ending in ("SIGTERM", "SIGHUP"):  # like Ctrl-C: the command cleans up
        if signal.getsignal(number := getattr(signal, ending)) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        code = command()
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
