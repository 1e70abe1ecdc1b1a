"""Find the earlier runs of a machine in the folder of a run or a baseline."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.core.records import INFERENCE_PHASES, TRAINING_PHASES, Row, whole_phase
from bench.results.corrected import uncorrected
from bench.results.csv_files import MEASUREMENTS
from bench.results.loading import ReadError, description, load
from bench.results.results import Results
from bench.results.run_json import Description, Environment, Identity
from bench.stats import between_runs, ratios
from bench.stats.control_rule import Key, Point, Series

MOST = 20  # earlier runs that are used, the newest ones
# Transfers between host and device are not correlated with the controls.
FOLLOWING = frozenset({*INFERENCE_PHASES, *TRAINING_PHASES})
KINDS = {"latency": "latency_median_s", "pipelined": "pipelined_s"}


def before(folder: Path, run: Description) -> list[Results]:
    """Return the newest earlier runs of the same machine, build and sampling beside `folder`.

    The build is torch, this suite and the sources that both runs have.  Runs of another build
    differ because of their code as well.

    run: run.json of the run in `folder`.
    """
    found = sorted(_candidates(folder, run), key=lambda one: one[1].started or "")
    runs, seen = list[Results](), list[Identity]()
    for path, other in reversed(found):
        # A copy is not another run.
        if len(runs) == MOST or any(other.identity.is_same(one) for one in seen):
            continue
        try:
            runs.append(load(path, samples=False))
        except ReadError:
            continue
        seen.append(other.identity)
    return runs[::-1]


def _candidates(folder: Path, run: Description) -> Iterator[tuple[Path, Description]]:
    machine = run.machine.machine_id
    if machine is None or not run.started:
        return
    try:
        beside_it = sorted(folder.resolve().parent.iterdir())
    except OSError:  # a folder that we may enter but not list
        return
    for path in beside_it:
        if path.is_symlink() or path == folder.resolve() or not (path / MEASUREMENTS).is_file():
            continue
        try:
            other = description(path)
        except ReadError:  # another run that is damaged must not fail this one
            continue
        if (
            other.machine.machine_id == machine
            and other.shard is None  # its replicates are in the merged run
            and not other.identity.is_same(run.identity)
            and (other.started or "~") < run.started
            and other.config.sampling == run.config.sampling
            and _same_build(other.environment, run.environment)
        ):
            yield path, other


def _same_build(one: Environment, other: Environment) -> bool:
    if (one.torch, one.torch_git, one.suite) != (other.torch, other.torch_git, other.suite):
        return False
    both = one.sources.keys() & other.sources
    return all(one.sources[name] == other.sources[name] for name in both)


def centres(
    runs: Sequence[Results],
) -> dict[tuple[str, str], list[dict[str, ratios.Centre]]]:
    """Return, by (case_id, phase), the centres of the times by kind for each run."""
    found: dict[tuple[str, str], list[dict[str, ratios.Centre]]] = {}
    for run in runs:
        for row in run.rows:
            if row.status == "ok":
                found.setdefault((str(row.case_id), str(row.phase)), []).append(
                    {
                        kind: between_runs.centre_from_row(row, column)
                        for kind, column in KINDS.items()
                        if getattr(row, column) is not None
                    }
                )
    return found


def series(runs: Sequence[Results]) -> dict[Key, Series]:
    """Return the times and controls of each run as measured, by case and phase."""
    points: dict[Key, dict[int, Point]] = {}
    first: dict[Key, Row] = {}
    for number, run in enumerate(runs):
        for row in uncorrected(run).rows:
            times = {
                kind: math.log(time_s)
                for kind, column in KINDS.items()
                if (time_s := getattr(row, column)) is not None
            }
            if row.status == "ok" and row.phase in FOLLOWING and times and row.control_s:
                key = (str(row.case_id), str(row.phase))
                first.setdefault(key, row)
                points.setdefault(key, {})[number] = Point(times, math.log(row.control_s))
    return {
        key: Series(
            str(first[key].device), first[key].phase == whole_phase(str(first[key].mode)), found
        )
        for key, found in points.items()
    }


def beside(baseline: Results, run: Results) -> list[Results]:
    """Return the other runs of the baseline's machine in its parent folder, sorted by name.

    The list is empty if the two differ in their sampling, since a quick run scatters more.  These
    are left out: both runs and their copies, links (`latest`), runs that began later than the run,
    runs with another sampling, and folders that cannot be read.
    """
    judged = {baseline.path.resolve(), run.path.resolve()}
    its = run.description.config.sampling
    if not baseline.machines or not baseline.path.is_dir():
        return []
    if baseline.description.config.sampling != its:
        return []
    found = []
    seen = [baseline.identity, run.identity]
    for folder in sorted(baseline.path.resolve().parent.iterdir()):
        if folder.is_symlink() or not folder.is_dir() or folder in judged:
            continue
        try:
            other = load(folder, samples=False)
        except ReadError:
            continue
        described = other.description
        if described.shard or not _earlier(other, run) or described.config.sampling != its:
            continue
        # A copy is not another run.
        copied = any(other.identity.is_same(one) for one in seen)
        if baseline.machines & other.machines and not copied:
            found.append(other)
            seen.append(other.identity)
    return found


def _earlier(other: Results, run: Results) -> bool:
    """Return whether a run began earlier; a run without a time counts as earlier.

    The times are ISO 8601 in UTC, so they can be compared as texts.
    """
    began, judged = other.description.started, run.description.started
    return not began or not judged or began < judged
