"""Read a store: a folder of run directories, in any depth.  Nothing in it is ever rewritten."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.core.axes import AXES
from bench.core.records import Row, whole_phase
from bench.results import directory_kind
from bench.results.corrected import FACTOR
from bench.results.csv_files import MEASUREMENTS
from bench.results.loading import ReadError, description, read_columns
from bench.results.results import Results
from bench.results.run_json import Description, Identity, Sampling
from bench.verdict.exact_metrics import COUNTED

STORE = Path("results/history")
CONFIRMED = "confirmed"  # folder of the store: the comparisons of `--confirm`
DEEPEST = 6
# Files of other commands' directories; one of a profile is told by `profile_load`.
# Parts of run.json that are large and not used here.
NOT_READ = ("cases", "layers", "left_out", "parameters", "spent", "machine.peaks", "config.sweeps")
NEEDED = ("run_id", "case_id", "subject", "mode", "phase", "status", "batch")
TIMES = ("latency_median_s", "latency_low_s", "latency_high_s", "device_s", FACTOR)
READ = tuple(
    dict.fromkeys(
        (
            *NEEDED,
            *(axis.name for axis in AXES),
            "flags",
            *TIMES,
            *(one.name for one in COUNTED),
            "device_name",
        )
    )
)


@dataclass(frozen=True, slots=True)
class Time:
    """The whole phase of a case in one run, as measured.

    low_s, high_s: its 95 % interval, if the run has one.
    """

    row: Row
    seconds: float
    low_s: float | None = None
    high_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a store.

    machine:  machine_id.
    node:     tells apart the computers of one kind, which have the same machine_id.
    kind:     how people name the machine: its accelerators, or its processor.
    marks:    versions that can change the times without a change of the code, by name.
    times:    by case_id.
    """

    path: Path
    run_id: str
    commit: str | None
    dirty: bool | None
    started: str
    machine: str | None
    kind: str
    sampling: Sampling
    marks: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, Time] = field(default_factory=dict)
    node: str | None = None

    @property
    def identity(self) -> Identity:
        """The details that tell the run from others."""
        return Identity(
            run_id=self.run_id,
            started=self.started or None,
            machine=self.machine,
            node=self.node,
            commit=self.commit,
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that is in no series, and why."""

    path: Path
    why: str


def read(paths: Sequence[Path]) -> tuple[list[Run], list[LeftOut]]:
    """Read the runs at these paths and below them.

    Raises ReadError for a path that does not exist, or has no run.
    """
    runs: list[Run] = []
    left: list[LeftOut] = []
    seen: set[str] = set()
    for given in paths:
        if not given.exists():
            raise ReadError(f"{given}: no such file or directory; give a folder of runs")
        folders = list(folders_of_runs(given))
        if not folders:
            raise ReadError(
                f"{given}: has no run directory; `bench run` and `bench backfill` make them"
            )
        for folder in folders:
            place = str(folder.resolve())
            if place in seen:
                continue
            seen.add(place)
            try:
                runs.append(_read(folder))
            except ReadError as error:
                left.append(LeftOut(folder, _inside(str(error), folder)))
    return _without_copies(runs, left), left


def _inside(message: str, folder: Path) -> str:
    """Return a message with paths relative to the folder."""
    return message.replace(f"{folder}{os.sep}", "").removeprefix(f"{folder}: ")


def folders_of_runs(given: Path) -> Iterator[Path]:
    """Yield the run directories at or below a path, sorted by name; links are not followed."""
    given = given.parent if given.name == MEASUREMENTS else given
    yield from _below(given, 0)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda one: one.name)
    except OSError:  # not a folder, or one that we may not read
        return
    if MEASUREMENTS in {one.name for one in entries}:
        yield folder
        return
    kind = directory_kind.kind_of(folder)
    if kind in directory_kind.RUNS:
        yield folder
    elif depth < DEEPEST and kind in (None, directory_kind.FLEET):  # which has a run of each kind
        for one in entries:
            if one.is_dir(follow_symlinks=False) and not one.name.startswith("."):
                yield from _below(Path(one.path), depth + 1)


def _without_copies(runs: Iterable[Run], left: list[LeftOut]) -> list[Run]:
    kept, named = list[Run](), dict[str, list[Run]]()
    for run in runs:
        same_name = named.setdefault(run.run_id, [])
        first = next((one for one in same_name if one.identity.is_same(run.identity)), None)
        if first is not None:
            left.append(LeftOut(run.path, f"a copy of {first.path}"))
        else:
            same_name.append(run)
            kept.append(run)
    return kept


def _read(folder: Path) -> Run:
    """Raises ReadError."""
    if not (folder / MEASUREMENTS).exists():
        raise ReadError("not finished, or its tables are not written")
    table = read_columns(folder / MEASUREMENTS, READ)
    names = list(table)
    rows = (dict(zip(names, cells, strict=True)) for cells in zip(*table.values(), strict=True))
    wholes = (Row(**one) for one in rows if _is_whole(one["status"], one["phase"], one["mode"]))
    return _run(folder, description(folder, NOT_READ), wholes)


def of_results(results: Results) -> Run:
    """Return a run that is loaded already."""
    wholes = (one for one in results.rows if _is_whole(one.status, one.phase, one.mode))
    path = results.path
    return _run(path if path.is_dir() else path.parent, results.description, wholes)


def _is_whole(status: str | None, phase: str | None, mode: str | None) -> bool:
    return status == "ok" and phase == whole_phase(str(mode))


def _run(folder: Path, described: Description, wholes: Iterable[Row]) -> Run:
    times = {str(row.case_id): time for row in wholes if (time := _time(row)) is not None}
    around = described.environment
    return Run(
        path=folder,
        run_id=described.run_id or folder.name,
        commit=around.git_commit,
        dirty=around.git_dirty,
        started=described.started or "",
        machine=described.machine.machine_id,
        kind=_kind(described),
        sampling=described.config.sampling,
        marks=_marks(described),
        times=times,
        node=described.machine.node,
    )


def _time(row: Row) -> Time | None:
    """Return the time as it was measured, without the correction by the controls."""
    factor = row.control_factor or 1.0
    if row.latency_median_s is None:
        return None if row.device_s is None else Time(row, row.device_s / factor)
    low, high = row.latency_low_s, row.latency_high_s
    return Time(
        row,
        row.latency_median_s / factor,
        None if low is None else low / factor,
        None if high is None else high / factor,
    )


def _kind(described: Description) -> str:
    machine = described.machine.written()
    accelerators = machine.get("accelerators")
    if isinstance(accelerators, Mapping) and accelerators:
        return ", ".join(dict.fromkeys(map(str, accelerators.values())))
    return str(machine.get("cpu_model") or machine.get("machine_id") or "an unknown machine")


def _marks(described: Description) -> dict[str, str]:
    """Return what is not the code and can change its times; unknown ones are left out."""
    around = described.environment.written()
    drivers = {one.driver for one in described.machine.gpus.values() if one.driver}
    found = {
        "torch": around.get("torch"),
        "CUDA": around.get("cuda"),
        "cuDNN": around.get("cudnn"),
        "driver": ", ".join(sorted(drivers)),
        "kernel": around.get("kernel"),
        "Python": around.get("python"),
        "bench": around.get("suite"),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}
