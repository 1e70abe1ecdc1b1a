"""The findings of runs for the page: a few short ones first, the others folded.

A finding is the first sentence of an insight.  Its other sentences and its evidence are folded
below it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.text import printable, short_words
from bench.html import table_rows
from bench.insights import collect, machines
from bench.insights.insight import Insight
from bench.results.results import Results

MOST_FIRST = 8
MOST_DOUBTS = 3  # among the first findings
MOST_SENTENCES = 200  # below one heading, over all runs
# The order of kinds among the first findings.  The table of speedups shows other kinds already.
ORDER = ("doubt", "launch", "best", "process", "device", "batch", "memory", "layers", "roofline")
HEADINGS = (
    ("A plain script", ("process",)),
    ("Setting by setting", ("speedup", "mixed", "none", "slowdown")),
    ("Batch size", ("batch",)),
    ("Memory", ("memory",)),
    ("Layers against the whole", ("layers",)),
    ("Against what this machine can do", ("roofline",)),
)
_ENDS = re.compile(r"(?<=[a-z0-9)%][.;]) +(?=\S)")  # the end of a sentence or of a part of it


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of the page.  more: the folded lines.  command: for a shell, below them."""

    text: str
    kind: str
    more: tuple[str, ...]
    command: str = ""


Part = tuple[str, list[Finding], str]  # a heading, its findings, and a note of those left out


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of the page.  first: at most MOST_FIRST.  more: the others, by heading."""

    first: list[Finding]
    more: list[Part]
    more_count: int


def of_runs(runs: Sequence[tuple[str, Results]]) -> Findings:
    """Return the findings of runs, which are given with their names.

    For several runs, only doubts are among the first findings; for those of several kinds of
    machines also which of them gives most images a second.
    """
    insights = [(name, [_printable(one) for one in collect.of_run(run)]) for name, run in runs]
    several = len(runs) > 1
    first = _first([one for _, own in insights for one in own], ("doubt",) if several else ORDER)
    kinds = [_printable(one) for one in machines.of_runs([run for _, run in runs])]
    first = [*kinds[:MOST_FIRST], *first][:MOST_FIRST]
    more: list[Part] = []
    for name, own in insights:
        rest = [one for one in own if not any(one is chosen for chosen in first)]
        parts = _by_heading(rest, max(3, MOST_SENTENCES // len(runs)))
        more += [
            (f"{name} · {head}" if name and head else name or head, findings, left_out)
            for head, findings, left_out in parts
        ]
    count = sum(len(own) for _, own in insights) + len(kinds) - len(first)
    return Findings([finding(one) for one in first], more, count)


def _first(all_: Sequence[Insight], kinds: Sequence[str]) -> list[Insight]:
    """Return one insight of each kind, then a second of each, so that no kind takes all places."""
    by_kind = [[one for one in all_ if one.kind == kind] for kind in kinds]
    turns = max((len(own) for own in by_kind), default=0)
    chosen = [
        own[turn]
        for turn in range(turns)
        for kind, own in zip(kinds, by_kind, strict=True)
        if turn < len(own) and not (kind == "doubt" and turn >= MOST_DOUBTS)
    ][:MOST_FIRST]
    return sorted(chosen, key=lambda one: kinds.index(one.kind))


def _by_heading(insights: Sequence[Insight], most: int) -> list[Part]:
    kinds = {kind for _, own in HEADINGS for kind in own}
    parts = [("", [one for one in insights if one.kind not in kinds])]
    parts += [(head, [one for one in insights if one.kind in own]) for head, own in HEADINGS]
    return [
        (
            head,
            [finding(one) for one in own[:most]],
            f"{len(own) - most} more." if len(own) > most else "",
        )
        for head, own in parts
        if own
    ]


def finding(one: Insight) -> Finding:
    """Return the finding of an insight: its first sentence, and the rest as folded lines.

    Before a command nothing is folded.
    """
    first, *rest = [one.text] if one.command else _ENDS.split(one.text, maxsplit=1)
    more = (*rest, *((one.evidence,) if one.evidence else ()))
    return Finding(first.removesuffix(";"), one.kind, more, one.command)


def _printable(one: Insight) -> Insight:
    return Insight(
        text=_capital(short_words(printable(one.text), table_rows.NAME)),
        evidence=short_words(printable(one.evidence), 2 * table_rows.NAME),
        kind=one.kind,
        case_ids=one.case_ids,
        command=one.command,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:9] in ("training ", "inference") else text
