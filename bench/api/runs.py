"""Run cases in processes of their own, and read the results of a run."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from bench.api.pictures import Pictures, pictures
from bench.api.shown import table
from bench.commands.run import Asked, measured
from bench.compare import speedup
from bench.core import units
from bench.core.axes import BY_NAME, AxisError
from bench.core.errors import UserError
from bench.core.exit_codes import INTERRUPTED
from bench.core.near import did_you_mean
from bench.core.records import Row, whole_phase
from bench.insights import collect, headlines
from bench.plan.config import RunOptions
from bench.results import loading
from bench.results.results import Results
from bench.terminal.progress import wide_console

MOST_ROWS = 40  # of the table in a notebook
Subject = str | Callable[..., Any]
FLAGS: Mapping[str, str] = {"budget": "budget_s", "timeout": "timeout_s"}  # flag → option


class RunError(UserError):
    """A run that cannot be started or read; the message says what to do."""


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """The results of a run.

    results: what the commands of the suite work with.
    """

    results: Results

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.results.path

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each case and phase; `results/README.md` explains the columns."""
        return self.results.frame

    @property
    def samples(self) -> pd.DataFrame:
        """A row for each sample: seconds per call, by case, replicate, phase and kind."""
        return self.results.sample_frame

    @property
    def sentences(self) -> list[str]:
        """The headline, then all findings."""
        found = [one.text for one in collect.of_run(self.results)]
        return [headlines.of_run(self.results), *found]

    @property
    def failures(self) -> dict[str, str]:
        """Return why cases were not measured, by case id."""
        return {
            str(row.case_id): f"{row.status}: {row.reason}"
            for row in self.results.rows
            if row.status != "ok"
        }

    def speedups(self, by: str) -> pd.DataFrame:
        """Return the speedups of a setting's values over the first, a row for each case and phase.

        by: the name of an axis with several values here, such as `memory_format`.

        Raises MatchError.
        """
        found = speedup.within(self.results, by)
        frame = pd.DataFrame(
            [dataclasses.asdict(one) for one in found],
            columns=[one.name for one in dataclasses.fields(speedup.Speedup)],
        )
        frame["verdict"] = speedup.verdicts(found)
        return frame

    def plot(self, name: str) -> Pictures:
        """Draw one of the plots of a run: speedup, latency, throughput, layers, memory …

        Raises PictureError.
        """
        return pictures(self.results, name)

    def __repr__(self) -> str:
        statuses = [row.status for row in {row.case_id: row for row in self.results.rows}.values()]
        failed = sum(one != "ok" for one in statuses)
        end = f", {failed} failed" if failed else ""
        return f"<Run {self.path}: {len(statuses)} cases{end}>"

    def _repr_html_(self) -> str:
        wholes = [row for row in self.results.rows if _is_whole(row)]
        rows = [_cells(row) for row in wholes[:MOST_ROWS]]
        notes = self.sentences[:3]
        if len(wholes) > MOST_ROWS:
            notes = [f"{len(wholes) - MOST_ROWS} more in .frame", *notes]
        head = ("case", "latency", "95 % interval", "images/s", "peak memory", "flags")
        return table(repr(self), head, rows, notes)


def _is_whole(row: Row) -> bool:
    return row.status != "ok" or row.phase == whole_phase(row.mode or "")


def _cells(row: Row) -> tuple[str, ...]:
    if row.status != "ok":
        return (str(row.case_id), str(row.status), "", "", "", str(row.reason or ""))
    low, high = units.seconds(row.latency_low_s), units.seconds(row.latency_high_s)
    return (
        str(row.case_id),
        units.seconds(row.latency_median_s),
        "–" if row.latency_low_s is None else f"{low} to {high}",
        units.count(row.images_per_s),
        units.bytes_(row.peak_bytes),
        ", ".join(row.flag_names),
    )


def load(path: str | PathLike[str]) -> Run:
    """Read the results of a run: its directory, or a measurements.csv.  Raises ReadError."""
    return Run(loading.load(Path(path)))


