"""The result of a search: sentences, tables, the code to paste, and files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compare.groups import label
from bench.core import units
from bench.core.axes import AXES
from bench.core.records import Case
from bench.core.text import number_of, printable, shortened
from bench.html import recipe
from bench.plots import time_error
from bench.plots.time_error import Point
from bench.results.run_directory import write_atomically
from bench.tune.confirm import Confirmed
from bench.tune.objectives import COUNTED, Objective
from bench.tune.search import Refused
from bench.tune.space import changed
from bench.tune.static import Static
from bench.verdict.text_table import Column, TextTable

JSON, TOML, REPORT = "tune.json", "best.toml", "tune.md"
ADJECTIVE: Mapping[Objective, str] = {
    "latency": "fastest",
    "throughput": "fastest",
    "memory": "smallest",
    "energy": "most frugal",
}
MOST_REFUSED = 12  # lines of the table; the rest is in tune.json


@dataclass(frozen=True, slots=True)
class Candidate:
    """A setting that was measured and is not refused.

    time_s: of one call; with throughput and other objectives of an image.
    """

    case: Case
    time_s: float
    rounds: int
    static: Static | None

    @property
    def peak_bytes(self) -> float | None:
        return self.static.metrics.get("peak_bytes") if self.static else None

    @property
    def error(self) -> float | None:
        return self.static.error if self.static else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOutcome:
    """All that a search found.

    against_plain, against_second: in fresh pairs; None where there were none.
    complete: the race ended by itself, and not by the budget or Ctrl-C.
    """

    objective: Objective
    plain: Case
    winner: Case
    second: Case | None
    against_plain: Confirmed | None
    against_second: Confirmed | None
    candidates: tuple[Candidate, ...]
    refused: tuple[Refused, ...]
    rounds: int
    complete: bool
    spent_s: float
    weights: str | None = None  # absolute path of the file that was loaded
    unconfirmed: str = "the budget ended before"  # why against_plain is None
    unchecked: int = 0  # settings that look faster, but were not checked
    unmeasured: int = 0  # settings that were to be tried, and were not

    def name(self, case: Case) -> str:
        return label(changed(case, self.plain))

    @property
    def front(self) -> tuple[Candidate, ...]:
        """The winner, and candidates that no other beats in time, memory and error at once.

        The fastest comes first.  The winner may be beaten by less than two settings are told apart.
        """
        named = (self.winner, self.plain)
        checked = [one for one in self.candidates if one.static is not None or one.case in named]
        kept = [
            one
            for one in checked
            if one.case == self.winner or not any(_dominates(other, one) for other in checked)
        ]
        return tuple(sorted(kept, key=lambda one: one.time_s))


def _dominates(other: Candidate, one: Candidate) -> bool:
    """Return whether `other` is no worse in any figure and better in one; unknown is worst."""
    inf = float("inf")

    def figures(candidate: Candidate) -> tuple[float, float, float]:
        peak, error = candidate.peak_bytes, candidate.error
        return candidate.time_s, inf if peak is None else peak, inf if error is None else error

    mine, theirs = figures(one), figures(other)
    return mine != theirs and all(b <= a for a, b in zip(mine, theirs, strict=True))


def sentences(found: TuneOutcome) -> list[str]:
    """Return the sentences: the winner, how certain it is, and the alternatives."""
    return [*_answer(found), *_second(found), *_limits(found)]


def _of(found: TuneOutcome) -> str:
    winner = found.winner
    return f"{winner.mode} of {printable(winner.subject)} at N={winner.batch} on {winner.device}"


def _answer(found: TuneOutcome) -> Iterator[str]:
    counted = found.objective in COUNTED
    count = sum(one.static is not None or not counted for one in found.candidates)
    adjective = ADJECTIVE[found.objective]
    if found.winner == found.plain and found.unchecked:
        yield (
            f"No setting for {_of(found)} is known to be faster than plain: "
            f"{number_of(found.unchecked, 'setting')} that may be faster could not be checked "
            "before the search ended."
        )
        return
    if found.winner == found.plain:
        yield (
            f"The plain setting is the {adjective} of {count} settings for {_of(found)}, or no "
            "other can be told from it."
        )
        return
    name = found.name(found.winner)
    confirmed = found.against_plain
    if found.objective in COUNTED:
        yield f"{name} is the {adjective} of {count} settings for {_of(found)}."
        if confirmed is not None:
            yield f"Its speedup over plain is {confirmed.text} in {_pairs(confirmed)}."
    elif confirmed is None:
        yield (
            f"{name} is the {adjective} of {count} settings for {_of(found)} in the race. It was "
            f"not confirmed: {found.unconfirmed}."
        )
    elif confirmed.faster:
        yield (
            f"{name} is the {adjective} of {count} settings for {_of(found)}: "
            f"{confirmed.text} against plain in {_pairs(confirmed)}."
        )
    else:
        yield (
            f"No setting is shown to be faster than plain for {_of(found)}. The best of {count} is "
            f"{name}: {confirmed.text} against plain in {_pairs(confirmed)}."
        )


def _second(found: TuneOutcome) -> Iterator[str]:
    confirmed, second = found.against_second, found.second
    if confirmed is None or second is None or found.objective in COUNTED:
        return
    name = found.name(second)
    if confirmed.faster:
        yield f"The second best is {name}; the first is {confirmed.text} as fast."
    elif confirmed.high is not None and confirmed.high < 1.0:
        yield (
            f"{name} is a little faster ({confirmed.text} seen from the other side), but by "
            "less than 2 %; the simpler setting is named."
        )
    else:
        yield (
            f"{name} cannot be told from it ({confirmed.text}); the simpler setting is named first."
        )


def _limits(found: TuneOutcome) -> Iterator[str]:
    static = next((one.static for one in found.candidates if one.case == found.winner), None)
    if static is not None and static.error is not None:
        yield f"Its error against float64 is {static.error:.1e}."
    elif static is not None and static.doubt:
        yield f"Its result could not be checked: {static.doubt}."
    if found.unmeasured:
        yield f"{number_of(found.unmeasured, 'setting')} could not be tried in the time."
    if not found.complete:
        yield "The search did not end: a larger --budget may find a better setting."
    if found.refused:
        yield f"{number_of(len(found.refused), 'setting')} had to be refused; the table says why."


def _pairs(one: Confirmed) -> str:
    return number_of(one.pairs, "fresh pair")


def code(found: TuneOutcome) -> str:
    """Return Python code to paste for the winner, with environment variables as comments."""
    case = found.winner
    values = {axis.name: str(getattr(case, axis.name)) for axis in AXES if _set(case, axis.name)}
    lines = [f"#     {line}" for line in recipe.shell(values.get("allocator"))]
    lines = ["# in the shell, before Python starts:", *lines] if lines else []
    return "\n".join([*lines, *recipe.code(values)])


def _set(case: Case, axis: str) -> bool:
    return getattr(case, axis) is not None


def toml(found: TuneOutcome) -> str:
    """Return a configuration that measures the plain setting and the winner again."""
    lines = ["# The plain setting and the best one: bench run --config best.toml", ""]
    if found.weights:
        lines += ["[run]", f"weights = {json.dumps(found.weights)}", ""]
    for case in dict.fromkeys((found.plain, found.winner)):
        lines += ["[[sweep]]", f"subject = {json.dumps(case.subject)}"]
        for axis in AXES:
            value = getattr(case, axis.name)
            if value is not None:
                shown = value if isinstance(value, int) else json.dumps(str(value))
                lines.append(f"{axis.name} = {shown}")
        lines.append("")
    return "\n".join(lines)


def front_table(found: TuneOutcome) -> TextTable:
    """Return the winner, and the settings that nothing beats in time, memory and error at once."""
    per_image = found.objective != "latency"
    table = TextTable(
        "The choice, and settings that no other beats in time, memory and error at once",
        (
            Column("setting", wraps=True),
            Column("time an image" if per_image else "time a call", right=True),
            Column("speedup", right=True),
            Column("peak memory", right=True),
            Column("error", right=True),
            Column("rounds", right=True),
        ),
        above=_of(found),
        caption="speedup: in the race, against plain; the sentences above have the confirmed one",
    )
    plain_s = next((one.time_s for one in found.candidates if one.case == found.plain), None)
    for one in found.front:
        table.add(
            found.name(one.case),
            units.seconds(one.time_s),
            "" if plain_s is None else units.speedup(plain_s / one.time_s),
            units.bytes_(one.peak_bytes),
            "" if one.error is None else f"{one.error:.1e}",
            str(one.rounds),
        )
    return table


def refused_table(found: TuneOutcome) -> TextTable | None:
    """Return the refused settings, each with its reason; None without any."""
    if not found.refused:
        return None
    more = len(found.refused) - MOST_REFUSED
    table = TextTable(
        "Refused settings",
        (Column("setting", wraps=True), Column("reason", wraps=True)),
        caption=f"{more} more in {JSON}" if more > 0 else "",
    )
    for one in found.refused[:MOST_REFUSED]:
        table.add(found.name(one.case), one.reason)
    return table


def as_dict(found: TuneOutcome) -> dict[str, Any]:
    """Return the content of tune.json."""

    def confirmed(one: Confirmed | None) -> dict[str, Any] | None:
        return (
            None
            if one is None
            else {"ratio": one.ratio, "low": one.low, "high": one.high, "pairs": one.pairs}
        )

    return {
        "objective": found.objective,
        "plain": found.plain.as_dict(),
        "winner": found.winner.as_dict(),
        "second": found.second.as_dict() if found.second else None,
        "against_plain": confirmed(found.against_plain),
        "against_second": confirmed(found.against_second),
        "candidates": [
            {
                "case": one.case.as_dict(),
                "time_s": one.time_s,
                "rounds": one.rounds,
                "peak_bytes": one.peak_bytes,
                "relative_error": one.error,
            }
            for one in found.candidates
        ],
        "refused": [{"case": one.case.as_dict(), "reason": one.reason} for one in found.refused],
        "rounds": found.rounds,
        "complete": found.complete,
        "spent_s": found.spent_s,
        "sentences": sentences(found),
    }


def write(folder: Path, found: TuneOutcome) -> None:
    """Write tune.json, best.toml and tune.md."""
    write_atomically(folder / JSON, json.dumps(as_dict(found), indent=1) + "\n")
    write_atomically(folder / TOML, toml(found))
    write_atomically(folder / REPORT, markdown(found))


def points(found: TuneOutcome) -> list[Point]:
    """Return the settings whose error is known, for the plot of time against error."""
    front = {one.case for one in found.front}

    def role(case: Case) -> time_error.Role:
        if case == found.winner:
            return "best"
        return "plain" if case == found.plain else "front" if case in front else "other"

    return [
        Point(found.name(one.case), one.time_s, one.error, role(one.case))
        for one in found.candidates
        if one.error is not None
    ]


def draw(found: TuneOutcome, folder: Path) -> Path | None:
    """Write the plot; None where no error is known."""
    title = f"Time against error: {shortened(printable(found.winner.subject), 60)}"
    x_label = "time of a call" if found.objective == "latency" else "time of an image"
    case = found.winner
    x_label += f" ({case.mode}, N={case.batch}, {case.device})"
    return time_error.draw(points(found), title, x_label, folder)


def markdown(found: TuneOutcome) -> str:
    parts = [f"# Settings for {_of(found)}", "", *(f"- {one}" for one in sentences(found)), ""]
    parts += ["```python", code(found), "```", ""]
    for table in filter(None, (front_table(found), refused_table(found))):
        parts += [f"## {table.title}", "", *_markdown_table(table), ""]
    return "\n".join(parts)


def _markdown_table(table: TextTable) -> Sequence[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [
        line([column.name for column in table.columns]),
        line(["---"] * len(table.columns)),
        *(line([cell.text for cell in row]) for row in table.rows),
    ]
