"""Figures for the tests: their texts, and the overlaps of their parts."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, FigureBase
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox, BboxBase


def captions(part: FigureBase) -> list[Text]:
    """Title, footer and subtitle."""
    return [*part.texts, *(text for inner in part.subfigs for text in captions(inner))]


def legends(figure: Figure) -> list[Legend]:
    return [one for one in figure.findobj(Legend) if isinstance(one, Legend)]


def collisions(figure: Figure) -> list[str]:
    """Panels, captions, legends and tick labels that overlap, or that the figure's edge cuts."""
    figure.draw_without_rendering()
    boxes = {f"caption {one.get_text()!r}": one.get_window_extent() for one in captions(figure)}
    boxes |= {f"legend {at}": one.get_window_extent() for at, one in enumerate(legends(figure))}
    for at, axes in enumerate(figure.axes):
        box = axes.get_tightbbox()
        assert box is not None
        boxes[f"panel {at} {axes.get_label()}"] = box
    found = [f"{name} is cut" for name, box in boxes.items() if not _inside(box, figure.bbox)]
    found += _overlaps(boxes)
    for axes in figure.axes:
        found += _overlaps(_ticks(axes, axes.xaxis)) + _overlaps(_ticks(axes, axes.yaxis))
    return found


def _overlaps(boxes: dict[str, Bbox]) -> list[str]:
    pairs = combinations(boxes.items(), 2)
    return [f"{one} / {other}" for (one, a), (other, b) in pairs if a.overlaps(b)]


def _inside(box: BboxBase, whole: BboxBase) -> bool:
    return bool(
        whole.x0 <= box.x0 and whole.y0 <= box.y0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
    )


def _ticks(axes: Axes, axis: Axis) -> dict[str, Bbox]:
    low, high = sorted(axis.get_view_interval())
    return {
        f"{axes.get_label()} tick {at} {tick.label1.get_text()!r}": tick.label1.get_window_extent()
        for at, tick in enumerate(axis.get_major_ticks())
        if axes.axison and tick.label1.get_visible() and low <= tick.get_loc() <= high
    }
