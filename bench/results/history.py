"""Earlier runs of one machine, found beside a run or a baseline."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.records import INFERENCE_PHASES, TRAINING_PHASES, whole_phase
from bench.results import run_json
from bench.results.corrected import uncorrected
from bench.results.csv_files import MEASUREMENTS, RUN
from bench.results.load import Line, ReadError, RunData, lines, load
from bench.stats import between_runs, ratios
from bench.stats.control_rule import Key, Point, Series

MOST = 20  # of the earlier runs beside a run: the newest
# Transfers between host and device follow no control.
FOLLOWING = frozenset({*INFERENCE_PHASES, *TRAINING_PHASES})
KINDS = {"latency": "latency_median_s", "pipelined": "pipelined_s"}


def before(folder: Path, run: Mapping[str, Any]) -> list[RunData]:
    """The newest runs beside `folder` of the same machine, build and sampling that began earlier.

    run: run.json of the one in `folder`.  The same build: the same torch, this suite and the
    sources of what was measured, as far as both had them; another one differs by its code as well.
    """
    found = sorted(_candidates(folder, run), key=lambda one: str(one[1].get("started")))
    runs, ids = list[RunData](), set[object]()
    for path, other in reversed(found):
        if len(runs) == MOST or other.get("run_id") in ids:  # a copy is no run of its own
            continue
        try:
            runs.append(load(path, samples=False))
        except ReadError:
            continue
        ids.add(other.get("run_id"))
    return runs[::-1]


def _candidates(folder: Path, run: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    machine = _part(run, "machine").get("machine_id")
    if machine is None or not run.get("started"):
        return
    try:
        beside_it = sorted(folder.resolve().parent.iterdir())
    except OSError:  # a folder that may be entered and not listed
        return
    for path in beside_it:
        if path.is_symlink() or path == folder.resolve() or not (path / MEASUREMENTS).is_file():
            continue
        other = _run(path / RUN)
        if (
            _part(other, "machine").get("machine_id") == machine
            and other.get("run_id") != run.get("run_id")
            and str(other.get("started") or "~") < str(run["started"])
            and _sampling(other) == _sampling(run)
            and _same_build(_part(other, "environment"), _part(run, "environment"))
        ):
            yield path, other


def _run(path: Path) -> Mapping[str, Any]:
    """run.json, or nothing: a broken neighbour says nothing about this run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return run_json.sound(found) if isinstance(found, dict) and not run_json.deep(found) else {}


def _same_build(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if any(one.get(name) != other.get(name) for name in ("torch", "torch_git", "suite")):
        return False
    sources = _part(one, "sources"), _part(other, "sources")
    return all(sources[0][name] == sources[1][name] for name in sources[0].keys() & sources[1])


def centres(
    runs: Sequence[RunData],
) -> dict[tuple[str, str], list[dict[str, ratios.Centre]]]:
    """(case_id, phase) → a run each: the centres of its times by kind."""
    found: dict[tuple[str, str], list[dict[str, ratios.Centre]]] = {}
    for run in runs:
        for line in lines(run.rows):
            if line["status"] == "ok":
                found.setdefault((line["case_id"], line["phase"]), []).append(
                    {
                        kind: between_runs.centre_from_row(line, column)
                        for kind, column in KINDS.items()
                        if line[column] is not None
                    }
                )
    return found


def series(runs: Sequence[RunData]) -> dict[Key, Series]:
    """Times with the controls beside them, as measured, a run each."""
    points: dict[Key, dict[int, Point]] = {}
    first: dict[Key, Line] = {}
    for number, run in enumerate(runs):
        for line in lines(uncorrected(run).rows):
            times = {
                kind: math.log(line[column])
                for kind, column in KINDS.items()
                if line[column] is not None
            }
            if (
                line["status"] == "ok"
                and line["phase"] in FOLLOWING
                and times
                and line["control_s"] is not None
            ):
                key = (line["case_id"], line["phase"])
                first.setdefault(key, line)
                points.setdefault(key, {})[number] = Point(times, math.log(line["control_s"]))
    return {
        key: Series(
            str(first[key]["device"]),
            first[key]["phase"] == whole_phase(str(first[key]["mode"])),
            found,
        )
        for key, found in points.items()
    }


def beside(baseline: RunData, run: RunData) -> list[RunData]:
    """The runs in the baseline's parent folder that its machine made, by name.

    Left out: the baseline, the run that is judged, links (`latest`), runs that began later than the
    one that is judged or sampled otherwise than the baseline (a quick look scatters more), and what
    cannot be read: a broken neighbour says nothing about either side.
    """
    machines = {machine for machine in baseline.rows["machine_id"] if machine}
    judged = {baseline.path.resolve(), run.path.resolve()}
    if not machines or not baseline.path.is_dir():
        return []
    found = []
    seen = _run_ids(baseline) | _run_ids(run)
    for folder in sorted(baseline.path.resolve().parent.iterdir()):
        if folder.is_symlink() or not folder.is_dir() or folder in judged:
            continue
        try:
            other = load(folder, samples=False)
        except ReadError:
            continue
        if not _earlier(other, run) or _sampling(other.run) != _sampling(baseline.run):
            continue
        if machines.intersection(other.rows["machine_id"]) and _run_ids(other).isdisjoint(
            seen  # a copy is no run of its own
        ):
            found.append(other)
            seen |= _run_ids(other)
    return found


def _earlier(other: RunData, run: RunData) -> bool:
    """ISO 8601 in UTC sorts as it reads; runs that do not say when count as earlier."""
    began, judged = other.run.get("started"), run.run.get("started")
    return not began or not judged or str(began) < str(judged)


def _sampling(run: Mapping[str, Any]) -> list[object]:
    given = _part(run, "config")
    return [given.get(name) for name in ("samples_s", "warmup_s", "min_samples", "replicates")]


def _part(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of run.json; empty where it is not there."""
    part = run.get(name)
    return part if isinstance(part, dict) else {}


def _run_ids(run: RunData) -> set[str]:
    return {name for name in run.rows["run_id"] if name}
