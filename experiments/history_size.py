"""Measure the time and memory of `bench history` for a large store.

`python -m experiments.history_size [--runs 1000] [--cases 50]` makes a repository and a store in a
temporary folder, and reads it in a process of its own.
"""

import argparse
import csv
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.core.records import COLUMNS, Case, whole_phase

PHASES = {"inference": ("forward",), "training": ("forward", "backward", "optimizer", "step")}
EACH_BYTES = 1024  # ru_maxrss of Linux is in KiB


def cases(count: int) -> list[Case]:
    """Return cases: half of them inference, half training."""
    return [
        Case(
            subject="convnet",
            mode="training" if number % 2 else "inference",
            batch=number // 2 + 1,
            input="3,224,224",
            device="cpu",
            dtype="float32",
            amp="off",
            memory_format="contiguous",
            compile="off",
            threads="auto",
            allocator="retained",
        )
        for number in range(count)
    ]


def repository(folder: Path, count: int) -> list[str]:
    """Make a repository of empty commits; return their names, the oldest first."""
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", "-b", "main"], cwd=folder, check=True)
    commits = "".join(
        f"commit refs/heads/main\ncommitter A <a@example.org> {1_700_000_000 + 3600 * one} +0000\n"
        f"data 8\nchange {one % 10}\n"
        for one in range(count)
    )
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=folder, input=commits, text=True, check=True
    )
    listed = subprocess.run(
        ["git", "log", "--reverse", "--format=%H", "main"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def store(folder: Path, commits: list[str], measured: list[Case], like: dict[str, object]) -> None:
    """Write a run for each commit.  like: a run.json, for its size."""
    rng = random.Random(0)
    for number, commit in enumerate(commits):
        run = folder / f"run{number:04}"
        run.mkdir(parents=True)
        environment = {**dict(like["environment"]), "git_commit": commit, "git_dirty": False}  # type: ignore[call-overload]
        document = {**like, "run_id": run.name, "environment": environment}
        (run / "run.json").write_text(json.dumps(document), encoding="utf-8")
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="")
        writer.writeheader()
        for one in measured:
            seconds = 0.001 * one.batch * rng.lognormvariate(0, 0.033)
            for phase in PHASES[one.mode]:
                share = 1.0 if phase == whole_phase(one.mode) else 0.3
                own = {key: value for key, value in one.as_dict().items() if value is not None}
                times = {
                    f"latency_{name}_s": repr(share * seconds * by)
                    for name, by in (("median", 1), ("low", 0.98), ("high", 1.02), ("min", 0.97))
                }
                head = {"run_id": run.name, "case_id": one.case_id, "phase": phase, "status": "ok"}
                filled = {"flops": 123456789, "operators": 41, "peak_bytes": 12345678}
                writer.writerow({**own, **times, **filled, **head, "replicates": 5})
        (run / "measurements.csv").write_text(text.getvalue(), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Took:
    """The cost of one `bench history`.  cpu_s: processor time, which other work changes little."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: str


def measured_read(repo: Path, folder: Path) -> Took:
    """Run `bench history` in a process of its own."""
    command = [sys.executable, "-m", "bench", "history", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    began_s = time.monotonic()
    process = subprocess.Popen(
        command, cwd=repo, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"bench history ended with {os.waitstatus_to_exitcode(status)}")
    wall_s, cpu_s = time.monotonic() - began_s, usage.ru_utime + usage.ru_stime
    return Took(wall_s, cpu_s, usage.ru_maxrss * EACH_BYTES, output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=50)
    asked = parser.parse_args()
    like = json.loads(
        (Path(__file__).parents[1] / "results/example/run.json").read_text(encoding="utf-8")
    )
    with tempfile.TemporaryDirectory() as scratch:
        repo, folder = Path(scratch) / "repo", Path(scratch) / "store"
        store(folder, repository(repo, asked.runs), cases(asked.cases), like)
        took = measured_read(repo, folder)
    print(took.output.splitlines()[0])
    print(took.output.splitlines()[-1])
    print(
        f"{asked.runs} runs of {asked.cases} cases: {took.wall_s:.1f} s ({took.cpu_s:.1f} s of "
        f"processor time), {took.peak_bytes / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
