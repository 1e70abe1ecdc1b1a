"""The flags and arguments of the commands, as data: the type of each, its name and its help.

The flags of the axes come from `bench.core.axes`.
"""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.core.axes import AXES, BY_NAME, Axis

SWITCHES = (
    "--quick",
    "--list",
    "--strict",
    "--force",
    "--fresh-peaks",
    "--retry",
    "--confirm",
    "--count",
)
SUBJECT_HELP = (
    "what to measure: convnet, package.module:callable, path/file.py:callable or "
    "torch.nn:Conv2d(3, 8, 3); append /layer for one layer, /* for all layers"
)

WEIGHTS_HELP = (
    "load this state dict, or the one in this checkpoint, into each subject but convnet, before "
    "anything is measured [default: the weights that the subject is built with]"
)


def with_axis_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Add a repeatable flag for every axis; the command gets those that were given as `axes`.

    Typer reads flags from the signature and has no other way to add them from a list.
    """

    def run(**given: Any) -> None:
        asked = {axis.name: tuple(given.pop(axis.name) or ()) for axis in AXES}
        command(axes={name: values for name, values in asked.items() if values}, **given)

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
    """Return the values that a shell can offer; those that an axis lists, or has by name."""
    if axis.name == "device":
        return ("auto", "cpu", "cuda:0", "mps", "xpu:0")
    return axis.values or tuple(filter(None, [axis.default]))


def _completing(words: Sequence[str]) -> Callable[[str], list[str]]:
    """Return completions for the beginning of a word."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def _axis_help(axis: Axis) -> str:
    """Return the effect of the axis, its values and its default."""
    values = f"one of {', '.join(axis.values)}" if axis.values else ""
    default = f"default: {axis.default}" if axis.default else ""
    notes = "; ".join(filter(None, (values, default)))
    return f"{axis.help} [{notes}]" if notes else axis.help


def option(
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


Comparable = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="a run directory, a measurements.csv, or a directory of bench profile"
    ),
]
Paths = Annotated[Path, typer.Argument(metavar="RUN", help="a run directory or a measurements.csv")]


# of bench run
RunSubjects = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SUBJECT]…", help="as --subject", show_default=False),
]
RunConfig = Annotated[
    Path | None,
    option(
        "--config",
        "TOML file with the sweep [default: ./bench.toml if it exists, else a built-in one]",
        "FILE",
    ),
]

# of bench run, ab, profile
Subject = Annotated[list[str] | None, option("--subject", SUBJECT_HELP, "SUBJECT", ("convnet",))]

# of bench run, ab, tune, profile
Weights = Annotated[str | None, option("--weights", WEIGHTS_HELP, "FILE")]

# of bench run
CaseIds = Annotated[
    list[str] | None,
    option("--case", "measure only this case id; --list shows all ids", "ID"),
]
Replicates = Annotated[
    int | None,
    option("--replicates", "measure every case in N fresh processes [default: 5]", "N"),
]
Precision = Annotated[
    float | None,
    option(
        "--precision",
        "add replicates until half of the 95 % interval is below this share of the time "
        "[default: 0.10]",
        "SHARE",
    ),
]
RunBudget = Annotated[
    float | None,
    option(
        "--budget",
        "start nothing new after this time, accelerators included [default: as in the TOML]",
        "SECONDS",
    ),
]

# of bench run, profile
Timeout = Annotated[
    float | None,
    option("--timeout", "end a case that takes longer than this [default: 180]", "SECONDS"),
]

# of bench run
RunSeed = Annotated[
    int | None, option("--seed", "seed for the order of the cases [default: 0]", "N")
]
RunQuick = Annotated[
    bool,
    option(
        "--quick",
        "measure whole networks alone, in three short replicates, in about a minute, with a "
        "minute more for each accelerator",
    ),
]
FreshPeaks = Annotated[
    bool,
    option(
        "--fresh-peaks",
        "measure the machine's peaks again; else those of the last day are used",
    ),
]
Name = Annotated[str | None, option("--name", "add this to the name of the run directory", "NAME")]
RunOut = Annotated[Path | None, option("--out", "run directory [default: results/<time>-…]", "DIR")]
RunResume = Annotated[
    Path | None,
    option(
        "--resume",
        "continue this run directory; only --replicates, --precision, --budget and --timeout "
        "can be given with it",
        "DIR",
    ),
]
ListOnly = Annotated[
    bool,
    option("--list", "show the cases, the left-out combinations and the duration, then exit"),
]

