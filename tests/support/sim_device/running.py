"""Starts processes in which the simulated accelerator is installed.

Its times are set, so what comes back from them is known before.  Each test has processes of its
own: torch can have one such backend, and it cannot be unloaded.
"""

import csv
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.paths import ROOT

SUBJECT = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(4 * 4 * 4, 10),
        )
"""

# Long enough that the CPU's kernels hide in the launches; work as long as in no other test.
LAUNCH_S, KERNEL_S = 0.0004, 0.0024
TIMES = {
    "SIM_LAUNCH_US": LAUNCH_S * 1e6,
    "SIM_KERNEL_US": KERNEL_S * 1e6,
    "SIM_KERNEL_NS_PER_KIB": 0,
}


def variables(site: Path, **settings: object) -> dict[str, str]:
    """Of a process in which the backend is installed."""
    path = os.pathsep.join((str(site), str(ROOT)))
    return {**os.environ, "PYTHONPATH": path, **{k: str(v) for k, v in settings.items()}}


def said(site: Path, code: str, **settings: object) -> str:
    """What this Python code prints; the backend is loaded by `import torch`."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=variables(site, **settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def bench(
    folder: Path, site: Path, *arguments: str, **settings: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env=variables(site, **settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def project(folder: Path, sweep: str = "") -> Path:
    """The folder, with the subject `net.py:Net` and what `bench run` measures there."""
    (folder / "net.py").write_text(SUBJECT)
    if sweep:
        (folder / "bench.toml").write_text(sweep)
    return folder
