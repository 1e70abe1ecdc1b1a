"""Plots as pictures inside a page: SVG in a data address, with colours for light and dark.

A picture cannot see the page's style, but it sees whether the reader wants it dark: each grey of
the plots becomes a variable of the SVG that a media query turns.
"""

import base64
import io
import re
from collections.abc import Mapping

from matplotlib.figure import Figure

from bench.plots.draw import rc_context

# Greys of bench.plots.style, and what they are on dark paper; data colours stay.
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
    """A data address of the figure as SVG, for `<img src>`."""
    file = io.StringIO()
    with rc_context():
        figure.savefig(file, format="svg", metadata={"Date": None})
    data = base64.b64encode(both_papers(file.getvalue()).encode()).decode()
    return f"data:image/svg+xml;base64,{data}"


def both_papers(svg: str) -> str:
    """The same drawing, that turns dark where its reader asks for it."""
    variables = ";".join(f"--c{color[1:]}:{dark}" for color, dark in DARK.items())
    own = f"<style>@media (prefers-color-scheme: dark){{svg{{{variables};fill:#ffffff}}}}</style>"
    turned = _COLOR.sub(lambda found: f"var(--c{found[1][1:].lower()},{found[1]})", svg)
    head, tag, rest = turned.partition("<defs>")
    return f"{head}{own}{tag}{rest}"
