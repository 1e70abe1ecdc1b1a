"""The layers alone and inside the network: a text and a table for each case."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core import units
from bench.core.text import are, number_of, printable
from bench.insights import layers_inside
from bench.insights.layers_inside import Beside, Line
from bench.results.profile_load import Profiled
from bench.results.results import Results

MOST_NAMED = 3
MOST_LINES = 30
WORTH_NAMING = 0.05  # the text names layers with this share of one of the sums


@dataclass(frozen=True, slots=True)
class Section:
    """The layers of a case as a text and a table; all text is printable."""

    title: str
    summary: str
    evidence: str
    caution: str
    rows: tuple[tuple[str, ...], ...]  # layer, calls, then the columns of `HEAD`
    left_out: str


HEAD = ("alone", "share alone", "inside", "share inside", "inside / alone")


def section(one: Beside, run_name: str) -> Section:
    """Return the section of a case.  run_name: the name of the run, or "" for a single run."""
    case = one.profiled.case
    phase = one.phase if case.mode == "training" else ""
    where = " · ".join(filter(None, (run_name, printable(case.case_id), phase)))
    seen = [each for each in one.lines if each.inside_ratio is not None]
    named = sorted(seen, key=_largest, reverse=True)[:MOST_NAMED]
    named = [each for each in named if _largest(each) >= WORTH_NAMING] or named[:1]
    first, *more = (
        (printable(each.layer), _percent(each.alone_ratio), _percent(each.inside_ratio))
        for each in named
    )
    layer, alone, inside = first
    shares = [f"{layer}: {alone} of the layers measured alone, {inside} of the {one.phase} inside"]
    shares += [f"{layer}: {alone} alone, {inside} inside" for layer, alone, inside in more]
    return Section(
        title=where,
        summary=f"{'; '.join(shares)}. In no layer: {_percent(one.rest_s / one.whole_s)} of the "
        f"{one.phase}.",
        evidence="; ".join(
            f"{printable(each.layer)} {units.seconds(each.alone_s)} alone, "
            f"{units.seconds(each.inside_s)} inside"
            for each in named
        ),
        caution=_caution(one),
        rows=(*map(_row, one.lines[:MOST_LINES]), _rest(one)),
        left_out=_left_out(len(one.lines) - MOST_LINES),
    )


def _left_out(count: int) -> str:
    return f"{number_of(count, 'more layer')} {are(count)} left out." if count > 0 else ""


def _largest(line: Line) -> float:
    return max(line.alone_ratio, line.inside_ratio or 0.0)


def _row(line: Line) -> tuple[str, ...]:
    ratio = line.shares_ratio
    return (
        printable(line.layer),
        str(line.calls),
        units.seconds(line.alone_s),
        units.percent(line.alone_ratio),
        units.seconds(line.inside_s),
        units.percent(line.inside_ratio),
        "–" if ratio is None else f"{ratio:.2f}",
    )


def _rest(one: Beside) -> tuple[str, ...]:
    share = units.percent(one.rest_s / one.whole_s)
    return ("in no layer", "", "", "", units.seconds(one.rest_s), share, "")


def _caution(one: Beside) -> str:
    profiled = one.profiled
    profiled_s, plain_s = units.seconds(profiled.profiled_s), units.seconds(profiled.unprofiled_s)
    parts = [
        "Share alone is the share of the sum of the layers,",
        f"share inside is the share of the {one.phase} of a profiled step;",
        "the last column is the ratio of the two shares.",
        f"Inside is the mean of {number_of(profiled.steps, 'step')}, without an interval:",
        f"under the profiler, which slows it, a step took {profiled_s}, without it {plain_s}.",
        "Layers of short calls may be slowed most: compare shares, not times.",
    ]
    if profiled.contended:
        parts.append("Other work disturbed the profile: profile the case again before acting.")
    if profiled.where == "device":
        parts.append("Inside is the time in which the device worked for a layer.")
    if not one.same_machine:
        parts.append("It was profiled on another machine than the layers were measured on.")
    return " ".join(parts)


def _percent(ratio: float | None) -> str:
    return "–" if ratio is None else f"{100 * ratio:.0f} %"


def sections(
    runs: Sequence[tuple[str, Results]], profiles: Sequence[Profiled]
) -> tuple[list[Section], list[str]]:
    """Return the sections of all runs, and the reasons why some cases have none.

    runs: with their names.
    """
    found: list[Section] = []
    notes: list[str] = []
    for name, run in runs:
        shown = name if len(runs) > 1 else ""
        beside, problems = layers_inside.of_run(run, profiles)
        found += [section(one, shown) for one in beside]
        notes += [printable(f"{shown} · {why}" if shown else why) for why in problems]
    return found, notes
