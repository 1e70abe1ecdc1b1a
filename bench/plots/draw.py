"""The plots of a run.

A plot for which a run has no data is not drawn, and `draw` says why.
"""

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from bench.plots.devices import devices
from bench.plots.layers import layers
from bench.plots.roofline import roofline
from bench.plots.scaling import latency, memory, throughput
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
    "memory": memory,
    "devices": devices,
}


# Of absolute times; the others show what stays inside a run, so as measured.
OF_TIMES = frozenset({"latency", "throughput", "memory"})


class Drawn(NamedTuple):
    """The plots that were drawn, and the reasons why others were not.

    paths:   of the PNG files, in the order of `PLOTS`; beside each lies the same as SVG.
    reasons: "NAME: reason".
    """

    paths: list[Path]
    reasons: list[str]


def draw(run: Results) -> Drawn:
    """Write the plots of a run into the folder `plots` of its directory, instead of those there."""
    figures, reasons = build(run)
    folder = run.path / FOLDER
    folder.mkdir(exist_ok=True)
    _clear(folder)
    paths = [save(figure, folder / f"{name}.png") for name, figure in figures.items()]
    return Drawn(paths, reasons)


def build(run: Results) -> tuple[dict[str, Figure], list[str]]:
    """The figures by file name without its ending, and why others are missing."""
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
                if stem in figures:  # names that differ only in characters no file name has
                    stem = f"{stem}-{_digest(of)}"
                figures[stem] = figure
    return figures, reasons


def figures(run: Results, name: str) -> dict[str, Figure]:
    """Build one of the PLOTS, a figure for each subject.  Raises NothingToDraw."""
    with rc_context():
        return PLOTS[name](run if name in OF_TIMES else uncorrected(run))


def slug(text: str) -> str:
    """A file name from any text: readable, safe in a shell and an address."""
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._")
    return readable if 0 < len(readable) <= 60 else f"{readable[:50]}-{_digest(text)}".lstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


@contextmanager
def rc_context() -> Iterator[None]:
    """The settings of matplotlib while a figure is built and while it is saved."""
    # Not a user's matplotlibrc: the same run gives the same picture.  rc_context does not
    # restore the backend, so that is left alone.
    settings: Any = {**matplotlib.rcParamsDefault, **RC_PARAMS}
    del settings["backend"]
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A subject may have letters that the font lacks: an empty box, and no warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _clear(folder: Path) -> None:
    """Plots of an earlier state of the run would pass for this one's."""
    for old in folder.iterdir():
        if old.suffix in (".png", ".svg") and old.stem.split("-")[0] in PLOTS:
            old.unlink()


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG and, beside it, SVG; return the path of the first."""
    with rc_context():
        figure.savefig(path, metadata={"Software": None})
        figure.set_layout_engine("none")  # as laid out: a second time would take as long
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return path
