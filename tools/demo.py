"""Make the pictures that show the suite: a terminal as SVG, and a picture for links.

    python -m tools.demo                 docs/demo.svg from `bench run --quick`, docs/social.png
    python -m tools.demo --social        docs/social.png alone, from results/example

The terminal shows what the command printed here; its font comes from the reader's system.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from bench.compare.speedup_grid import speedup_table
from bench.plots.draw import rc_context
from bench.plots.style import BLACK, BLUE, FAINT, GREY
from bench.results.loading import load

ROOT = Path(__file__).parent.parent
COMMAND = ("run", "--quick", "--compile", "off")
COLUMNS = 100
FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
BATCH = 8
WIDE_IN, HIGH_IN, DPI = 12.8, 6.4, 100  # 1280 × 640 pixels, as sites show links


def terminal(out: Path) -> None:
    """Run the command, and write what it printed as an SVG."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "bench", *COMMAND, "--out", "run"],
            cwd=folder, text=True, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "COLUMNS": str(COLUMNS),
                "FORCE_COLOR": "1",
            },
        )  # fmt: skip
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(Text(f"$ bench {' '.join(COMMAND)}", style="bold"))
    console.print(Text.from_ansi(done.stdout))
    made = console.export_svg(title="bench")
    out.write_text(FONT.sub("", made), encoding="utf-8")


def social(out: Path) -> None:
    """Write a picture of the speedups in results/example."""
    run = load(ROOT / "results" / "example")
    grid = next(one for one in speedup_table(run) if one.mode == "inference")
    place = grid.batches.index(BATCH)
    cells = [(line.setting, line.cells[place]) for line in grid.lines]
    rows = [(name, cell) for name, cell in cells if cell and cell.low and cell.high][::-1]
    with rc_context():
        figure = Figure(figsize=(WIDE_IN, HIGH_IN), dpi=DPI)
        figure.text(0.06, 0.86, "bench", fontsize=44, weight="bold", color=BLACK)
        figure.text(
            0.06, 0.77, "the speed and memory of a PyTorch network, with error bars",
            fontsize=21, color=GREY,
        )  # fmt: skip
        axes = figure.add_axes((0.28, 0.12, 0.64, 0.54))
        names = [name for name, _ in rows]
        ratios = [cell.ratio for _, cell in rows]
        below = [cell.ratio - (cell.low or 0.0) for _, cell in rows]
        above = [(cell.high or 0.0) - cell.ratio for _, cell in rows]
        axes.barh(
            range(len(rows)), ratios, xerr=(below, above), color=BLUE, ecolor=BLACK, capsize=5,
            height=0.6,
        )  # fmt: skip
        axes.axvline(1.0, color=BLACK, linewidth=1)
        axes.set_yticks(range(len(rows)), names, fontsize=16)
        axes.tick_params(axis="x", labelsize=14)
        axes.set_xlabel(
            f"speedup of the ConvNet's inference over plain, N={BATCH}, 95 % intervals", fontsize=15
        )
        axes.grid(axis="x", color=FAINT)
        figure.savefig(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--social", action="store_true")
    if not parser.parse_args().social:
        terminal(ROOT / "docs" / "demo.svg")
    social(ROOT / "docs" / "social.png")
