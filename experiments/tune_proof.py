"""Test whether `bench tune` finds the best setting, and in how much of a whole sweep's time.

    python -m experiments.tune_proof measure --out DIR --seconds 380    # again and again: it adds
    python -m experiments.tune_proof report --out DIR [--trials N]

`measure` needs a quiet machine.  For four networks it makes an exhaustive sweep: rounds of all
settings, as the search measures them, and the float64 check of each.  Then it makes real searches
with the command `bench tune`, each followed by fresh pairs of its winner and plain, and one of a
network whose fastest setting computes a wrong result.  Every round and every search is kept, so
that several calls add up.  `report` simulates searches on these rounds
(`experiments.tune_simulated`) and prints both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.commands.tune import SAMPLES_S, WARMUP_S
from bench.core.decode import case as case_of
from bench.core.records import Case, Entry, Measurement
from bench.engine.policy import Deadline
from bench.engine.workers import WorkerPool
from bench.host import probe
from bench.plan.config import RunOptions
from bench.results.journal import Journal
from bench.results.run_directory import RunDir
from bench.tune import objectives, space
from bench.tune.confirm import MOST_PAIRS
from bench.tune.lab import ProcessLab

HERE = "experiments.tune_networks"
CORES = 2
ROUNDS = 3  # of each exhaustive sweep
BUDGET_S = 60.0  # of a real search


@dataclass(frozen=True, slots=True)
class Network:
    """A subject with its input and batch size."""

    subject: str
    input: str
    batch: int

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        return {"input": (self.input,), "batch": (str(self.batch),), "mode": ("inference",)}


NETWORKS: Mapping[str, Network] = {
    "convnet": Network("convnet", "3,224,224", 1),
    "residual": Network(f"{HERE}:residual", "3,64,64", 4),
    "depthwise": Network(f"{HERE}:depthwise", "3,64,64", 4),
    "transformer": Network(f"{HERE}:transformer", "64,128", 8),
}
CHECKED = "transformer"  # the duration of a check is measured on its settings
PLANTED = Network(f"{HERE}:planted", "3,64,64", 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of an exhaustive sweep.

    cold:    the compiler's cache was empty.
    times_s: of a call, by case id.  walls_s: seconds that the measurement of a case took.
    start_s: seconds of the round beyond these: the start of its processes.
    """

    network: str
    begun: float  # seconds since the epoch
    cold: bool
    times_s: Mapping[str, float]
    walls_s: Mapping[str, float]
    start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The float64 check of one setting.  wall_s: with the start of its process."""

    network: str
    case: Mapping[str, Any]
    metrics: Mapping[str, float]
    wrong: str | None
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A real search.  after: log(time of the winner / time of plain) of later fresh pairs."""

    network: str
    spent_s: float
    found: Mapping[str, Any]  # tune.json
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """The measurements: a file of lines for each kind."""

    folder: Path

    def add(self, one: Round | Checked | Trial) -> None:
        with self._file(type(one)).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(one)) + "\n")

    def all(self, kind: type[Any]) -> list[Any]:
        path = self._file(kind)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [kind(**json.loads(line)) for line in lines]

    def _file(self, kind: type[Any]) -> Path:
        return self.folder / f"{kind.__name__.lower()}.jsonl"


@dataclass(kw_only=True)
class TimedLab(ProcessLab):
    """The search's own lab, which notes how long each case took: seconds."""

    walls_s: dict[str, float] = field(default_factory=dict)

    def measured(self, pool: WorkerPool, case: Case, number: int) -> Entry:
        start_s = time.monotonic()
        found = super().measured(pool, case, number)
        spent_s = time.monotonic() - start_s
        self.walls_s[case.case_id] = self.walls_s.get(case.case_id, 0.0) + spent_s
        return found


def candidates(of: Network) -> tuple[space.Space, list[Case]]:
    """Return every setting of a search, without a compiler and with it."""
    found = probe.built(probe.look((of.subject,), {of.subject: of.input}, 120.0))
    made = space.make(found, of.subject, "cpu", space.Choice(), CORES, of.axes)
    compiled = [replace(case, compile=mode) for case in made.eager for mode in made.compiled]
    return made, [*made.eager, *compiled]


def lab_in(folder: Path) -> TimedLab:
    """A lab with the options of the command, whose files go into a folder."""
    directory = RunDir(folder)
    directory.folders.scratch.mkdir(exist_ok=True)
    return TimedLab(
        directory=directory,
        run=RunOptions(samples_s=SAMPLES_S, warmup_s=WARMUP_S, timeout_s=120.0),
        journal=Journal(directory.journal),
        objective="latency",
        budget_s=None,
        tell=print,
        clock=time.monotonic,
    )


