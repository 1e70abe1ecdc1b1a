"""The results of a run as files of asv (airspeed velocity).  Pure.

Source: asv 0.6, results.py (`Results.save`, version 2), benchmarks.py (version 2) and machine.py
(version 1).  asv keeps results by commit, so a run outside of git has none.
"""

import datetime
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.core.records import Row
from bench.results.export_files import ExportError, name_of, nothing_to_export, samples_of, timed
from bench.results.export_files import is_whole as of_whole
from bench.results.results import Results
from bench.stats import between_runs
from bench.stats.ratios import combined

BENCHMARKS, MACHINE = "benchmarks.json", "machine.json"
ENVIRONMENT = "convnet-bench"
LEVEL = 0.99  # of the interval that asv keeps
# The order of asv's own files.
COLUMNS = (
    "result",
    "params",
    "version",
    "started_at",
    "duration",
    "stats_ci_99_a",
    "stats_ci_99_b",
    "stats_q_25",
    "stats_q_75",
    "stats_number",
    "stats_repeat",
    "samples",
)


def files(run: Results, committed_ms: int | None = None) -> dict[str, dict[str, Any]]:
    """Return the content of asv's files by their path below its results folder.

    committed_ms: when the commit was made, in milliseconds since 1970; asv draws its graphs over
                  it.  None: unknown, then the start of the run is used.

    Raises ExportError for a run without a commit or without times.
    """
    described = run.description
    commit, machine = described.environment.git_commit, described.machine
    if commit is None:
        raise ExportError(
            f"{run.path}: asv keeps results by commit, and this run was made outside of git; "
            "measure in a git repository, or choose another format"
        )
    rows = list(timed(run))
    if not rows:
        raise nothing_to_export(run)
    name = machine.machine_id or "unknown"
    own = {
        "machine": name,
        "os": str(machine.written().get("system") or ""),
        "arch": str(machine.written().get("architecture") or ""),
        "cpu": str(machine.written().get("cpu_model") or ""),
        "num_cpu": str(machine.written().get("processors") or ""),
        "ram": f"{machine.written().get('memory_gib') or ''} GiB",
    }
    started_ms = _milliseconds(described.started)
    python = ".".join(str(described.environment.written().get("python") or "").split(".")[:2])
    torch = next((row.torch_version for row in rows if row.torch_version), "")
    result = {
        "commit_hash": commit,
        "env_name": ENVIRONMENT,
        "date": started_ms if committed_ms is None else committed_ms,
        "params": {**own, "python": python, "torch": torch},
        "python": python,
        "requirements": {"torch": torch},
        "env_vars": {},
        "result_columns": list(COLUMNS),
        "results": dict(_results(rows, samples_of(run), started_ms)),
        "durations": {},
        "version": 2,
    }
    return {
        BENCHMARKS: {**dict(_benchmarks(rows)), "version": 2},
        f"{name}/{MACHINE}": {**own, "version": 1},
        f"{name}/{commit[:8]}-{ENVIRONMENT}.json": result,
    }


def merged(path: str, before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file of asv with what it had before and what is new.

    path: as `files` names it.
    """
    if path == BENCHMARKS:
        return {**before, **new}
    if path.endswith(MACHINE) or before.get("result_columns") != new["result_columns"]:
        return dict(new)
    return {**new, "results": {**before.get("results", {}), **new["results"]}}


def _milliseconds(started: str | None) -> int:
    """Return the start of the run in milliseconds since 1970, as asv stores dates."""
    if started is None:
        return 0
    return round(datetime.datetime.fromisoformat(started).timestamp() * 1000)


def _benchmarks(rows: Iterable[Row]) -> Iterable[tuple[str, dict[str, Any]]]:
    for row in rows:
        yield name_of(row), _benchmark(name_of(row), "time", "seconds")
        if row.peak_bytes is not None and of_whole(row):
            yield memory_of(row), _benchmark(memory_of(row), "memory", "bytes")


def memory_of(row: Row) -> str:
    """Return the name under which asv has the peak memory of a case."""
    return f"{row.case_id} peak memory"


def _benchmark(name: str, kind: str, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "unit": unit,
        "code": "",
        "param_names": [],
        "params": [],
        "timeout": None,
        "version": "1",
    }


def _results(
    rows: Iterable[Row], samples: Mapping[tuple[str, str], Sequence[float]], started_ms: int
) -> Iterable[tuple[str, list[Any]]]:
    for row in rows:
        times_s = list(samples.get((str(row.case_id), str(row.phase)), []))
        low, high = _interval(row)
        first, _, third = statistics.quantiles(times_s, n=4) if len(times_s) > 1 else (None,) * 3
        stats = [low, high, first, third, 1, len(times_s) or None]
        yield (
            name_of(row),
            [
                [row.latency_median_s],
                [],
                "1",
                started_ms,
                None,
                *([one] for one in stats),
                [times_s or None],
            ],
        )
        if row.peak_bytes is not None and of_whole(row):
            yield memory_of(row), [[row.peak_bytes], [], "1", started_ms]


def _interval(row: Row) -> tuple[float | None, float | None]:
    """Return the 99 % interval of the latency, the between-run SD included; None without one."""
    own = between_runs.centre_from_row(row, "latency_median_s")
    if own.part is None:
        return None, None
    parts = [own.part, between_runs.from_row(row, "latency_median_s").part]
    return combined(own.log, parts, own.n).interval(LEVEL) or (None, None)
