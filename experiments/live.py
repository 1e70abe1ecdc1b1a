"""Try how often `bench ab` is wrong: on identical code, and on known extra work.

    python -m experiments.live --same 13 --slowed 6 --out DIR      measures
    python -m experiments.live --same 2 --busy --out DIR           beside one busy process
    python -m experiments.live --read DIR                          counts again

With a DIR that holds some comparisons already, the others are added.

Each comparison is `bench ab` from the command line on two revisions of a small repository, made
for it, with worktrees and all.  `same`: ConvNet and its layers in both modes at N = 8, one revision
against itself.  `slowed`: the ConvNet and five of its layers, alone, in both modes, against a
revision in which each takes EXTRA longer (`experiments.slowed`).  Nothing else may run meanwhile.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from scipy.stats import binomtest

from experiments import slowed
from experiments.busy import neighbours

ROOT = Path(__file__).parents[1]
SAME = ["--subject", "convnet", "--subject", "convnet/*"]
SLOWED = [flag for layer in slowed.SHAPES for flag in ("--subject", f"slowed:Slowed({layer!r})")]


def make_repository(folder: Path, extra: float) -> None:
    """Two commits: `before`, and `after`, in which EXTRA is not 0 any more."""
    shutil.copytree(ROOT / "convnet", folder / "convnet")
    text = Path(slowed.__file__).read_text(encoding="utf-8")
    who = ["-c", "user.name=live", "-c", "user.email=live@example.org"]
    git(folder, "init", "--quiet")
    for tag, value in (("before", 0.0), ("after", extra)):
        changed = text.replace("EXTRA = 0.0\n", f"EXTRA = {value}\n")
        (folder / "slowed.py").write_text(changed, encoding="utf-8")
        git(folder, "add", "--all")
        git(folder, *who, "commit", "--quiet", "--allow-empty", "--message", tag)
        git(folder, "tag", tag)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


def compare(folder: Path, out: Path, name: str, flags: Sequence[str], seed: int) -> None:
    """Make one comparison, and write its duration beside its report."""
    sides = ["before", "after"] if name == "slowed" else ["before", "before"]
    command = [sys.executable, "-m", "bench", "ab", *sides, *flags, "--seed", str(seed)]
    start_s = time.monotonic()
    done = subprocess.run([*command, "--out", str(out)], cwd=folder, capture_output=True, text=True)
    took = {"name": name, "wall_s": time.monotonic() - start_s, "exit_code": done.returncode}
    if not (out / "ab.csv").exists():  # interrupted, or it did not begin
        raise SystemExit(done.stderr)
    (out / "live.json").write_text(json.dumps(took), encoding="utf-8")
    print(f"{out.name}: exit code {done.returncode}, {took['wall_s']:.0f} s", flush=True)


def verdicts(out: Path) -> tuple[str, dict[str, dict[str, str]]]:
    """Return the name of a comparison and, by case, the verdicts of its phases."""
    found: dict[str, dict[str, str]] = {}
    with (out / "ab.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["figure"] == "time_s":
                found.setdefault(row["case_id"], {})[row["phase"]] = row["verdict"]
    return json.loads((out / "live.json").read_text(encoding="utf-8"))["name"], found


def share(count: int, of: int) -> str:
    """Return the share with the interval of Clopper and Pearson (1934)."""
    ends = binomtest(count, of).proportion_ci(method="exact")
    return f"{count} of {of} = {count / of:.1%} (95 %: {ends.low:.1%} to {ends.high:.1%})"


def show(folders: Iterable[Path]) -> None:
    """Print both rates, and the time per case.

    Cases of one comparison share its minutes, so comparisons are counted as well.
    """
    cases: dict[str, list[dict[str, str]]] = {}
    wall_s: Counter[str] = Counter()
    comparisons: Counter[tuple[str, bool]] = Counter()
    for folder in folders:
        name, found = verdicts(folder)
        cases.setdefault(name, []).extend(found.values())
        comparisons[name, any("REGRESSED" in one.values() for one in found.values())] += 1
        wall_s[name] += json.loads((folder / "live.json").read_text(encoding="utf-8"))["wall_s"]
    for name, seen in cases.items():
        print(f"{name}: {len(seen)} cases, {wall_s[name] / len(seen):.0f} s each")
        regressed = sum("REGRESSED" in one.values() for one in seen)
        print(f"  cases with a phase that is REGRESSED: {share(regressed, len(seen))}")
        alarmed, quiet = comparisons[name, True], comparisons[name, False]
        print(f"  comparisons with such a case: {share(alarmed, alarmed + quiet)}")
        phases = Counter((phase, verdict) for one in seen for phase, verdict in one.items())
        for phase in ("forward", "backward", "optimizer", "step"):
            own = {verdict: n for (of, verdict), n in phases.items() if of == phase}
            if own:
                counts = ", ".join(f"{verdict} {n}" for verdict, n in sorted(own.items()))
                print(f"  {phase}: {counts}")


def with_folder(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Path]:
    """Add `--out` and `--read`, and return the arguments and the folder that one of them names."""
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path)
    asked = parser.parse_args()
    folder = asked.read or asked.out
    if folder is None:
        parser.error("give --out, to measure, or --read")
    return asked, folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same", type=int, default=0, help="so many comparisons of identical code")
    parser.add_argument("--slowed", type=int, default=0, help="so many with extra work on side B")
    parser.add_argument("--extra", type=float, default=0.10)
    parser.add_argument("--busy", action="store_true", help="beside one busy process")
    parser.add_argument("--seed", type=int, default=0)
    asked, folder = with_folder(parser)
    if asked.out:
        repository = folder / "repository"
        if not repository.exists():
            repository.mkdir(parents=True)
            make_repository(repository, asked.extra)
        counts = (("same", SAME, asked.same), ("slowed", SLOWED, asked.slowed))
        with neighbours(int(asked.busy)):
            for name, flags, count in counts:
                for number in range(count):
                    out = folder / f"{name}-{number:02d}"
                    if not (out / "live.json").exists():
                        compare(repository, out.absolute(), name, flags, asked.seed + number)
    show(sorted(one.parent for one in folder.glob("*/live.json")))


if __name__ == "__main__":
    main()
