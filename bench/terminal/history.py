"""Print a history: the findings first, then every series, then what was left out."""

import math
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from bench.core import units
from bench.core.text import are, number_of
from bench.history import findings, sentences
from bench.history.findings import Examined, Finding, History
from bench.history.store import LeftOut
from bench.verdict import tables
from bench.verdict.text_table import Cell, Column, TextTable

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 24
LEAST_RANGE = math.log(1.10)  # a series that moves by less fills less than the height
MOST_NAMED = 3  # runs left out that are named for each reason


def show(history: History, left: Sequence[LeftOut], console: Console) -> None:
    """Print everything; the findings come first."""
    series = [one.series for one in history.examined]
    names, apart = sentences.names_of(series), sentences.has_several_machines(series)

    def say(text: str = "") -> None:
        tables.say(console, text)

    say(headline(history))
    for one in history.findings:
        say(f"- {sentences.sentence(one, sentences.name(one.series, names, apart=apart))}")
        if repeat := sentences.repeat(one):
            say(f"    {repeat}")
    say()
    for group in groups(history.examined):
        console.print(_table(group, history.findings))
    say(findings.told(history.census))
    for line in left_out(left):
        say(line)


def groups(examined: Sequence[Examined]) -> list[list[Examined]]:
    """Return the series of each machine and sampling together."""
    found: dict[tuple[object, ...], list[Examined]] = {}
    for one in examined:
        found.setdefault((one.series.machine, one.series.sampling), []).append(one)
    return list(found.values())


def headline(history: History) -> str:
    """`2 series are slower, 1 is faster` or that no change was found."""
    judged = history.census.judged
    if not judged:
        return "no series could be judged"
    counted = [one for one in history.findings if one.confirmation != "taken back"]
    slower, faster = (_series_of(counted, slower=which) for which in (True, False))
    taken = len(history.findings) - len(counted)
    back = f"; {number_of(taken, 'suspect')} taken back" if taken else ""
    if not counted:
        return f"no change was found in {judged} series{back}"
    parts = [
        f"{number} series {are(number)} {word}"
        for number, word in ((slower, "slower"), (faster, "faster"))
        if number
    ]
    return f"{', '.join(parts)}{back}"


def _series_of(found: Sequence[Finding], *, slower: bool) -> int:
    return len({id(one.series) for one in found if one.is_slower == slower})


def _table(group: Sequence[Examined], found: Sequence[Finding]) -> TextTable:
    names = sentences.names_of([one.series for one in group])
    table = TextTable(
        sentences.title(group[0].series),
        (
            Column("case", wraps=True),
            Column("runs", right=True),
            Column("first", right=True),
            Column("last", right=True),
            Column("oldest to newest"),
            Column("change", wraps=True),
        ),
        above=names.above,
    )
    for each in group:
        own = [one for one in found if one.series is each.series]
        points = each.series.points
        table.add(
            names.of(each.series.row),
            str(len(points)),
            units.seconds(points[0].time.seconds),
            units.seconds(points[-1].time.seconds),
            bars([one.time.seconds for one in points]),
            Cell(change(each, own), "red" if any(map(_is_loss, own)) else ""),
        )
    return table


def _is_loss(one: Finding) -> bool:
    return one.is_slower and one.confirmation != "taken back"


def change(each: Examined, own: Sequence[Finding]) -> str:
    """Return the changes of a series, or why it was not judged; empty if it did not change."""
    shown = [
        f"{sentences.change(one).split(' (')[0]}"
        f"{', taken back' if one.confirmation == 'taken back' else ''}"
        for one in own
    ]
    return "; ".join(shown) or each.why_not


def bars(times_s: Sequence[float]) -> str:
    """Return a small chart: a character for each run, or for the median of several."""
    logs = [math.log(one) for one in times_s]
    size = math.ceil(len(logs) / MOST_BARS)
    parts = [sorted(logs[at : at + size]) for at in range(0, len(logs), size)]
    middles = [part[len(part) // 2] for part in parts]
    low, high = min(middles), max(middles)
    spread = max(high - low, LEAST_RANGE)
    low = (low + high - spread) / 2
    last = len(BARS) - 1
    return "".join(BARS[min(last, round((one - low) / spread * last))] for one in middles)


def left_out(left: Sequence[LeftOut]) -> list[str]:
    """Return a line for each reason, with the first runs that it holds for."""
    reasons = Counter(one.why for one in left)
    lines = []
    for why, count in reasons.most_common():
        paths = [str(one.path) for one in left if one.why == why]
        more = f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
        lines.append(
            f"left out: {number_of(count, 'run')}: {why} ({', '.join(paths[:MOST_NAMED])}{more})"
        )
    return lines
