"""The history of three or more runs on the page: findings first, then a chart for each series."""

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from bench.core import units
from bench.core.text import are, number_of, printable, short_words
from bench.history import findings, sentences
from bench.history.findings import Examined, Finding, History
from bench.history.series import Point, changed_marks
from bench.history.store import LeftOut
from bench.stats.steps import Level

WIDTH, HEIGHT, EDGE = 320.0, 84.0, 6.0  # of a chart, in the units of its view box
LEAST_RANGE = math.log(1.15)  # a series that moves by less does not fill its chart
GAP = 3.0  # times the usual distance of two runs: from here on commits were not measured
MOST_POINTS = 60_000  # of all charts together
MOST_LEFT = 12  # reasons for runs left out
WORD = 90  # characters


@dataclass(frozen=True, slots=True)
class Claim:
    """A finding in words.  command: repeats its comparison; empty if nothing can be compared."""

    text: str
    kind: str  # loss, gain, or soft if it was taken back
    command: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A series: its name, its picture, what it says in words, and how to measure it again."""

    name: str
    svg: Markup
    told: str
    change: str
    kind: str
    command: str


@dataclass(frozen=True, slots=True)
class Group:
    """The charts of one machine and sampling."""

    title: str
    above: str
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """The section of the page."""

    headline: str
    claims: tuple[Claim, ...]
    groups: tuple[Group, ...]
    census: str
    left: tuple[str, ...]
    more: str


def section(
    history: History, left: Sequence[LeftOut], headline: str, notes: Sequence[str] = ()
) -> Shown:
    """Return the section.  Series with findings come first in their group.

    notes: further lines below what was left out.
    """
    series = [one.series for one in history.examined]
    names, apart = sentences.names_of(series), sentences.has_several_machines(series)
    claims = [
        Claim(
            _text(sentences.sentence(one, sentences.name(one.series, names, apart=apart))),
            _kind(one),
            sentences.repeat(one),
        )
        for one in history.findings
    ]
    groups, left_points, not_shown = [], MOST_POINTS, 0
    for group in _groups(history):
        own = sentences.names_of([one.series for one in group])
        charts = []
        for one in sorted(group, key=lambda each: not _of(each, history)):
            left_points -= len(one.series.points)
            if left_points < 0:
                not_shown += 1
                continue
            charts.append(_chart(one, own.of(one.series.row), _of(one, history)))
        groups.append(
            Group(_text(sentences.title(group[0].series)), _text(own.above), tuple(charts))
        )
    more = f"{not_shown} more series {are(not_shown)} left out." if not_shown else ""
    told = findings.told(history.census)
    below = (*_left(left), *map(_text, notes))
    return Shown(headline, tuple(claims), tuple(groups), told, below, more)


def _groups(history: History) -> list[list[Examined]]:
    found: dict[tuple[object, ...], list[Examined]] = {}
    for one in history.examined:
        found.setdefault((one.series.machine, one.series.sampling), []).append(one)
    return list(found.values())


def _of(one: Examined, history: History) -> list[Finding]:
    return [found for found in history.findings if found.series is one.series]


def _kind(finding: Finding) -> str:
    if finding.confirmation == "taken back":
        return "soft"
    return "loss" if finding.is_slower else "gain"


def _left(left: Sequence[LeftOut]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for one in left:
        reasons.setdefault(one.why, []).append(one.path.name)
    for why, names in list(reasons.items())[:MOST_LEFT]:
        yield _text(f"left out: {number_of(len(names), 'run')}: {why} ({', '.join(names[:3])})")


def _text(text: str) -> str:
    return short_words(printable(text), WORD)


def _chart(one: Examined, name: str, own: Sequence[Finding]) -> Chart:
    times = [each.time.seconds for each in one.series.points]
    told = (
        f"{units.seconds(times[-1])} now; {units.seconds(min(times))} to "
        f"{units.seconds(max(times))} in {number_of(len(times), 'run')}"
    )
    if one.series.disturbed:
        told += f", {one.series.disturbed} disturbed"
    if one.series.blessing is not None:
        told += f"; accepted: {one.series.blessing.why}"
    change = "; ".join(sentences.change(each) for each in own) or one.why_not
    kinds = set(map(_kind, own))
    kind = next((one for one in ("loss", "gain") if one in kinds), "soft")
    svg = _picture(one, own, f"{name}: {told}. {change}")
    command = sentences.measure(one.series)
    return Chart(_text(name), svg, _text(told), _text(change), kind, command)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Converts a place on the line and a log of seconds to the view box."""

    first: int
    last: int
    low: float
    high: float

    def x(self, place: float) -> float:
        span = max(1, self.last - self.first)
        return EDGE + (WIDTH - 2 * EDGE) * (place - self.first) / span

    def y(self, log: float) -> float:
        return EDGE + (HEIGHT - 2 * EDGE) * (self.high - log) / (self.high - self.low)


