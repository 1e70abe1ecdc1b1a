"""Results for the tests: entries of a journal, and run directories written from them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.records import Case, Entry, Measurement, Samples, whole_phase
from bench.results import run_json
from bench.results.aggregate import rows
from bench.results.csv_files import write_measurements, write_samples
from bench.results.loading import load
from bench.results.results import Results, samples_of

RUN: Mapping[str, Any] = {
    "schema": 1,
    "run_id": "one",
    "config": {"replicates": 5, "precision": 0.10},
    "machine": {"machine_id": "m1", "cpu_model": "AMD EPYC"},
    "environment": {"torch": "2.13.0", "git_commit": "0123abc4567", "git_dirty": False},
    "devices": {"cpu": "AMD EPYC", "cuda:0": "NVIDIA H200"},
}

DESCRIBED = run_json.of(RUN)


def measurement(
    case: Case,
    replicate: int,
    *times_s: float,
    pipelined_s: float | None = None,
    **more: Any,
) -> Measurement:
    """A replicate whose whole phase took `times_s` singly and `pipelined_s` back to back."""
    phase = whole_phase(case.mode)
    back_to_back = (times_s[0] if times_s else None) if pipelined_s is None else pipelined_s
    samples = [Samples(phase=phase, kind="latency", calls_per_sample=1, times_s=times_s)]
    if back_to_back is not None:
        samples.append(
            Samples(phase=phase, kind="pipelined", calls_per_sample=10, times_s=(back_to_back,))
        )
    return Measurement(case=case, replicate=replicate, samples=tuple(samples), **more)


def replicates(case: Case, times_s: Sequence[float], **more: Any) -> list[Entry]:
    """A measurement per duration."""
    return [measurement(case, number, time_s, **more) for number, time_s in enumerate(times_s)]


def run_of(folder: Path, entries: Sequence[Entry], **run: Any) -> Results:
    """The entries as a run directory, written and read; its id is the folder's name by default."""
    described = {**RUN, "run_id": folder.name, **run}
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(described), encoding="utf-8")
    write_measurements(folder / "measurements.csv", rows(entries, run=run_json.of(described)))
    write_samples(folder / "samples.csv", samples_of(entries, str(described["run_id"])))
    return load(folder)
