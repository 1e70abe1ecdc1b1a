"""Plots of a run as objects that a notebook shows."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path

from matplotlib.figure import Figure

from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.plots import draw
from bench.plots.style import NothingToDraw
from bench.results.results import Results

FILE_NAMES = {"speedup": "gain"}  # plots that are called otherwise in a run directory


class PictureError(UserError):
    """A plot that cannot be drawn; the message says why."""


@dataclass(frozen=True, repr=False)
class Pictures(Mapping[str, Figure]):
    """Figures of matplotlib by subject."""

    name: str
    figures: Mapping[str, Figure]

    def __getitem__(self, subject: str) -> Figure:
        return self.figures[subject]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    @property
    def figure(self) -> Figure:
        """Return the only figure.  Raises PictureError if there are several."""
        if len(self.figures) != 1:
            raise PictureError(
                f"there are {len(self.figures)} figures: choose one of {', '.join(self.figures)}"
            )
        return next(iter(self.figures.values()))

    def save(self, folder: str | PathLike[str]) -> list[Path]:
        """Write each as PNG and SVG into a folder, which is made; return the PNG files."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        many = len(self.figures) > 1
        return [
            draw.save(one, Path(folder) / f"{self.name}{f'-{draw.slug(of)}' if many else ''}.png")
            for of, one in self.figures.items()
        ]

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self.figures)} figure{'s' * (len(self.figures) != 1)}>"

    def _repr_html_(self) -> str:
        return "".join(
            f"<div><b>{escape(of)}</b></div>{_svg(one)}" for of, one in self.figures.items()
        )


def _svg(figure: Figure) -> str:
    said = io.StringIO()
    with draw.rc_context():
        figure.savefig(said, format="svg", metadata={"Date": None})
    text = said.getvalue()
    return text[text.index("<svg") :]


def pictures(run: Results, name: str) -> Pictures:
    """Draw a plot by its name.  Raises PictureError."""
    names = [*FILE_NAMES, *(one for one in draw.PLOTS if one not in FILE_NAMES.values())]
    plot = FILE_NAMES.get(name, name)
    if plot not in draw.PLOTS:
        near = did_you_mean(name, names)
        raise PictureError(f"{name!r} is not a plot: choose from {', '.join(names)}{near}")
    try:
        return Pictures(name, draw.figures(run, plot))
    except NothingToDraw as nothing:
        raise PictureError(f"there is no plot {name}: {nothing}") from None
