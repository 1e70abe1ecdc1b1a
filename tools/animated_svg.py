"""An animated SVG of a terminal: each line is written once for each time that it is shown.

The style sheet of the SVG moves it, so that it plays inside of an `img`.  A reader of SVG that
plays nothing, or a person who wants no motion, sees the frame that is chosen for them.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.terminal import Line, Style

SIZE, LINE_HEIGHT, CHARACTER = 14, 19, 8.43  # px; monospace fonts are 0.6 of their size wide
MARGIN, BAR = 18, 34
BACK, FRONT = "#1d1f27", "#d7dae0"
COLOURS: Mapping[int, str] = {
    30: "#5c6370", 31: "#f07178", 32: "#8fd18b", 33: "#e5c07b",
    34: "#74b2f2", 35: "#c792ea", 36: "#72cbd3", 37: "#d7dae0",
}  # fmt: skip
LIGHTS = ("#ff5f57", "#febc2e", "#28c840")


@dataclass(frozen=True, slots=True)
class Frame:
    """The lines on the screen from a moment of the film on."""

    at_s: float
    lines: tuple[Line, ...]


Times = tuple[tuple[float, float], ...]  # from, to, in seconds of the film


def svg(
    frames: Sequence[Frame], length_s: float, *, columns: int, rows: int, title: str, still: int
) -> str:
    """Return the SVG, which begins again after its end.

    title: told by a pointer over it, and to screen readers.
    still: the number of the frame that is shown where nothing moves.
    """
    width, height = columns * CHARACTER + 2 * MARGIN, rows * LINE_HEIGHT + BAR + MARGIN
    shown = _times(frames, length_s)
    names = {times: f"k{number}" for number, times in enumerate(dict.fromkeys(shown.values()))}
    kept = frames[still]
    groups: dict[tuple[Times, bool], list[str]] = {}
    for (row, line), times in shown.items():
        is_still = row < len(kept.lines) and kept.lines[row] == line
        groups.setdefault((times, is_still), []).append(_text(row, line))
    whole = ((0.0, length_s),)
    body = [
        "".join(texts)
        if times == whole
        else f'<g class="{names[times]}{"" if is_still else " h"}">{"".join(texts)}</g>'
        for (times, is_still), texts in groups.items()
    ]
    films = [
        f".{name}{{animation:{name} {length_s:g}s step-end infinite}}"
        f"@keyframes {name}{{{_keys(times, length_s)}}}"
        for times, name in names.items()
        if times != whole
    ]
    lights = "".join(
        f'<circle cx="{MARGIN + 18 * place}" cy="{BAR / 2:g}" r="5.5" fill="{colour}"/>'
        for place, colour in enumerate(LIGHTS)
    )
    told = html.escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{told}" font-size="{SIZE}" font-family="ui-monospace, SFMono-Regular, Menlo, '
        f"'DejaVu Sans Mono', Consolas, 'Liberation Mono', monospace\"><title>{told}</title>\n"
        f"<style>\n{_looks()}\n{chr(10).join(films)}\n</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="{BACK}"/>{lights}\n'
        f'<g fill="{FRONT}" transform="translate({MARGIN} {BAR})">\n'
        + "\n".join(body)
        + "\n</g>\n</svg>\n"
    )


def _looks() -> str:
    colours = "".join(f".c{number}{{fill:{colour}}}" for number, colour in COLOURS.items())
    return (
        f"text{{white-space:pre}}.b{{font-weight:bold}}.d{{opacity:.6}}.h{{opacity:0}}{colours}\n"
        "@media (prefers-reduced-motion:reduce){g{animation:none!important}}"
    )


def _times(frames: Sequence[Frame], length_s: float) -> dict[tuple[int, Line], Times]:
    """Return when each line is at its row; the times of an unchanged line are joined."""
    found: dict[tuple[int, Line], list[tuple[float, float]]] = {}
    for place, frame in enumerate(frames):
        end_s = frames[place + 1].at_s if place + 1 < len(frames) else length_s
        for row, line in enumerate(frame.lines):
            if not line:
                continue
            times = found.setdefault((row, line), [])
            if times and times[-1][1] == frame.at_s:
                times[-1] = times[-1][0], end_s
            else:
                times.append((frame.at_s, end_s))
    return {key: tuple(times) for key, times in found.items()}


def _keys(times: Times, length_s: float) -> str:
    """Return the key frames: a value holds until the next one."""
    keys = {0.0: 0}
    for start_s, end_s in times:
        keys[start_s] = 1
        if end_s < length_s:
            keys[end_s] = 0
    return "".join(f"{100 * at / length_s:.4g}%{{opacity:{on}}}" for at, on in sorted(keys.items()))


def _text(row: int, line: Line) -> str:
    place, parts = 0, list[str]()
    for text, style in line:
        blank = len(text) - len(text.lstrip(" "))
        if text.strip():
            x = f' x="{(place + blank) * CHARACTER:.4g}"'
            parts.append(f"<tspan{x}{_classes(style)}>{html.escape(text.strip(' '))}</tspan>")
        place += len(text)
    y = (row + 1) * LINE_HEIGHT - 5
    return f'<text y="{y}">{"".join(parts)}</text>'


def _classes(style: Style) -> str:
    names = [
        *(["b"] if style.bold else []),
        *(["d"] if style.dim else []),
        # 90 to 97 are the bright ones of 30 to 37, which are bright here.
        *([f"c{30 + style.colour % 10}"] if style.colour is not None else []),
    ]
    return f' class="{" ".join(names)}"' if names else ""
