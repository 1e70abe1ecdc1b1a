"""Make the pictures that show the suite: a film of a terminal, and a picture for links.

    python -m tools.demo                 docs/demo.svg from `bench run --quick`, docs/social.png
    python -m tools.demo --social        docs/social.png alone, from results/example
    python -m tools.demo --kept FILE     docs/demo.svg from this recording, which is made if missing

The terminal shows what the command printed here, in less time; its font comes from the reader's
system.  Other work on the machine shows in the figures, so let nothing else run.
"""

import argparse
import dataclasses
import datetime
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from bench.compare.speedup_grid import speedup_table
from bench.core.text import number_of
from bench.host import environment
from bench.plots.draw import rc_context
from bench.plots.style import BLACK, BLUE, FAINT, GREY
from bench.results.loading import load
from tools.animated_svg import Frame, svg
from tools.terminal import Line, Recording, Style, changes, record

ROOT = Path(__file__).parent.parent
COMMAND = ("run", "--quick", "--compile", "off")
COLUMNS = 100
ROWS = 34
AUTHOR = ("-c", "user.name=demo", "-c", "user.email=demo@example.org")
MOST_BYTES = 300_000
PROMPT_S, RUN_S, PAGE_S = 1.0, 12.0, 6.0  # of the film
LEAST_GAP_S, MOST_GAP_S = 0.08, 1.5  # between two changes of the screen
BATCH = 8
WIDE_IN, HIGH_IN, DPI = 12.8, 6.4, 100  # 1280 × 640 pixels, as sites show links


def recorded() -> Recording:
    """Run the command in a new repository, on a terminal of its own."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        for words in (("init", "--quiet"), ("commit", "--quiet", "--allow-empty", "-m", "demo")):
            subprocess.run(["git", *AUTHOR, *words], cwd=folder, check=True)
        found = record(
            [sys.executable, "-m", "bench", *COMMAND],
            Path(folder),
            {**os.environ, "PYTHONPATH": str(ROOT)},
            columns=COLUMNS,
            rows=ROWS,
        )
    cores = number_of(environment.affinity() or os.cpu_count() or 1, "processor")
    title = (
        f"bench {' '.join(COMMAND)}: {found.outputs[-1].at_s:.0f} s on {cores} of "
        f"{environment.cpu_model()}, recorded on {datetime.datetime.now(datetime.UTC).date()}"
    )
    return dataclasses.replace(found, title=title)


def film(recording: Recording) -> tuple[list[Frame], float, int]:
    """Return the frames, the length of the film in seconds, and the frame that stands for it.

    The run is played in RUN_S; then its output is shown from its first line, page after page.
    The first of these pages is the frame that stands for the film.
    """
    prompt: Line = ((f"$ bench {' '.join(COMMAND)}", Style(bold=True)),)
    seen, now_s, before_s = list(changes(recording)), PROMPT_S, 0.0
    faster = RUN_S / max(seen[-1].at_s, RUN_S)
    frames = [Frame(0.0, (prompt,))]
    for change in seen:
        now_s += min(MOST_GAP_S, max(LEAST_GAP_S, (change.at_s - before_s) * faster))
        before_s = change.at_s
        frames.append(Frame(round(now_s, 3), (prompt, *change.lines)[-ROWS:]))
    whole, still = (prompt, *seen[-1].lines), len(frames) - 1
    frames[-1] = Frame(frames[-1].at_s, whole[:ROWS])
    now_s += PAGE_S
    last = max(0, len(whole) - ROWS)
    for first in [*range(ROWS - 2, last, ROWS - 2), *([last] if last else [])]:
        frames.append(Frame(round(now_s, 3), whole[first : first + ROWS]))
        now_s += PAGE_S
    return frames, round(now_s, 3), still


def terminal(out: Path, kept: Path | None) -> None:
    """Write the film of the command.  kept: a recording that is used, and made if it is missing."""
    if kept is not None and kept.exists():
        recording = Recording.load(kept)
    else:
        recording = recorded()
        if kept is not None:
            recording.save(kept)
    frames, length_s, still = film(recording)
    made = svg(frames, length_s, columns=COLUMNS, rows=ROWS, title=recording.title, still=still)
    if len(made.encode()) > MOST_BYTES:
        raise SystemExit(f"{out}: {len(made.encode())} bytes, more than {MOST_BYTES}")
    out.write_text(made, encoding="utf-8")


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
    parser.add_argument("--kept", type=Path, help="an asciicast; made if it does not exist")
    given = parser.parse_args()
    if not given.social:
        terminal(ROOT / "docs" / "demo.svg", given.kept)
    social(ROOT / "docs" / "social.png")
