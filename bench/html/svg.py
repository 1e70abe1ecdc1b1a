"""Plots as pictures inside a page: SVG in a data address, with colours for light and dark.

A picture does not know the page's style, but it knows whether the reader prefers dark: each grey of
the plots becomes a variable of the SVG, and a media query sets it.
"""

import base64
import io
import re
from collections.abc import Mapping

from matplotlib.figure import Figure

from bench.plots.draw import rc_context

# The dark counterparts of the greys of bench.plots.style; the colours of data stay.
DARK: Mapping[str, str] = {
    "#ffffff": "#14171b",
    "#222222": "#eceff3",
    "#333333": "#d5dae0",
    "#6b6b6b": "#a2acb8",
    "#7a7a7a": "#8b95a1",
    "#9a9a9a": "#8b95a1",
    "#e3e3e3": "#2c323a",
    "#f0f0f0": "#22272e",
    "#000000": "#ffffff",
    "#0072b2": "#4da6e0",
}
_COLOR = re.compile(rf"({'|'.join(DARK)})\b(?=[;\"])", re.IGNORECASE)


def picture(figure: Figure) -> str:
    """Return the figure as SVG in a data address, for `<img src>`."""
    file = io.StringIO()
    with rc_context():
        figure.savefig(file, format="svg", metadata={"Date": None})
    data = base64.b64encode(with_dark_colors(file.getvalue()).encode()).decode()
    return f"data:image/svg+xml;base64,{data}"


def with_dark_colors(svg: str) -> str:
    """Return the SVG with a style sheet for readers who prefer dark."""
    variables = ";".join(f"--c{color[1:]}:{dark}" for color, dark in DARK.items())
    rules = f"<style>@media (prefers-color-scheme: dark){{svg{{{variables};fill:#ffffff}}}}</style>"
    replaced = _COLOR.sub(lambda found: f"var(--c{found[1][1:].lower()},{found[1]})", svg)
    head, tag, rest = replaced.partition("<defs>")
    return f"{head}{rules}{tag}{rest}"
