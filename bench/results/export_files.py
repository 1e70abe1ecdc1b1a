"""The results of a run in the formats of other tools.  Pure.

Only rows with a latency are exported: whole calls, and phases where the host's clock tells them.
"""

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.core.errors import UserError
from bench.core.records import Row, whole_phase
from bench.results.results import Results


class ExportError(UserError):
    """A run without anything that the other tool has a place for."""


def pytest_benchmark(run: Results) -> str:
    """Return a file for `pytest-benchmark compare`: a benchmark for each case and phase.

    Source: pytest_benchmark/stats.py, `Stats.as_dict`; its statistics are over the samples of all
    replicates.
    """
    described = run.description
    times = samples_of(run)
    found = []
    for row in timed(run):
        samples_s = times.get((str(row.case_id), str(row.phase)))
        if samples_s:
            found.append(_benchmark(row, samples_s))
    commit = described.environment.git_commit
    whole = {
        "machine_info": described.machine.written(),
        "commit_info": {"id": commit, "dirty": described.environment.git_dirty},
        "benchmarks": _some(found, run),
        "datetime": described.started,
        "version": "5.1.0",
    }
    return _text(whole)


def _benchmark(row: Row, samples_s: Sequence[float]) -> dict[str, Any]:
    name = name_of(row)
    low, middle, high = _quartiles(samples_s)
    mean = statistics.fmean(samples_s)
    fence = 1.5 * (high - low)  # Tukey's, beyond which pytest-benchmark counts outliers
    sd = statistics.stdev(samples_s) if len(samples_s) > 1 else 0.0
    inside = [one for one in sorted(samples_s) if low - fence <= one <= high + fence]
    by_iqr = len(samples_s) - len(inside)
    by_sd = sum(abs(one - mean) > sd for one in samples_s)
    return {
        "group": None,
        "name": name,
        "fullname": name,
        "params": None,
        "param": None,
        "extra_info": {"case_id": row.case_id, "phase": row.phase, "flags": row.flags},
        "options": {"timer": "perf_counter", "disable_gc": True},
        "stats": {
            "min": min(samples_s),
            "max": max(samples_s),
            "mean": mean,
            "stddev": sd,
            "rounds": len(samples_s),
            "median": middle,
            "iqr": high - low,
            "q1": low,
            "q3": high,
            "iqr_outliers": by_iqr,
            "stddev_outliers": by_sd,
            "outliers": f"{by_sd};{by_iqr}",
            "ld15iqr": inside[0],
            "hd15iqr": inside[-1],
            "ops": 1 / mean,
            "total": sum(samples_s),
            "iterations": 1,
        },
    }


def _quartiles(samples_s: Sequence[float]) -> tuple[float, float, float]:
    if len(samples_s) < 2:
        return samples_s[0], samples_s[0], samples_s[0]
    low, middle, high = statistics.quantiles(samples_s, n=4, method="inclusive")
    return low, middle, high


def github_action_benchmark(run: Results) -> str:
    """Return a file for the tool `customSmallerIsBetter` of github-action-benchmark.

    Source: its README: a list of name, unit, value, range and extra.  Times are in milliseconds,
    memory in bytes; the range is half of the 95 % interval over processes.
    """
    found: list[dict[str, Any]] = []
    for row in timed(run):
        value_s, low, high = float(row.latency_median_s or 0), row.latency_low_s, row.latency_high_s
        one: dict[str, Any] = {"name": name_of(row), "unit": "ms", "value": value_s * 1e3}
        if low is not None and high is not None:
            one["range"] = f"± {(high - low) / 2 * 1e3:.4g}"
        found.append(one)
        if row.peak_bytes is not None and is_whole(row):
            name = f"{row.case_id} peak memory"
            found.append({"name": name, "unit": "bytes", "value": row.peak_bytes})
    return _text(_some(found, run))


def bencher(run: Results) -> str:
    """Return a file in Bencher Metric Format, for `bencher run --adapter json --file`.

    Source: bencher.dev/docs/reference/bencher-metric-format: by benchmark and measure a value with
    its bounds.  The measure `latency` is in nanoseconds, `throughput` in operations per second.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in timed(run):
        ends_s = (row.latency_median_s, row.latency_low_s, row.latency_high_s)
        measures = {"latency": _bounded([None if one is None else one * 1e9 for one in ends_s])}
        if row.images_per_s is not None:
            measures["throughput"] = {"value": row.images_per_s}
        if row.peak_bytes is not None and is_whole(row):
            measures["memory"] = {"value": float(row.peak_bytes)}
        found[name_of(row)] = measures
    if not found:
        raise nothing_to_export(run)
    return _text(found)


def _bounded(ends: Sequence[float | None]) -> dict[str, float]:
    names = ("value", "lower_value", "upper_value")
    return {name: one for name, one in zip(names, ends, strict=True) if one is not None}


FORMATS: Mapping[str, Callable[[Results], str]] = {
    "pytest-benchmark": pytest_benchmark,
    "github-action-benchmark": github_action_benchmark,
    "bencher": bencher,
}


def timed(run: Results) -> Iterator[Row]:
    """Yield the rows with a latency."""
    return (row for row in run.rows if row.status == "ok" and row.latency_median_s)


def samples_of(run: Results) -> dict[tuple[str, str], list[float]]:
    """Return the latency samples by case and phase: seconds."""
    frame = run.sample_frame
    single = frame[frame["kind"] == "latency"]
    groups = single.groupby(["case_id", "phase"], sort=False)["seconds"]
    return {(str(case), str(phase)): list(times) for (case, phase), times in groups}


def is_whole(row: Row) -> bool:
    """Return whether the row stands for the whole call."""
    return row.phase == whole_phase(row.mode or "")


def name_of(row: Row) -> str:
    """Return the case, and for a phase of training also the phase."""
    return str(row.case_id) if is_whole(row) else f"{row.case_id} {row.phase}"


def _some(found: list[dict[str, Any]], run: Results) -> list[dict[str, Any]]:
    if not found:
        raise nothing_to_export(run)
    return found


def nothing_to_export(run: Results) -> ExportError:
    """Return the error of a run without times."""
    return ExportError(
        f"{run.path}: no case has a latency and its samples, so there is nothing to export; give "
        "the directory of a finished `bench run`"
    )


def _text(found: Any) -> str:
    # ASCII, because the output may be a stream of another encoding than JSON's.
    return json.dumps(found, indent=2, allow_nan=False) + "\n"
