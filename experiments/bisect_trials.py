"""Try how often `bench bisect` names the right commit of repositories with a planted slowdown.

    python -m experiments.bisect_trials --trials 5 --out DIR      adds so many searches
    python -m experiments.bisect_trials --read DIR                prints the table again

Each trial makes a repository of COMMITS commits.  From one of them on, drawn by chance, the network
has MORE of its LAYERS equal layers, so a call takes 8 % longer.  Every commit edits the file of the
network, so that none is likelier than another; one commit in the middle does not import.  Then
`bench bisect` searches from the command line.  Nothing else may run meanwhile.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench.bisect import journal
from bench.bisect.journal import Confirmed, Measured
from bench.host.git import git
from experiments.live import share, with_folder

COMMITS = 64
LAYERS, MORE = 25, 2
BROKEN = COMMITS // 2
NET = """from torch import nn

EDIT = {number}


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range({layers})))
"""
FILE = "trials.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One search.

    culprit, named: numbers of commits; no name: no answer.  pairs: those of GOOD and BAD included,
    those of the confirmation not.
    """

    culprit: int
    named: tuple[int, ...]
    pairs: int
    confirmations: int
    exit_code: int
    wall_s: float

    @property
    def right(self) -> bool:
        """Return whether the answer has the commit; the broken one belongs to its neighbours."""
        return self.exit_code == 0 and self.culprit in self.named


def make_repository(folder: Path, culprit: int) -> list[str]:
    """Make the commits, GOOD first; return their hashes."""
    call = partial(git, folder, why="the repository cannot be made")
    call("init", "--quiet")
    who = ["-c", "user.name=trial", "-c", "user.email=trial@example.org"]
    for number in range(COMMITS + 1):
        layers = LAYERS + (MORE if number >= culprit else 0)
        text = NET.format(number=number, layers=layers)
        if number == BROKEN:
            text += "import a_module_that_does_not_exist\n"
        (folder / "net.py").write_text(text, encoding="utf-8")
        call("add", "--all")
        call(*who, "commit", "--quiet", "--message", f"commit {number}")
    return call("log", "--reverse", "--format=%H").split()


def trial(culprit: int, out: Path) -> Trial:
    """Search once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hashes = make_repository(folder, culprit)
        command = [sys.executable, "-m", "bench", "bisect", hashes[0], hashes[-1]]
        command += ["--subject", "net.py:Net", "--input", "16,48,48", "--batch", "4"]
        command += ["--mode", "inference", "--out", str(out.absolute())]
        start_s = time.monotonic()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        wall_s = time.monotonic() - start_s
    if done.returncode not in (0, 3):
        raise SystemExit(done.stdout + done.stderr)
    lines = journal.lines(out / journal.NAME)
    confirmed = [one for one in lines if isinstance(one, Confirmed)]
    named: tuple[int, ...] = ()
    if confirmed and confirmed[-1].differs:
        first, last = (hashes.index(one) for one in (confirmed[-1].parent, confirmed[-1].commit))
        named = tuple(range(first + 1, last + 1))
    return Trial(
        culprit=culprit,
        named=named,
        pairs=sum(isinstance(one, Measured) for one in lines),
        confirmations=len(confirmed),
        exit_code=done.returncode,
        wall_s=wall_s,
    )


def show(found: Sequence[Trial]) -> None:
    """Print a line for each search, and the shares."""
    print("| planted at | named | pairs | confirmations | time |\n|---|---|---|---|---|")
    for one in found:
        named = ", ".join(map(str, one.named)) or "none"
        print(
            f"| {one.culprit} | {named}{'' if one.right else ' (wrong)'} | {one.pairs} | "
            f"{one.confirmations} | {one.wall_s:.0f} s |"
        )
    pairs = [one.pairs for one in found]
    print(f"right: {share(sum(one.right for one in found), len(found))}")
    print(f"pairs: median {statistics.median(pairs):.0f}, at most {max(pairs)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=5)
    asked, folder = with_folder(parser)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number in range(len(lines), len(lines) + (asked.trials if asked.out else 0)):
        culprit = random.Random(number).randint(1, COMMITS)
        found = trial(culprit, folder / f"search-{number:02d}")
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found)) + "\n")
        print(f"search {number}: planted at {culprit}, named {found.named}", flush=True)
    known = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    show([Trial(**{**one, "named": tuple(one["named"])}) for one in known])


if __name__ == "__main__":
    main()
