"""Ask several tools the same question: how long does a call take, and did it get slower?

    python -m experiments.comparison --rounds 8 --out docs/comparison-figures.md

A round asks each tool once, in a random order, for the time of inference of the ConvNet at 8
images, each in fresh processes.  Further rounds ask for a network with a tenth more work.  It
prints the spread of each tool's answers, the time that an answer takes, how often the tool's own
rule calls two rounds of the same network slower, and how often it finds the added work.

Needs asv beside this project (`pip install asv`).  Nothing else may run meanwhile.
"""

import argparse
import csv
import importlib.metadata
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NET = """
import torch
from convnet.network import ConvNet

SLOWER = {slower}

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = ConvNet()
        self.more = torch.nn.Conv2d(32, 32, 3, padding=1)

    def forward(self, x):
        y = self.net(x)
        if SLOWER:  # a tenth of the work again
            y = y + self.net(x[:1]).mean()
        return y

def made():
    return Net().eval(), torch.randn(8, 3, 224, 224)

def call(net, x):
    with torch.inference_mode():
        return net(x)
"""
TIMER = """
import sys
sys.path.insert(0, ".")
import net, torch
from torch.utils.benchmark import Timer
model, x = net.made()
found = Timer("call(model, x)", globals=dict(call=net.call, model=model, x=x),
              num_threads=torch.get_num_threads()).blocked_autorange(min_run_time=2.0)
print(found.median)
"""
PYTEST = """
import net

def test_call(benchmark):
    model, x = net.made()
    benchmark(net.call, model, x)
"""
ASV = """
import sys

sys.path[:0] = {path!r}  # asv takes PYTHONPATH from its benchmarks
import net

class Suite:
    warmup_time = 0.5
    processes = 3
    rounds = 2
    min_run_count = 10

    def setup(self):
        self.model, self.x = net.made()

    def time_call(self):
        net.call(self.model, self.x)
"""
ASV_CONFIG = {
    "version": 1,
    "project": "net",
    "repo": ".",
    "branches": ["main"],
    "environment_type": "existing",
    "benchmark_dir": "benchmarks",
    "results_dir": "asv-results",
}
ROOT = Path(__file__).parent.parent
TOML = "[run]\nreplicates = 3\nmax_replicates = 3\nbudget_s = 60\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a tool.  seconds: of a call.  wall_s: that the answer took.

    kept: what the tool's own comparison needs.
    """

    seconds: float
    wall_s: float
    kept: Path


@dataclass
class Tool:
    """One tool.  ask: measures in a folder.  slower: its own rule on two answers, or None."""

    name: str
    distribution: str
    ask: Callable[[Path, int], tuple[float, Path]]
    slower: Callable[[Path, Path], bool] | None
    rule: str
    answers: list[Answer] = field(default_factory=list)  # of the same network
    more: list[Answer] = field(default_factory=list)  # with a tenth more work

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.distribution)


def run(folder: Path, *command: str, codes: Sequence[int] = (0,)) -> str:
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        command, cwd=folder, text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    if done.returncode not in codes:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def by_timer(folder: Path, number: int) -> tuple[float, Path]:
    (folder / "timer.py").write_text(TIMER)
    found = float(run(folder, sys.executable, "timer.py").split()[-1])
    return found, folder / f"timer-{number}"


def by_pytest(folder: Path, number: int) -> tuple[float, Path]:
    (folder / "test_net.py").write_text(PYTEST)
    out = folder / f"pytest-{number}.json"
    run(
        folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_net.py",
        "--benchmark-warmup=on", "--benchmark-min-rounds=20", "--benchmark-max-time=2",
        f"--benchmark-json={out}",
    )  # fmt: skip
    return float(json.loads(out.read_text())["benchmarks"][0]["stats"]["median"]), out


def pytest_slower(before: Path, after: Path) -> bool:
    """Decide as `--benchmark-compare-fail=median:5%`: by the stored medians and a percentage."""
    first, second = (
        json.loads(one.read_text())["benchmarks"][0]["stats"]["median"] for one in (before, after)
    )
    return bool(second > 1.05 * first)


def by_asv(folder: Path, number: int) -> tuple[float, Path]:
    where = folder / f"asv-{number}"
    (where / "benchmarks").mkdir(parents=True)
    (where / "benchmarks" / "__init__.py").touch()
    (where / "benchmarks" / "suite.py").write_text(ASV.format(path=[str(where), str(ROOT)]))
    (where / "net.py").write_text((folder / "net.py").read_text())
    (where / "asv.conf.json").write_text(json.dumps(ASV_CONFIG))
    for words in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-qm", "net")):
        run(where, "git", "-c", "user.name=n", "-c", "user.email=n@example.com", *words)
    sha = run(where, "git", "rev-parse", "HEAD").strip()
    run(where, sys.executable, "-m", "asv", "machine", "--yes")
    run(
        where, sys.executable, "-m", "asv", "run", "--python=same", f"--set-commit-hash={sha}",
        "--record-samples", "--show-stderr",
    )  # fmt: skip
    (file,) = [one for one in where.glob("asv-results/*/*.json") if one.name != "machine.json"]
    stored = json.loads(file.read_text())
    values = dict(
        zip(stored["result_columns"], stored["results"]["suite.Suite.time_call"], strict=False)
    )
    return float(values["result"][0]), file


def asv_slower(before: Path, after: Path) -> bool:
    """Decide as `asv continuous`, with its default factor and its own statistics."""
    from asv import _stats as asv_statistics  # it has no public name

    read = []
    for one in (before, after):
        stored = json.loads(one.read_text())
        names = stored["result_columns"]
        values = dict(zip(names, stored["results"]["suite.Suite.time_call"], strict=False))
        stats = {
            key.removeprefix("stats_"): values[key][0]
            for key in names
            if key.startswith("stats_") and key in values
        }
        samples = (values.get("samples") or [None])[0]
        read.append((values["result"][0], samples, stats))
    (first, samples, stats), (second, other, more) = read
    differ = asv_statistics.is_different(samples, other, stats, more)
    return bool(differ and second > 1.1 * first)


def by_bench(folder: Path, number: int) -> tuple[float, Path]:
    out = folder / f"bench-{number}"
    (folder / "one.toml").write_text(TOML)
    run(
        folder, sys.executable, "-m", "bench", "run", "net:Net", "--config", "one.toml",
        "--mode", "inference", "--batch", "8", "--input", "3,224,224", "--device", "cpu",
        "--allocator", "system", "--out", str(out),
    )  # fmt: skip

    with (out / "measurements.csv").open(newline="", encoding="utf-8") as file:
        (row,) = [one for one in csv.DictReader(file) if one["phase"] == "forward"]
    return float(row["latency_median_s"]), out


def bench_slower(before: Path, after: Path) -> bool:
    """Return whether `bench check` says REGRESSED."""
    code = subprocess.run(
        [sys.executable, "-m", "bench", "check", str(after), "--baseline", str(before)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        cwd=ROOT,
    ).returncode  # fmt: skip
    return code == 1


def tools() -> list[Tool]:
    return [
        Tool("torch.utils.benchmark", "torch", by_timer, None, "none"),
        Tool("pytest-benchmark", "pytest-benchmark", by_pytest, pytest_slower, "median + 5 %"),
        Tool("asv", "asv", by_asv, asv_slower, "its statistics and a factor of 1.1"),
        Tool("bench", "convnet-bench", by_bench, bench_slower, "bench check, REGRESSED"),
    ]


def measure(all_tools: Sequence[Tool], rounds: int, folder: Path, *, slower: bool) -> None:
    (folder / "net.py").write_text(NET.format(slower=slower))
    draw = random.Random(rounds)
    for number in range(rounds):
        for tool in draw.sample(list(all_tools), len(all_tools)):
            start_s = time.monotonic()
            seconds, kept = tool.ask(folder, number)
            wall_s = time.monotonic() - start_s
            answer = Answer(seconds, wall_s, kept)
            (tool.more if slower else tool.answers).append(answer)
            print(f"{tool.name}: {1000 * seconds:.3f} ms, took {wall_s:.1f} s", flush=True)


def shares(tool: Tool) -> tuple[str, str]:
    """Return how often identical networks are called slower, and how often more work is found."""
    if tool.slower is None:
        return "it has no rule", "it has no rule"
    same = [
        tool.slower(one.kept, other.kept)
        for one in tool.answers
        for other in tool.answers
        if one is not other
    ]
    found = [tool.slower(one.kept, other.kept) for one in tool.answers for other in tool.more]
    return f"{sum(same)} of {len(same)}", f"{sum(found)} of {len(found)}"


def table(all_tools: Sequence[Tool]) -> str:
    head = (
        "tool",
        "median",
        "SD of its answers",
        "an answer takes",
        "the same code is called slower",
    )
    lines = [
        f"| {' | '.join((*head, '10 % more is found'))} |",
        "|---|---|---|---|---|---|",
    ]
    for tool in all_tools:
        times = [one.seconds for one in tool.answers]
        spread = statistics.stdev(map(math.log, times))
        same, found = shares(tool)
        wall_s = statistics.median(one.wall_s for one in tool.answers)
        lines.append(
            f"| {tool.name} {tool.version} | {1000 * statistics.median(times):.2f} ms | "
            f"{100 * spread:.1f} % | {wall_s:.0f} s | {same} | {found} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("results/comparison.md"))
    asked = parser.parse_args()
    found = tools()
    with tempfile.TemporaryDirectory(prefix="comparison-") as one, \
            tempfile.TemporaryDirectory(prefix="comparison-") as other:  # fmt: skip
        measure(found, asked.rounds, Path(one), slower=False)
        measure(found, max(2, asked.rounds // 2), Path(other), slower=True)
        text = table(found)
    print(text)
    asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
