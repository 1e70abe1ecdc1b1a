"""The plots of a run.

A plot for which a run has no data is not drawn, and `draw` says why.
"""

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from bench.plots.devices import devices
from bench.plots.layers import layers
from bench.plots.roofline import roofline
from bench.plots.scaling import latency, peak_memory, throughput
from bench.plots.speedup import gain
from bench.plots.style import RC_PARAMS, NothingToDraw
from bench.results.corrected import uncorrected
from bench.results.results import Results

FOLDER = "plots"

PLOTS: Mapping[str, Callable[[Results], dict[str, Figure]]] = {
    "latency": latency,
    "throughput": throughput,
    "gain": gain,
    "layers": layers,
    "roofline": roofline,
    "memory": peak_memory,
    "devices": devices,
}


# These show absolute times, which may be corrected.  The others use the times as measured, because
# they compare times within the run.
OF_TIMES = frozenset({"latency", "throughput", "memory"})


def draw(run: Results) -> list[Path]:
    """Write the plots of a run into the folder `plots` of its directory; replace older ones.

    Return the PNG files in the order of `PLOTS`.  The folder has each as SVG as well.
    """
    figures, _ = build(run)
    folder = run.path / FOLDER
    folder.mkdir(exist_ok=True)
    clear(folder)
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def build(run: Results) -> tuple[dict[str, Figure], list[str]]:
    """Return the figures by file name without suffix, and a "NAME: reason" for each other plot."""
    figures: dict[str, Figure] = {}
    reasons: list[str] = []
    measured = uncorrected(run)
    with rc_context():
        for name, plot in PLOTS.items():
            try:
                found = plot(run if name in OF_TIMES else measured)
            except NothingToDraw as nothing:
                reasons.append(f"{name}: {nothing}")
                continue
            for of, figure in found.items():
                stem = name if len(found) == 1 else f"{name}-{slug(of)}"
                if stem in figures:  # the names differ only in characters that `slug` replaces
                    stem = f"{stem}-{_digest(of)}"
                figures[stem] = figure
    return figures, reasons


def figures(run: Results, name: str) -> dict[str, Figure]:
    """Build one of the PLOTS, a figure for each subject.  Raises NothingToDraw."""
    with rc_context():
        return PLOTS[name](run if name in OF_TIMES else uncorrected(run))


def slug(text: str) -> str:
    """Return a file name for any text: readable, safe in a shell and in a URL."""
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._")
    return readable if 0 < len(readable) <= 60 else f"{readable[:50]}-{_digest(text)}".lstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


@contextmanager
def rc_context() -> Iterator[None]:
    """Set matplotlib's parameters for building and saving a figure."""
    # The defaults, not the user's matplotlibrc, so that the same run gives the same picture.
    # rc_context does not restore the backend, so it is not changed.
    settings: Any = {**matplotlib.rcParamsDefault, **RC_PARAMS}
    del settings["backend"]
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A letter that the font lacks becomes an empty box; the warning is hidden.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def clear(folder: Path) -> None:
    """Remove older plots, which could be mistaken for current ones."""
    for old in folder.iterdir():
        if old.suffix in (".png", ".svg") and old.stem.split("-")[0] in PLOTS:
            old.unlink()


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG and as SVG into the same folder; return the path of the PNG."""
    with rc_context():
        figure.savefig(path, metadata={"Software": None})
        figure.set_layout_engine("none")  # keep the layout; a second layout would be slow
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return path
