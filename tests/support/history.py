"""Made-up stores for the tests of histories: run directories and lines of commits."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.records import COLUMNS, Case, whole_phase
from bench.history.commits import Commit, Line
from bench.history.store import Run, Time
from bench.results.run_json import Sampling
from tests.support.cases import PLAIN

ENVIRONMENT: Mapping[str, Any] = {
    "torch": "2.13.0",
    "python": "3.11.7",
    "kernel": "6.1.0",
    "suite": "abc",
    "git_dirty": False,
}
CONFIG = {"replicates": 3, "samples_s": 0.1, "warmup_s": 0.1, "min_samples": 3}


def sha(number: int) -> str:
    return f"{number:040x}"


def line_of(count: int) -> Line:
    """Return the line of the commits 0 to count - 1."""
    return Line(tuple(Commit(sha(one), "2026-11-03", f"change {one}") for one in range(count)))


def write_run(
    folder: Path,
    commit: str,
    times_s: Mapping[Case, float],
    *,
    started: str = "2026-11-01T00:00:00+00:00",
    machine: str = "m1",
    environment: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    rows: Mapping[str, Any] | None = None,
    flags: Mapping[Case, str] | None = None,
) -> Path:
    """Write a run directory with a latency for each case, and 2 % on either side of it."""
    folder.mkdir(parents=True)
    described = {
        "schema": 1,
        "run_id": folder.name,
        "started": started,
        "config": {**CONFIG, **(config or {})},
        "machine": {"machine_id": machine, "cpu_model": "AMD EPYC"},
        "environment": {**ENVIRONMENT, "git_commit": commit, **(environment or {})},
        "devices": {"cpu": "AMD EPYC"},
    }
    (folder / "run.json").write_text(json.dumps(described), encoding="utf-8")
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    for one, seconds in times_s.items():
        phases = ("forward", "backward", "optimizer", "step")
        for phase in phases if one.mode == "training" else ("forward",):
            share = 1.0 if phase == whole_phase(one.mode) else 0.3
            values = {name: value for name, value in one.as_dict().items() if value is not None}
            writer.writerow(
                {
                    **values,
                    "run_id": folder.name,
                    "case_id": one.case_id,
                    "phase": phase,
                    "status": "ok",
                    "replicates": 3,
                    "latency_median_s": repr(share * seconds),
                    "latency_low_s": repr(share * seconds / 1.02),
                    "latency_high_s": repr(share * seconds * 1.02),
                    "machine_id": machine,
                    "torch_version": "2.13.0",
                    "flags": (flags or {}).get(one, ""),
                    **(rows or {}),
                }
            )
    (folder / "measurements.csv").write_text(text.getvalue(), encoding="utf-8")
    return folder


def run_of(number: int, seconds: float, one: Case = PLAIN, **changes: Any) -> Run:
    """A run at commit `number`, as it is read; `row` in `changes` are columns of its row."""
    from bench.core.records import Row

    columns = {**one.as_dict(), "case_id": one.case_id, "status": "ok", **changes.pop("row", {})}
    columns["phase"] = whole_phase(one.mode)
    given: dict[str, Any] = {
        "path": Path(f"store/run{number}"),
        "run_id": f"run{number}",
        "commit": sha(number),
        "dirty": False,
        "started": "2026-11-01T00:00:00+00:00",
        "machine": "m1",
        "kind": "AMD EPYC",
        "sampling": Sampling(0.1, 0.1, 3, 3),
        "marks": {"torch": "2.13.0", "Python": "3.11.7"},
        "times": {one.case_id: Time(Row(**columns), seconds, seconds / 1.02, seconds * 1.02)},
    }
    return Run(**{**given, **changes})


def runs_of(seconds: Sequence[float], one: Case = PLAIN) -> list[Run]:
    """A run at each commit from 0 on."""
    return [run_of(number, time_s, one) for number, time_s in enumerate(seconds)]