# of bench compare
Run2 = Annotated[
    Path | None, typer.Argument(metavar="[RUN2]", help="the candidate; RUN is the baseline")
]
By = Annotated[
    str | None,
    option(
        "--by",
        "show the speedup of each value of this axis, e.g. memory_format",
        "AXIS",
        tuple(BY_NAME),
    ),
]

# of bench check
Baseline = Annotated[
    Path,
    typer.Option(
        "--baseline",
        metavar="RUN",
        help="the run to compare with, or a folder of runs: the newest of this machine is the "
        "baseline, the others are its history",
    ),
]
CheckThreshold = Annotated[
    float,
    typer.Option(
        "--threshold", metavar="SHARE", help="the smallest slowdown that counts, 0.05 = 5 %"
    ),
]
CheckStrict = Annotated[
    bool,
    option("--strict", "exit with 1 for a SUSPECT, and with 3 for a case that is undecided"),
]

# of bench ab
SideA = Annotated[
    str | None,
    typer.Argument(
        metavar="A",
        help="the baseline: a git revision, . (the working tree), axis=value, or python=PATH",
    ),
]
SideB = Annotated[str | None, typer.Argument(metavar="B", help="the candidate, of the same kind")]
AbConfig = Annotated[
    Path | None,
    option(
        "--config",
        "TOML file with the cases [default: ./bench.toml if it exists, else the ConvNet]",
        "FILE",
    ),
]
AbThreshold = Annotated[
    float | None,
    option("--threshold", "the smallest slowdown that counts [default: 0.05 = 5 %]", "SHARE"),
]
Pairs = Annotated[
    int | None,
    option(
        "--pairs",
        "measure at most N fresh pairs of a case that may be slower [default: 40]",
        "N",
    ),
]
AbBudget = Annotated[
    float | None,
    option("--budget", "start no pair after this time [default: no limit]", "SECONDS"),
]
AbTimeout = Annotated[
    float | None,
    option(
        "--timeout",
        "end a process whose start or turn takes longer than this [default: 180]",
        "SECONDS",
    ),
]
AbSeed = Annotated[
    int | None,
    option("--seed", "seed for the order of cases and turns [default: random]", "N"),
]
AbStrict = Annotated[bool, option("--strict", "exit with 3 if a case is undecided or untrusted")]
AbOut = Annotated[
    Path | None, option("--out", "output directory [default: results/<time>-ab-…]", "DIR")
]
AbResume = Annotated[
    Path | None,
    option(
        "--resume",
        "continue this directory; --pairs adds pairs; only --budget, --timeout, --strict and "
        "--no-explain can be given as well",
        "DIR",
    ),
]

# of bench bisect
Good = Annotated[str | None, typer.Argument(metavar="GOOD", help="an older revision, e.g. v1.0")]
Bad = Annotated[str | None, typer.Argument(metavar="BAD", help="a newer revision, e.g. HEAD")]
BisectCase = Annotated[
    str,
    option(
        "--case",
        "choose the case with these words in its name [default: the flags select one case]",
        "'training N=8'",
        (),
    ),
]
BisectPhase = Annotated[
    str | None,
    option(
        "--phase",
        "compare this phase of a step [default: the whole call]",
        "PHASE",
        ("forward", "backward", "optimizer"),
    ),
]
BisectPairs = Annotated[
    int | None, option("--pairs", "measure at most N pairs in the search [default: 80]", "N")
]
BisectOut = Annotated[
    Path | None, option("--out", "output directory [default: results/<time>-bisect-…]", "DIR")
]
BisectResume = Annotated[Path | None, option("--resume", "continue this directory", "DIR")]

