"""Install a wheel into an empty environment outside the repository, and use it there.

python -m tools.try_wheel build/dist/convnet_bench-*.whl
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
NET = """
from torch import nn

def make_net():
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU())
"""
SCRIPT = """
import torch, bench
found = bench.measure(torch.nn.Linear(8, 8), torch.randn(4, 8))
print(found)
assert found.latency.median > 0
"""


def main() -> None:
    """Exit with a traceback if a step fails."""
    wheel = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        work = Path(folder) / "work"
        work.mkdir()
        venv.create(Path(folder) / "venv", with_pip=True)
        programs = Path(folder) / "venv" / "bin"
        (work / "net.py").write_text(NET, encoding="utf-8")
        (work / "script.py").write_text(SCRIPT, encoding="utf-8")
        constraints = ROOT / "constraints.txt"
        _run(work, programs / "pip", "install", "--quiet", "-c", constraints, wheel)
        for script in ("bench", "convnet-bench"):
            _run(work, programs / script, "--version")
        _run(work, programs / "bench", "run", "net.py:make_net", "--quick", "--out", "out")
        _run(work, programs / "bench", "report", "out", "--out", "out.html")
        _run(work, programs / "python", "script.py")
        assert (work / "out" / "measurements.csv").stat().st_size > 1000
        assert (work / "out.html").stat().st_size > 10_000


def _run(folder: Path, *command: object) -> None:
    print("$", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(one) for one in command], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    main()
