"""Compare the first minute of `bench run --quick` with the targets of this suite.

    python -m experiments.first_minute --out DIR             measures, and prints the table
    python -m experiments.first_minute --read DIR            prints it again

Three runs, each from the command line.  `quiet`: a ResNet-18 at N = 4 and 224 pixels.  `busy`: the
same beside one busy process for each processor.  `case`: one case of the ConvNet.  Nothing else may
run meanwhile.  They share a cache folder of their own, which is empty at first.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
from rich.console import Console

from bench.compare.speedup_grid import speedup_table
from bench.core.records import whole_phase
from bench.results.loading import load
from bench.results.results import Results
from bench.verdict.text_table import Column, TextTable
from experiments.busy import neighbours

ROOT = Path(__file__).parents[1]
RESNET = ["--subject", "tests.subjects.networks:ResNet18", "--input", "3,224,224", "--batch", "4"]
ONE = ["--mode", "inference", "--memory-format", "contiguous", "--amp", "off"]
SCENES = {"quiet": RESNET, "busy": RESNET, "case": ONE}
FIRST_FIGURE = re.compile(r"\d+/\d+ ")  # how the line of an outcome begins
# Seconds of the command, and up to the first figure; None: no target.
TARGETS: dict[str, tuple[float, float | None]] = {
    "quiet": (60.0, 10.0),
    "busy": (90.0, None),
    "case": (20.0, 10.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """One command: its seconds, those up to the first figure, and its exit code."""

    wall_s: float
    first_figure_s: float | None
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The number of questions that a run answers.

    covered:   cases with every replicate that was asked for; of so many.
    intervals: speedups with an interval; of so many that are printed.
    flagged:   cases whose row says that other work disturbed it.
    share:     of its time that was warm-up and samples; None where it does not say.
    """

    cases: int
    covered: int
    speedups: int
    intervals: int
    flagged: int
    share: float | None


def measure(folder: Path, scene: str) -> Took:
    """Run the command of the scene, and read what it prints as it comes."""
    command = [sys.executable, "-m", "bench", "run", *SCENES[scene], "--quick"]
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "XDG_CACHE_HOME": str((folder / "cache").absolute()),
        "MPLCONFIGDIR": matplotlib.get_cachedir(),  # a user has its list of fonts already
    }
    first_s = None
    start_s = time.monotonic()
    with subprocess.Popen(
        [*command, "--out", str((folder / scene).absolute())],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        with (folder / f"{scene}.txt").open("w", encoding="utf-8") as log:
            for line in running.stdout:
                if first_s is None and FIRST_FIGURE.match(line):
                    first_s = time.monotonic() - start_s
                log.write(line)
    wall_s = time.monotonic() - start_s
    return Took(wall_s=wall_s, first_figure_s=first_s, exit_code=running.returncode)


def answers(run: Results) -> Answers:
    """Count what a run answers; a case that failed is not covered."""
    wholes = [one for one in run.rows if one.mode and one.phase == whole_phase(one.mode)]
    asked = run.description.config.replicates
    cells = [
        cell
        for grid in speedup_table(run)
        for line in grid.lines
        for cell in line.cells
        if cell is not None
    ]
    spent = run.description.written().get("spent")
    share = None
    if isinstance(spent, dict) and (total_s := sum(spent.values())):
        share = (spent["warmup_s"] + spent["samples_s"]) / total_s
    return Answers(
        cases=len(run.description.cases),
        covered=sum((one.replicates or 0) >= asked for one in wholes if one.status == "ok"),
        speedups=len(cells),
        intervals=sum(cell.low is not None for cell in cells),
        flagged=sum("contended" in (one.flags or "") for one in wholes),
        share=share,
    )


def table(found: Sequence[tuple[str, Took, Answers]]) -> TextTable:
    """A line for each scene."""
    names = ("run", "first figure", "done", "covered", "intervals", "contended", "timed", "exit")
    made = TextTable("The first minute", [Column(name, right=name != "run") for name in names])
    for scene, took, seen in found:
        done_s, first_s = TARGETS[scene]
        made.add(
            scene,
            against(took.first_figure_s, first_s),
            against(took.wall_s, done_s),
            f"{seen.covered}/{seen.cases}",
            f"{seen.intervals}/{seen.speedups}",
            f"{seen.flagged}/{seen.cases}",
            "–" if seen.share is None else f"{seen.share:.0%}",
            str(took.exit_code),
        )
    made.caption = "in brackets: the target; timed: the share of the time in warm-up and samples"
    return made


def against(seconds: float | None, target_s: float | None) -> str:
    """`12.3 s (20 s)`; `missed` where the target is not reached."""
    shown = "none" if seconds is None else f"{seconds:.1f} s"
    if target_s is None:
        return shown
    missed = seconds is None or seconds > target_s
    return f"{shown} ({target_s:.0f} s{', missed' if missed else ''})"


def show(folder: Path) -> None:
    """Print the table of what lies in the folder."""
    found = []
    for scene in SCENES:
        took = folder / f"{scene}.json"
        if took.exists() and (folder / scene).exists():
            fields = json.loads(took.read_text(encoding="utf-8"))
            found.append((scene, Took(**fields), answers(load(folder / scene))))
    Console().print(table(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a new folder for what is measured")
    parser.add_argument("--read", type=Path, help="a folder that was measured")
    asked = parser.parse_args()
    if (asked.out is None) == (asked.read is None):
        parser.error("give --out, to measure, or --read")
    if asked.out:
        asked.out.mkdir(parents=True)
        for scene in SCENES:
            with neighbours(len(os.sched_getaffinity(0)) if scene == "busy" else 0):
                took = measure(asked.out, scene)
            (asked.out / f"{scene}.json").write_text(json.dumps(asdict(took)), encoding="utf-8")
    show(asked.out or asked.read)


if __name__ == "__main__":
    main()