# of bench tune
TuneSubjects = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SUBJECT]", help="as --subject", show_default=False),
]
TuneSubject = Annotated[str | None, option("--subject", SUBJECT_HELP, "SUBJECT")]
Mode = Annotated[str | None, option("--mode", "inference [default] or training")]
Batch = Annotated[
    str | None,
    option(
        "--batch",
        "images per call [default: 32]; for throughput the size from which it is doubled",
        "N",
    ),
]
TuneInput = Annotated[
    str | None, option("--input", "input shape without the batch, e.g. 3,224,224")
]
Device = Annotated[str | None, option("--device", "[default: the first accelerator, else the CPU]")]
Objective = Annotated[
    str,
    option("--objective", "latency [default], throughput, memory or energy"),
]
MaxError = Annotated[
    float | None,
    option(
        "--max-error",
        "refuse settings with a larger relative error against float64 [default: what rounding "
        "in their own precision explains]",
        "SHARE",
    ),
]
MaxMemory = Annotated[
    float | None, option("--max-memory", "refuse settings with a larger peak", "BYTES")
]
TuneBudget = Annotated[
    float, option("--budget", "start nothing new after this time [default: 300]", "SECONDS")
]
Only = Annotated[
    list[str] | None,
    option("--only", "search this axis; can be repeated [default: all]", "AXIS"),
]
Fix = Annotated[
    list[str] | None,
    option("--fix", "give all settings this value, e.g. memory_format=contiguous"),
]
TuneTimeout = Annotated[
    float,
    option("--timeout", "end a case that takes longer than this [default: 180]", "SECONDS"),
]
TuneSeed = Annotated[int, option("--seed", "seed for the order of cases [default: 0]", "N")]
TuneOut = Annotated[
    Path | None, option("--out", "output directory [default: results/<time>-tune-…]", "DIR")
]

# of bench report
Runs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN…",
        help="run directories, the oldest first, or a folder of them; a directory of `bench "
        "profile` as well adds each layer's share inside the network, one of `bench profile A B` "
        "or `bench ab` the causes of a difference",
    ),
]
ReportOut = Annotated[
    Path | None,
    option(
        "--out",
        "folder for the page [default: that of the run; a new one for several runs]",
        "DIR",
    ),
]

# of bench export
Run = Annotated[Path, typer.Argument(metavar="RUN", help="run directory")]
To = Annotated[
    str,
    option(
        "--to",
        "format: pytest-benchmark, github-action-benchmark, bencher, asv or parquet",
        "FORMAT",
    ),
]
ExportOut = Annotated[
    Path | None,
    option("--out", "file to write; asv and parquet need it [default: standard output]", "FILE"),
]

# of bench profile
ProfileConfig = Annotated[
    Path | None,
    option("--config", "TOML file with the cases [default: the ConvNet at 8 images]", "FILE"),
]
ProfileOut = Annotated[
    Path | None, option("--out", "output directory [default: results/<time>-profile-…]", "DIR")
]

# of bench selftest
SelftestQuick = Annotated[bool, option("--quick", "under a minute: shorter samples, no compiler")]

# of bench init
InitSubject = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="package.module:callable or my/models.py:make")
]
InitInput = Annotated[str | None, option("--input", "its shape without the batch, e.g. 3,224,224")]
InitOut = Annotated[Path | None, option("--out", "the file to write (bench.toml)")]
Force = Annotated[bool, option("--force", "replace a file that is there")]

# of bench history
HistoryRuns = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[RUNS]…",
        help="folders of runs, or run directories [default: results/history]",
        show_default=False,
    ),
]
HistoryCase = Annotated[
    list[str] | None,
    option("--case", "show only this case id, or those that match, e.g. '*:training:*'", "ID"),
]
HistoryBranch = Annotated[
    str,
    option("--branch", "order the runs along this branch [default: HEAD]", "REV"),
]
HistoryThreshold = Annotated[
    float,
    option("--threshold", "the smallest change that counts [default: 0.05 = 5 %]", "SHARE"),
]
HistoryConfirm = Annotated[
    bool,
    option(
        "--confirm",
        "compare the two commits around each finding in turns, as bench ab; what is not "
        "confirmed is taken back",
    ),
]
HistoryBudget = Annotated[
    float | None,
    option(
        "--budget",
        "with --confirm: start no pair of a comparison after this time [default: no limit]",
        "SECONDS",
    ),
]
HistoryStrict = Annotated[
    bool, option("--strict", "exit with 1 if a series is slower and that is not taken back")
]

# of bench bless
BlessCases = Annotated[
    list[str],
    typer.Argument(metavar="CASE…", help="case ids, or patterns such as 'convnet:training:*'"),
]
BlessWhy = Annotated[
    str,
    typer.Option("-m", "--why", metavar="WHY", help="why this level is right", show_default=False),
]
BlessAt = Annotated[
    str, option("--at", "the first commit that has the level [default: HEAD]", "REV")
]

