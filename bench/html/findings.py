"""The findings of runs for the page: a few short ones first, the others folded.

A finding is its first sentence; what else an insight says, and its evidence, is folded below it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.text import printable, short_words
from bench.html import table_rows
from bench.insights import collect
from bench.insights.insight import Insight
from bench.results.results import Results

MOST_FIRST = 8
MOST_DOUBTS = 3  # of the first
MOST_SENTENCES = 200  # of one heading, over all runs
# What the table of speedups already shows comes last.
ORDER = ("doubt", "launch", "best", "device", "batch", "layers", "roofline")
HEADINGS = (
    ("Setting by setting", ("speedup", "mixed", "none", "slowdown")),
    ("Batch size", ("batch",)),
    ("Layers against the whole", ("layers",)),
    ("Against what this machine can do", ("roofline",)),
)
_ENDS = re.compile(r"(?<=[a-z0-9)%][.;]) +(?=\S)")  # where a sentence, or a finding in it, ends


@dataclass(frozen=True, slots=True)
class Finding:
    """more: the lines that are folded."""

    text: str
    kind: str
    more: tuple[str, ...]


Part = tuple[str, list[Finding], str]  # a heading, its findings, and a note of those left out


@dataclass(frozen=True, slots=True)
class Told:
    """first: at most MOST_FIRST.  more: all others."""

    first: list[Finding]
    more: list[Part]
    more_count: int


def of_runs(runs: Sequence[tuple[str, Results]]) -> Told:
    """Of runs, given with their names; of several only the doubts come first."""
    said = [(name, [_printable(one) for one in collect.of_run(run)]) for name, run in runs]
    several = len(runs) > 1
    first = _first([one for _, own in said for one in own], ("doubt",) if several else ORDER)
    more: list[Part] = []
    for name, own in said:
        rest = [one for one in own if not any(one is chosen for chosen in first)]
        parts = _by_heading(rest, max(3, MOST_SENTENCES // len(runs)))
        more += [
            (f"{name} · {head}" if name and head else name or head, told, left)
            for head, told, left in parts
        ]
    count = sum(len(own) for _, own in said) - len(first)
    return Told([finding(one) for one in first], more, count)


def _first(all_: Sequence[Insight], kinds: Sequence[str]) -> list[Insight]:
    """One of each kind, then a second, and so on, so that no kind takes all places."""
    by_kind = [[one for one in all_ if one.kind == kind] for kind in kinds]
    turns = max((len(own) for own in by_kind), default=0)
    chosen = [
        own[turn]
        for turn in range(turns)
        for kind, own in zip(kinds, by_kind, strict=True)
        if turn < len(own) and not (kind == "doubt" and turn >= MOST_DOUBTS)
    ][:MOST_FIRST]
    return sorted(chosen, key=lambda one: kinds.index(one.kind))


def _by_heading(said: Sequence[Insight], most: int) -> list[Part]:
    kinds = {kind for _, own in HEADINGS for kind in own}
    parts = [("", [one for one in said if one.kind not in kinds])]
    parts += [(head, [one for one in said if one.kind in own]) for head, own in HEADINGS]
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
    """Its first sentence, and the rest."""
    first, *rest = _ENDS.split(one.text, maxsplit=1)
    more = (*rest, *((one.evidence,) if one.evidence else ()))
    return Finding(first.removesuffix(";"), one.kind, more)


def _printable(one: Insight) -> Insight:
    return Insight(
        text=_capital(short_words(printable(one.text), table_rows.NAME)),
        evidence=short_words(printable(one.evidence), 2 * table_rows.NAME),
        kind=one.kind,
        case_ids=one.case_ids,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:9] in ("training ", "inference") else text
