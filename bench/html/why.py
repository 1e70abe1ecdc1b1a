"""The section of the page that says why two variants of a case take other times."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.core import units
from bench.core.text import are, number_of, printable
from bench.explain.explanation import Explanation

MOST_ROWS = 12


def _notes(one: Explanation) -> Iterator[str]:
    """Yield what the terminal says of a case beside its causes, and how many layers are left."""
    if one.conversions:
        yield f"Copies and conversions: {printable(one.conversions).replace('`', '')}."
    left = len(one.layers) - MOST_ROWS
    if left > 0:
        yield f"{number_of(left, 'more layer')} {are(left)} left out."


def sections(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """Return what the template shows of each case."""
    return [
        {
            "title": printable(one.case.case_id),
            "headline": f"{one.headline}; {one.doubt}" if one.doubt else one.headline,
            "sentences": [printable(text).replace("`", "") for text in one.sentences],
            "counted": one.counted,
            "rest": f"{one.rest}." if one.causes else "",
            "notes": list(_notes(one)),
            "rows": [
                (printable(name), units.seconds(a_s), units.seconds(b_s), units.signed(b_s - a_s))
                for name, a_s, b_s in one.layers[:MOST_ROWS]
            ],
        }
        for one in explanations
    ]
