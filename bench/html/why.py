"""The section of the page that says why two variants of a case take other times."""

from collections.abc import Sequence
from typing import Any

from bench.core import units
from bench.core.text import printable
from bench.explain.explanation import Explanation

MOST_ROWS = 12


def sections(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """Return what the template shows of each case."""
    return [
        {
            "title": printable(one.case.case_id),
            "headline": f"{one.headline}; {one.doubt}" if one.doubt else one.headline,
            "sentences": [printable(text).replace("`", "") for text in one.sentences],
            "counted": one.counted,
            "rest": f"{one.rest}." if one.causes else "",
            "rows": [
                (printable(name), units.seconds(a_s), units.seconds(b_s), units.signed(b_s - a_s))
                for name, a_s, b_s in one.layers[:MOST_ROWS]
            ],
        }
        for one in explanations
    ]
