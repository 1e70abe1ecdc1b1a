"""The sheet of a plot: title, subtitle, panels with their legend, and footer.

Constrained layout places them.  The subtitle and the panels have their own subfigures, because a
figure reserves a single strip for both its title and its legend, where they would overlap.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Text

from bench.plots.style import FAINT, INK

MARGIN_IN = 0.18
DPI = 150


@dataclass(frozen=True, slots=True)
class Captions:
    """The texts around the panels."""

    title: str
    subtitle: str
    footer: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure with its panels, by row and column."""

    figure: Figure
    panels: tuple[tuple[Axes, ...], ...]
    captions: tuple[Text, Text, Text]
    legend: Legend | None
    body_in: tuple[float, float]

    def fitted(self) -> Figure:
        """Resize the figure so that its panels have their size and nothing is cut.

        It must be called after everything is drawn.
        """
        figure = self.figure
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)
        size_in = [float(one) for one in figure.get_size_inches()]
        across = [axes.get_window_extent().width for axes in self.panels[0]]
        down = [row[0].get_window_extent().height for row in self.panels]
        size_in[0] += self.body_in[0] - sum(across) / figure.dpi
        missing_in = self.body_in[1] - sum(down) / figure.dpi
        if self.legend:
            bottom = self.captions[2].get_window_extent().y1 + MARGIN_IN * figure.dpi
            below = bottom - self.legend.get_window_extent().y0
            missing_in = max(missing_in, below / figure.dpi)
        before = self._captions_in()
        _wrap(self.captions, size_in[0])
        size_in[1] += missing_in + self._captions_in() - before
        figure.set_size_inches(size_in[0], size_in[1])
        return figure

    def _captions_in(self) -> float:
        return sum(text.get_window_extent().height for text in self.captions) / self.figure.dpi


def sheet(
    captions: Captions,
    heights_in: Sequence[float],
    columns: int,
    *,
    width_in: float = 3.6,
    legend: Sequence[Artist] = (),
    legend_title: str = "",
) -> Sheet:
    """Return a sheet of empty panels; the panels of a row have a common y axis.

    heights_in: the height of the panels of each row, without ticks and titles.
    width_in:   the width of each panel, likewise.
    legend:     the entries of the legend, which is right of the panels.
    """
    rows = len(heights_in)
    body_in = (columns * width_in, sum(heights_in))
    # More space than needed around the panels; `fitted` removes the rest.
    size_in = (body_in[0] + 4.0 + columns, body_in[1] + 2.0 + rows)
    engine = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=size_in, dpi=DPI, layout=engine)
    middle = figure.add_subfigure(figure.add_gridspec()[0])
    body = middle.add_subfigure(middle.add_gridspec()[0])
    texts = (
        figure.suptitle(captions.title, ha="left", fontsize=13, fontweight="bold", color=INK),
        middle.suptitle(captions.subtitle, ha="left", fontsize=9.5, color=FAINT),
        figure.supxlabel(captions.footer, ha="left", fontsize=7.5, color=FAINT),
    )
    _wrap(texts, size_in[0])
    grid = body.subplots(rows, columns, sharey="row", squeeze=False, height_ratios=heights_in)
    for axes in grid[:, 1:].flat:
        axes.tick_params(axis="y", length=0)
    entries = None
    if legend:
        entries = body.legend(
            handles=list(legend),
            loc="outside right upper",
            handlelength=3.2,
            labelspacing=0.7,
            fontsize=9,
            title=legend_title or None,
            alignment="left",
        )
        entries.get_title().set_color(FAINT)
    return Sheet(figure, tuple(map(tuple, grid)), texts, entries, body_in)


def _wrap(texts: Sequence[Text], width_in: float) -> None:
    """Break the lines of the captions, at a left and a right margin."""
    for text in texts:
        # A no-break space before the dot: lines end with it, and none begins with it.
        words = " ".join(text.get_text().split("\n")).replace(" · ", "\u00a0· ")
        text.set_text(words)
        text.set_x(MARGIN_IN / width_in)
        most = (width_in - 2 * MARGIN_IN) * DPI
        wide = text.get_window_extent().width
        characters = len(words) if wide <= most else math.ceil(1.2 * len(words) * most / wide)
        while text.get_window_extent().width > most and characters > 8:
            text.set_text(textwrap.fill(words, characters))
            characters -= 1
