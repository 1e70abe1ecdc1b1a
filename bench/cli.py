"""The command line: flags in, exit code out.  The only place that prints errors and exits.

The axis flags come from `bench.core.axes`.  What a command needs beyond that is imported when it
runs, so that `bench --help` answers at once.
"""

import inspect
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.core.axes import AXES

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

DISTRIBUTION = "convnet-bench"
OK, REGRESSED, WRONG_USE, UNDECIDED, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 130

SWITCHES = ("--quick", "--list", "--strict", "--force")

Paths = Annotated[Path, typer.Argument(metavar="RUN", help="a run directory or a measurements.csv")]


def with_axis_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add a repeatable flag for every axis; they arrive together as `axes`."""

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
                    help=axis.help + (f" ({', '.join(axis.values)})" if axis.values else ""),
                    metavar="VALUE",
                    show_default=False,
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


def _option(flag: str, help_: str) -> Any:
    return typer.Option(
        flag, help=help_, show_default=False, metavar="" if flag in SWITCHES else "VALUE"
    )


def show_version(wanted: bool) -> None:
    """For `--version`; ends the command."""
    if wanted:
        from importlib import metadata

        try:
            found = metadata.version(DISTRIBUTION)
        except metadata.PackageNotFoundError:  # a checkout on the path
            found = "(not installed: the version is in pyproject.toml)"
        typer.echo(f"{DISTRIBUTION} {found}")
        raise typer.Exit(OK)


@app.callback()
def before_every_command(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="show the version of bench",
            callback=show_version,
            is_eager=True,
            show_default=False,
        ),
    ] = False,
) -> None:
    """Measure what a PyTorch network and each of its layers cost, and say how sure that is."""


@app.command(name="run")
@with_axis_flags
def run_command(
    *,
    axes: Mapping[str, Sequence[str]],
    config: Annotated[
        Path | None, _option("--config", "a TOML file instead of ./bench.toml")
    ] = None,
    subject: Annotated[
        list[str] | None,
        _option(
            "--subject", "convnet, package.module:callable, torch.nn:Conv2d(3, 8, 3), …/layer, …/*"
        ),
    ] = None,
    case: Annotated[list[str] | None, _option("--case", "only this case id (see --list)")] = None,
    replicates: Annotated[
        int | None, _option("--replicates", "fresh interpreters a case (5)")
    ] = None,
    precision: Annotated[
        float | None,
        _option(
            "--precision", "relative half-width to reach, of the interval over replicates (0.10)"
        ),
    ] = None,
    budget: Annotated[
        float | None, _option("--budget", "seconds after which nothing is started")
    ] = None,
    timeout: Annotated[
        float | None, _option("--timeout", "seconds an outcome may take (180)")
    ] = None,
    seed: Annotated[int | None, _option("--seed", "of the order of the cases (0)")] = None,
    quick: Annotated[
        bool, _option("--quick", "three short replicates, within a minute or so")
    ] = False,
    name: Annotated[str | None, _option("--name", "goes into the run directory's name")] = None,
    out: Annotated[Path | None, _option("--out", "the run directory (results/<utc>-…)")] = None,
    resume: Annotated[Path | None, _option("--resume", "go on with this run directory")] = None,
    list_: Annotated[
        bool, _option("--list", "show every case and what is left out; measure nothing")
    ] = False,
) -> None:
    """Measure the sweep: a table here, CSV and plots in the run directory."""
    from bench.commands import run as measure

    _end(
        lambda: measure.run(
            measure.Asked(
                config=config,
                axes={name: tuple(values) for name, values in axes.items() if values},
                subjects=tuple(subject or ()),
                cases=tuple(case or ()),
                options={
                    "replicates": replicates,
                    "precision": precision,
                    "budget_s": budget,
                    "timeout_s": timeout,
                    "seed": seed,
                },
                quick=quick,
                name=name,
                out=out,
                resume=resume,
                list_only=list_,
            )
        )
    )


@app.command()
def compare(
    run: Paths,
    run2: Annotated[Path | None, typer.Argument(metavar="[RUN2]", help="the candidate")] = None,
    by: Annotated[
        str | None, _option("--by", "an axis: what does each of its values gain?")
    ] = None,
) -> None:
    """What each value of an axis gains within a run, or how two runs differ row by row."""
    from bench.commands import check as judge

    _end(lambda: judge.compare(run, run2, by))


@app.command()
def check(
    run: Paths,
    baseline: Annotated[
        Path,
        typer.Option(
            "--baseline", metavar="RUN", help="a run, or a folder of runs: this machine's newest"
        ),
    ],
    threshold: Annotated[float, typer.Option("--threshold", help="what counts as slower")] = 0.05,
    strict: Annotated[
        bool, _option("--strict", "a suspect is exit code 1, what is undecided 3")
    ] = False,
) -> None:
    """Did anything get worse than the stored baseline?  Measures nothing."""
    from bench.commands import check as judge

    _end(lambda: judge.check(run, baseline, threshold, strict=strict))


@app.command()
@with_axis_flags
def ab(
    *,
    axes: Mapping[str, Sequence[str]],
    a: Annotated[
        str | None,
        typer.Argument(
            metavar="A", help="a git revision, . (working tree), axis=value, python=PATH"
        ),
    ] = None,
    b: Annotated[str | None, typer.Argument(metavar="B", help="the same kind of thing")] = None,
    config: Annotated[
        Path | None, _option("--config", "a TOML file instead of ./bench.toml: the cases")
    ] = None,
    subject: Annotated[list[str] | None, _option("--subject", "as for run")] = None,
    threshold: Annotated[
        float | None, _option("--threshold", "what counts as slower (0.05)")
    ] = None,
    pairs: Annotated[
        int | None, _option("--pairs", "fresh pairs of what may be slower, at most (40)")
    ] = None,
    budget: Annotated[
        float | None, _option("--budget", "seconds after which nothing is started")
    ] = None,
    timeout: Annotated[
        float | None, _option("--timeout", "seconds that building or a turn may take (180)")
    ] = None,
    seed: Annotated[
        int | None, _option("--seed", "of the order of cases and turns (drawn)")
    ] = None,
    strict: Annotated[
        bool, _option("--strict", "what is undecided or untrusted is exit code 3")
    ] = False,
    out: Annotated[Path | None, _option("--out", "the directory (results/<utc>-ab-…)")] = None,
    resume: Annotated[
        Path | None,
        _option(
            "--resume",
            "go on with this directory; --pairs adds some; --budget, --timeout, --strict",
        ),
    ] = None,
) -> None:
    """Is B slower than A?  Both are measured here and now, in turns."""
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
                options={"budget_s": budget, "timeout_s": timeout, "seed": seed},
                strict=strict,
                out=out,
                resume=resume,
                pairs=pairs,
            )
        )
    )


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN…",
            help="run directories, the oldest first; and directories of `bench profile`, whose "
            "layers stand beside those that the runs measured alone",
        ),
    ],
    out: Annotated[Path | None, _option("--out", "a folder (the run's own)")] = None,
) -> None:
    """One self-contained HTML page: what the run says, plots, every row.

    With the directory of a profile also each layer alone beside its share inside the network.
    """
    from bench.commands import report as page

    _end(lambda: page.report(runs, out))


@app.command()
@with_axis_flags
def profile(
    *,
    axes: Mapping[str, Sequence[str]],
    config: Annotated[Path | None, _option("--config", "a TOML file: the cases")] = None,
    subject: Annotated[list[str] | None, _option("--subject", "as for run")] = None,
    timeout: Annotated[float | None, _option("--timeout", "seconds a case may take (180)")] = None,
    out: Annotated[Path | None, _option("--out", "the directory (results/<utc>-profile-…)")] = None,
) -> None:
    """Where the time and the memory go: traces, layers, operators, memory over time."""
    from bench.commands import profile as profiling

    _end(
        lambda: profiling.run(
            profiling.Asked(
                config=config,
                axes={name: tuple(values) for name, values in axes.items() if values},
                subjects=tuple(subject or ()),
                timeout_s=timeout,
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
    """Is the suite right on this machine?  Measures known work, a line a check."""
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
    """Exit with the command's code; what a user can mend becomes one line on stderr."""
    from bench.core.errors import UserError, one_line, refused

    for ending in ("SIGTERM", "SIGHUP"):  # as Ctrl-C: what was begun is cleared away
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
    except OSError as error:  # a disk that is full, a folder that is closed
        print(f"bench: {one_line(UserError(refused(error)))}", file=sys.stderr)
        code = WRONG_USE
    raise typer.Exit(code)