def _scale(points: Sequence[Point]) -> _Scale:
    logs = [math.log(one.time.seconds) for one in points]
    middle, spread = (min(logs) + max(logs)) / 2, max(max(logs) - min(logs), LEAST_RANGE)
    return _Scale(points[0].place, points[-1].place, middle - spread / 2, middle + spread / 2)


def _picture(one: Examined, own: Sequence[Finding], label: str) -> Markup:
    """Return the series as SVG; its colours are those of the page's style sheet."""
    points = one.series.points
    scale = _scale(points)
    parts = [
        *_gaps(points, scale),
        *_marks(points, scale),
        *_blessing(one, scale),
        _line(points, scale),
        _dots("dots", [each for each in points if not each.is_disturbed], scale),
        _dots("disturbed", [each for each in points if each.is_disturbed], scale),
        *(_level(level, one.series.judged, scale) for level in one.levels if not one.why_not),
        *(_step(each, scale) for each in own),
    ]
    return Markup(
        f'<svg class="history" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(_text(label))}">{"".join(parts)}</svg>'
    )


def _distance(points: Sequence[Point]) -> float:
    """Return the usual number of commits between two runs."""
    places = sorted({one.place for one in points})
    apart = [after - before for before, after in itertools.pairwise(places)]
    return statistics.median(apart) if apart else 1.0


def _gaps(points: Sequence[Point], scale: _Scale) -> Iterator[str]:
    usual = _distance(points)
    for before, after in itertools.pairwise(points):
        if after.place - before.place > GAP * usual:
            left, right = scale.x(before.place), scale.x(after.place)
            missing = number_of(after.place - before.place - 1, "commit")
            yield (
                f'<rect class="gap" x="{left:.1f}" y="0" width="{right - left:.1f}" '
                f'height="{HEIGHT:.0f}"><title>{missing} not measured</title></rect>'
            )


def _marks(points: Sequence[Point], scale: _Scale) -> Iterator[str]:
    for before, after in itertools.pairwise(points):
        if changed := changed_marks(before.run, after.run):
            told = ", ".join(f"{name} {old} → {new}" for name, (old, new) in changed.items())
            x = (scale.x(before.place) + scale.x(after.place)) / 2
            yield _vertical("mark", x, told)


def _blessing(one: Examined, scale: _Scale) -> Iterator[str]:
    if one.series.blessing is not None and one.series.counted < len(one.series.points):
        x = scale.x(one.series.points[one.series.counted].place)
        yield _vertical("blessed", x, f"accepted: {one.series.blessing.why}")


def _step(finding: Finding, scale: _Scale) -> str:
    x = (scale.x(finding.before.place) + scale.x(finding.after.place)) / 2
    told = f"{sentences.change(finding)} {sentences.place(finding)}"
    return _vertical(f"step {_kind(finding)}", x, told)


def _vertical(css: str, x: float, told: str) -> str:
    title = escape(_text(told))
    return f'<path class="{css}" d="M{x:.1f} 0V{HEIGHT:.0f}"><title>{title}</title></path>'


def _line(points: Sequence[Point], scale: _Scale) -> str:
    """Return a line through the runs, broken at gaps."""
    usual, parts, last = _distance(points), [], None
    for one in points:
        pen = "M" if last is None or one.place - last > GAP * usual else "L"
        parts.append(f"{pen}{scale.x(one.place):.1f} {scale.y(math.log(one.time.seconds)):.1f}")
        last = one.place
    return f'<path class="through" d="{"".join(parts)}"/>'


def _dots(css: str, points: Sequence[Point], scale: _Scale) -> str:
    """Return all dots as one path: round ends of lines without length are small."""
    parts = (
        f"M{scale.x(one.place):.1f} {scale.y(math.log(one.time.seconds)):.1f}h0" for one in points
    )
    path = "".join(parts)
    return f'<path class="{css}" d="{path}"/>' if path else ""


def _level(level: Level, points: Sequence[Point], scale: _Scale) -> str:
    left, right = scale.x(points[level.start].place), scale.x(points[level.end - 1].place)
    return f'<path class="level" d="M{left:.1f} {scale.y(level.centre):.1f}H{right:.1f}"/>'