# of bench backfill
BackfillCommits = Annotated[
    str,
    typer.Argument(metavar="REV..REV", help="the commits after the first, e.g. HEAD~40..HEAD"),
]
BackfillEvery = Annotated[
    int, option("--every", "measure every N-th commit [default: 1, all of them]", "N")
]
BackfillBudget = Annotated[
    float | None,
    option(
        "--budget",
        "start nothing new after this time, per commit [default: as in the TOML]",
        "SECONDS",
    ),
]
BackfillQuick = Annotated[
    bool, option("--quick", "three short replicates of each case, as bench run --quick")
]
BackfillOut = Annotated[
    Path | None,
    option("--out", "the store that gets the runs [default: results/history]", "DIR"),
]
BackfillRetry = Annotated[
    bool,
    option("--retry", "measure again what failed before, or what other work disturbed"),
]
BackfillList = Annotated[
    bool, option("--list", "show the commits that are not measured yet, then exit")
]

# of bench ab
AbExplain = Annotated[
    bool | None,
    typer.Option(
        "--explain/--no-explain",
        help="profile what changed and name the causes: REGRESSED and IMPROVED cases, or none "
        "[default: REGRESSED cases, if the budget has time left]",
        show_default=False,
    ),
]

# of bench profile
ProfileA = Annotated[
    str | None,
    typer.Argument(
        metavar="[A]",
        help="compare two variants: a git revision, . (the working tree), axis=value, or "
        "python=PATH",
        show_default=False,
    ),
]
ProfileB = Annotated[
    str | None,
    typer.Argument(metavar="[B]", help="the candidate, of the same kind", show_default=False),
]
ProfileRounds = Annotated[
    int | None,
    option(
        "--rounds",
        "profile each case in N processes, which shows the noise of each part [default: 3; 5 "
        "of each side for A and B]",
        "N",
    ),
]

# of bench run_command
Shard = Annotated[
    str | None,
    option(
        "--shard",
        "measure the replicates of one of N machines; `bench merge` joins the directories "
        "[default: those of all]",
        "I/N",
    ),
]

# of bench merge
MergeShards = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR…", help="directories of `bench run --shard`, or a folder that has them"
    ),
]
MergeOut = Annotated[
    Path,
    typer.Option("--out", metavar="DIR", help="the new run directory", show_default=False),
]

# of bench fleet
FleetConfig = Annotated[
    Path | None,
    option("--config", "as for `bench run`; a file inside this folder", "FILE"),
]
FleetCase = Annotated[list[str] | None, option("--case", "measure only this case id", "ID")]
FleetReplicates = Annotated[
    int | None,
    option("--replicates", "measure N replicates on each kind of machine [default: 5]", "N"),
]
FleetBudget = Annotated[
    float | None,
    option("--budget", "start nothing new in a replicate after this time", "SECONDS"),
]
FleetQuick = Annotated[bool, option("--quick", "as for `bench run`")]
FleetName = Annotated[str | None, option("--name", "add this to the name of the directory", "NAME")]
FleetAddress = Annotated[
    str,
    option("--address", "of the cluster's head [default: auto, a head on this machine]"),
]
FleetOut = Annotated[
    Path | None, option("--out", "output directory [default: results/<time>-fleet-…]", "DIR")
]
FleetResume = Annotated[
    Path | None,
    option("--resume", "continue this directory; only --address can be given with it", "DIR"),
]

# of bench ab
AbCount = Annotated[
    bool,
    option(
        "--count",
        "compare the instructions of a call instead of its time: exact, for host work on the "
        "CPU (Python, dispatch, optimizer)",
    ),
]

# of bench run_command
Isolation = Annotated[
    str | None,
    option(
        "--isolation",
        "process = each case in a process of its own; session = one process for each device and "
        "replicate, which saves starts but lets a case find what others left [default: process]",
        "HOW",
        ("process", "session"),
    ),
]

ParallelDevices = Annotated[
    bool,
    option(
        "--parallel-devices",
        "measure cases of different devices at the same time, which is sooner but lets one device "
        "disturb another; flagged parallel",
    ),
]

# of bench tune
TuneResume = Annotated[
    Path | None,
    option("--resume", "continue the interrupted search of this directory", "DIR"),
]
TuneVerify = Annotated[
    Path | None,
    option(
        "--verify",
        "measure the best.toml of an earlier search again, and search nothing",
        "TOML",
    ),
]