def _sweep(name: str, store: Store, folder: Path) -> None:
    """One more round of all settings of a network."""
    _, cases = candidates(NETWORKS[name])
    lab = lab_in(folder)
    done = sum(one.network == name for one in store.all(Round))
    start_s, begun = time.monotonic(), time.time()
    found = list(lab.round(done, cases, Deadline.begun(None, time.monotonic)))
    spent_s = time.monotonic() - start_s
    times_s = {
        one.case.case_id: objectives.time_s(one, "latency")
        for one in found
        if isinstance(one, Measurement)
    }
    store.add(
        Round(
            network=name,
            begun=begun,
            cold=done == 0,
            times_s=times_s,
            walls_s=lab.walls_s,
            start_s=spent_s - sum(lab.walls_s.values()),
        )
    )


def _check(name: str, store: Store, folder: Path) -> None:
    """The float64 check of every setting of a network."""
    _, cases = candidates(NETWORKS[name])
    lab = lab_in(folder)
    start_s = time.monotonic()
    for case, static in zip(cases, lab.statics(cases), strict=True):
        spent_s = time.monotonic() - start_s
        start_s = time.monotonic()
        fields = {**case.as_dict(), "case_id": case.case_id}
        found = Checked(
            network=name, case=fields, metrics=static.metrics, wrong=static.wrong, wall_s=spent_s
        )
        store.add(found)


def _trial(name: str, of: Network, store: Store, folder: Path) -> None:
    """Make one real search, then fresh pairs of its result."""
    out = folder / f"trial-{time.time():.0f}"
    start_s = time.monotonic()
    command = [sys.executable, "-m", "bench", "tune", of.subject, "--input", of.input]
    command += ["--batch", str(of.batch), "--device", "cpu", "--budget", str(BUDGET_S)]
    subprocess.run([*command, "--out", str(out)], check=True)
    spent_s = time.monotonic() - start_s
    found = json.loads((out / "tune.json").read_text(encoding="utf-8"))
    plain, winner = case_of(found["plain"]), case_of(found["winner"])
    lab, after = lab_in(folder), []
    for number in range(MOST_PAIRS if plain != winner else 0):
        after += [one for one in lab.pair(number, [(plain, winner)]) if one is not None]
    store.add(Trial(network=name, spent_s=spent_s, found=found, after=tuple(after)))


def _work(store: Store) -> Iterator[str]:
    """Names of networks, in the order in which something is still to be measured."""
    while True:
        rounds = [one.network for one in store.all(Round)]
        least = min(NETWORKS, key=rounds.count)
        if rounds.count(least) >= ROUNDS:
            break
        yield least
    if CHECKED not in {one.network for one in store.all(Checked)}:
        yield "checks"
    while True:
        trials = [one.network for one in store.all(Trial)]
        yield min(["planted", *NETWORKS], key=trials.count)


def measure(out: Path, seconds: float) -> None:
    """Add rounds, then searches, until the time is over."""
    out.mkdir(parents=True, exist_ok=True)
    store, begun = Store(out), time.monotonic()
    longest_s = 0.0
    for name in _work(store):
        start_s = time.monotonic()
        swept = sum(one.network == name for one in store.all(Round)) < ROUNDS
        folder = out / (CHECKED if name == "checks" else name)
        folder.mkdir(exist_ok=True)  # the compiler's cache and the references are kept in it
        if name == "checks":
            _check(CHECKED, store, folder)
        elif name != "planted" and swept:
            _sweep(name, store, folder)
        else:
            with tempfile.TemporaryDirectory(dir=out) as fresh:
                _trial(name, NETWORKS.get(name, PLANTED), store, Path(fresh))
        longest_s = max(longest_s, time.monotonic() - start_s)
        print(f"{name}: {time.monotonic() - start_s:.0f} s", flush=True)
        if time.monotonic() - begun + longest_s > seconds:
            return


def main() -> None:
    """Measure, or print the report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("measure", "report"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=380.0)
    parser.add_argument("--trials", type=int, default=200)
    asked = parser.parse_args()
    if asked.what == "measure":
        measure(asked.out, asked.seconds)
    else:
        from experiments import tune_simulated

        print(tune_simulated.report(Store(asked.out), asked.trials))


if __name__ == "__main__":
    main()