def run(
    subjects: Subject | Sequence[Subject] = (),
    /,
    *,
    subject: Subject | Sequence[Subject] = (),
    config: str | PathLike[str] | None = None,
    case: str | Sequence[str] = (),
    cases: str | Sequence[str] = (),
    quick: bool = False,
    fresh_peaks: bool = False,
    name: str | None = None,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Measure a sweep, each case in fresh processes, as the command `bench run` does.

    subjects: `package.module:callable`, one or several, or a function or class that can be
              imported; none = those of the configuration.  Also by the name of the flag, `subject`.
    config:   a TOML file.  Without it, and without a bench.toml in the current directory, a
              network of your own is measured in the sweep that the command has for one: whole,
              at each setting that makes sense here.
    case:     case ids; `cases` is another name.
    settings: axes, a value or a list of values: batch=[1, 8], input="3,224,224"; and the options
              of a run: replicates=5, precision=0.1, budget=60, timeout=180, samples_s, warmup_s,
              min_samples, least_replicates, max_replicates, isolation, parallel_devices, seed,
              weights.  `budget_s` and `timeout_s`, as in a TOML file, are other names.
    progress: show what is measured, and the summary at the end.

    All else is as the flags of `bench run`.  Cases that failed are in `failures`.

    Raises UserError with a message in one line; KeyboardInterrupt after the results so far are
    written, and the message names the directory to resume.
    """
    axes, options = _split(settings)
    given = [
        one
        for several in (subjects, subject)
        for one in ([several] if isinstance(several, str) or callable(several) else several)
    ]
    names = tuple(map(name_of_subject, given))
    asked = Asked(
        config=None if config is None else Path(config),
        axes=axes,
        subjects=names,
        cases=(*texts(case), *texts(cases)),
        options=options,
        quick=quick,
        fresh_peaks=fresh_peaks,
        name=name,
        out=None if out is None else Path(out),
        resume=None if resume is None else Path(resume),
    )
    asked = dataclasses.replace(asked, command=_command(asked))
    ran = measured(asked, wide_console(quiet=not progress))
    if ran.code == INTERRUPTED:
        raise KeyboardInterrupt(f"bench.run(resume={str(ran.path)!r}) measures the rest")
    assert ran.path is not None, "only a listing has no directory"
    return load(ran.path)


def texts(given: str | Sequence[str]) -> list[str]:
    """Return a list of what may be a single one."""
    return [given] if isinstance(given, str) else list(given)


def _split(settings: Mapping[str, Any]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Split settings into axes and options.  Raises RunError."""
    axes: dict[str, list[str]] = {}
    options: dict[str, Any] = {}
    for name, value in settings.items():
        if value is None and (name in BY_NAME or FLAGS.get(name, name) in RunOptions.model_fields):
            continue  # not given
        if name in BY_NAME:
            several = isinstance(value, Sequence) and not isinstance(value, str)
            axes[name] = [_checked(name, one) for one in (value if several else [value])]
        elif (option := FLAGS.get(name, name)) in RunOptions.model_fields:
            if option in options:
                raise RunError(f"{option} is given twice: as {option} and as {name}")
            options[option] = value
        else:
            known = [*BY_NAME, *FLAGS, *RunOptions.model_fields]
            near = did_you_mean(name, known)
            raise RunError(
                f"{name!r} is not a setting of a run: choose from {', '.join(known)}{near}"
            )
    return axes, options


def _checked(name: str, value: object) -> str:
    if name == "compile" and value is True:
        value = "default"
    try:
        return BY_NAME[name].check(value)
    except AxisError as error:
        raise RunError(str(error)) from None


def name_of_subject(subject: Subject) -> str:
    """Return the name by which another process finds a subject.  Raises RunError."""
    if isinstance(subject, str):
        return subject
    module = getattr(subject, "__module__", None)
    name = getattr(subject, "__qualname__", None)
    shown = name or type(subject).__name__
    if name is None:
        raise RunError(
            f"a {shown} object has no name that another process could find: give the function or "
            "class that builds it, or use bench.measure, which measures in this process"
        )
    if module in (None, "__main__") or "<" in name:
        raise RunError(
            f"{shown} was made in a notebook or a script, where other processes do not find it: "
            "put it into a file and give 'file:callable', or use bench.measure"
        )
    found: Any = sys.modules.get(str(module))
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not subject and found != subject:  # each look at a method makes another object
        raise RunError(f"{module}:{name} is another object than the one given: give its name")
    return f"{module}:{name}"


def _command(asked: Asked) -> tuple[str, ...]:
    """Return the command that does the same, for run.json and the page."""
    parts = ["bench", "run", *asked.subjects]
    parts += [
        part
        for name, values in asked.axes.items()
        for one in values
        for part in (BY_NAME[name].flag, one)
    ]
    for flag, value in (
        ("--config", asked.config),
        ("--name", asked.name),
        ("--out", asked.out),
        ("--resume", asked.resume),
        *(("--case", one) for one in asked.cases),
        *(
            (f"--{name.removesuffix('_s').replace('_', '-')}", one)
            for name, one in asked.options.items()
        ),
    ):
        if value is True:  # a flag without a value
            parts.append(flag)
        elif value is not None and value is not False:
            parts += [flag, str(value)]
    parts += ["--quick"] if asked.quick else []
    parts += ["--fresh-peaks"] if asked.fresh_peaks else []
    return tuple(parts)
