"""Kill and resume a run again and again, and count: `python -m experiments.kills [--kills 20]`.

SIGKILL goes at random moments to the runner, a replicate or a worker of one small sweep.  A
runner that was killed is followed by `bench run --resume`.  At the end each case has each of its
replicates once and its static metrics once, and no process is left.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
ROLES = ("runner", "replicate", "worker")
LONGEST_DELAY_S = 5.0  # after a process of the chosen role is there: into the middle of its work
FAILED = 4  # a case was not measured, which no kill from outside may bring about
MOST_RUNS = 10  # beyond one for each kill: it does not get anywhere
GONE_S = 30.0  # by then what a killed runner had started is gone
SWEEP = """
[run]
replicates = {replicates}
max_replicates = {replicates}
samples_s = 0.02
warmup_s = 0.01

[[sweep]]
allocator = "retained"
subject = "tests.subjects.hostile:Small"
input = "4"
batch = [2, 3]
mode = ["inference", "training"]
"""


class KillsError(Exception):
    """The run did not bear it; the message says what is wrong."""


@dataclass
class Sweep:
    """One run directory, and the `bench run` that is writing to it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    seen: set[psutil.Process] = field(default_factory=set)
    started: int = 0

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def begin(self) -> None:
        """A new run, or on with it."""
        how = "--resume" if (self.run / "run.json").exists() else "--out"
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench", "run", how, "run"],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
            )
        self.started += 1

    def processes(self) -> Mapping[str, list[psutil.Process]]:
        """Return the running processes by role."""
        assert self.process is not None
        found: dict[str, list[psutil.Process]] = {role: [] for role in ROLES}
        try:
            runner = psutil.Process(self.process.pid)
            found["runner"].append(runner)
            for one in runner.children():
                if "bench.worker.fork_server_process" in one.cmdline():
                    found["replicate"].append(one)
                    found["worker"] += one.children()
        except psutil.Error:
            pass  # it ended while we looked
        self.seen.update(found["replicate"], found["worker"])
        return found

    def done(self) -> bool:
        """Return whether it ran to its end; else resume it.  Raises KillsError."""
        assert self.process is not None
        code = self.process.poll()
        if code == 0:
            return True
        if code == FAILED:
            raise KillsError(f"a case has failed: {_tail(self.folder)}")
        if code is not None:
            self.wait_until_all_are_gone()
            self.begin()
        return False

    def wait_until_all_are_gone(self) -> None:
        """Raises KillsError."""
        until_s = time.monotonic() + GONE_S
        while left := [one for one in self.seen if one.is_running()]:
            if time.monotonic() > until_s:
                raise KillsError(f"left running: {left}")
            time.sleep(0.1)
        self.seen.clear()

    def outcomes(self) -> int:
        path = self.run / "journal.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_one(sweep: Sweep, role: str, delay_s: float) -> int | None:
    """Wait for a process of this role, then a little, and kill it.  None: the sweep was done."""
    since_s: float | None = None
    while not sweep.done():
        there = sweep.processes()[role]
        measuring = role != "runner" or sweep.outcomes()
        if there and measuring and since_s is None:
            since_s = time.monotonic()
        if there and since_s is not None and time.monotonic() - since_s >= delay_s:
            try:
                there[0].kill()
            except psutil.NoSuchProcess:
                continue
            return there[0].pid
        time.sleep(0.01)  # waits for other processes
    return None


def problems(run: Path, replicates: int) -> list[str]:
    """Return descriptions of missing and repeated entries."""
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    count = Counter((one["case_id"], one.get("replicate", "facts")) for one in lines)
    found = [f"{key} stands {times} times" for key, times in count.items() if times > 1]
    cases = {line["case_id"] for line in lines}
    planned = len(json.loads((run / "run.json").read_text())["cases"])
    if len(cases) != planned:
        found.append(f"{len(cases)} of {planned} cases")
    for case_id in sorted(cases):
        own = [one for one in lines if one["case_id"] == case_id and one["kind"] != "facts"]
        if any(one["kind"] == "failure" for one in own):
            found.append(f"{case_id}: a kill counts as its failure")
        if {one["replicate"] for one in own} != set(range(replicates)):
            found.append(f"{case_id}: replicates are missing")
        if not count[case_id, "facts"]:
            found.append(f"{case_id}: static metrics are missing")
    if not (run / "measurements.csv").exists():
        found.append("there is no measurements.csv")
    return found


def torment(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Kill processes, print each, and return the kills by role.  Raises KillsError."""
    chance = random.Random(seed)
    replicates = max(8, kills)  # so that every kill finds it at work
    (folder / "bench.toml").write_text(SWEEP.format(replicates=replicates), encoding="utf-8")
    sweep, killed = Sweep(folder), Counter[str]()
    sweep.begin()
    for number in range(1, kills + 1):
        role, delay_s = chance.choice(ROLES), chance.uniform(0, LONGEST_DELAY_S)
        pid = kill_one(sweep, role, delay_s)
        if pid is None:
            raise KillsError(f"the sweep ended before kill {number}: {_tail(folder)}")
        killed[role] += 1
        print(f"{number:3}  {role} {pid}, {sweep.outcomes()} lines in the journal", flush=True)
        if role == "runner":
            assert sweep.process is not None
            sweep.process.wait()
            sweep.done()
    while not sweep.done():
        if sweep.started > kills + MOST_RUNS:
            raise KillsError(f"no run gets to its end: {_tail(folder)}")
        sweep.processes()
        time.sleep(0.1)
    sweep.wait_until_all_are_gone()
    if wrong := problems(sweep.run, replicates):
        raise KillsError("; ".join(wrong))
    print(
        f"{kills} kills ({dict(killed)}), {sweep.started} runs, {sweep.outcomes()} lines: all once"
    )
    return killed


def _tail(folder: Path) -> str:
    return (folder / "output").read_text(encoding="utf-8", errors="replace")[-500:]


def main() -> None:
    """Exit with 0 if nothing was lost, counted twice or left running."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            torment(Path(folder), given.kills, given.seed)
        except KillsError as error:
            sys.exit(f"kills: {error}")


if __name__ == "__main__":
    main()
