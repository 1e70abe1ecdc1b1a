"""The columns of the table as small JSON, for the script of the page.

A page of 4 000 rows has sixty columns.  The numbers of a column are one text, so that an unknown
number costs only a comma.  Each distinct text is stored a single time.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.records import Row
from bench.core.row_names import half_width
from bench.core.text import printable, shortened

DIGITS = 4  # significant digits of a number
MOST_CHARS = 300  # characters of a text; the CSV has the full names and reasons
# Columns of the table that the CSV does not have.
HALF_WIDTH = "half_width_ratio"
TIME = "time_s"
SETTINGS = "settings"
CSV_ALONE = frozenset({"instructions", "cycles", "nodes"})  # few runs have them
MEANING: Mapping[str, str] = {
    column.name: str(column.metadata["doc"]) for column in dataclasses.fields(Row)
} | {
    HALF_WIDTH: "half of the latency's 95 % interval / the latency; too wide: 100 % or more, which "
    "says nothing",
    TIME: "time of one call, device idle before and after; for a phase inside a step on an "
    "accelerator, the time between two events: s",
    SETTINGS: "the differences from the plain setting",
}


def time_s(row: Row) -> float | None:
    """Return the latency, or the device time if a phase has no latency."""
    return row.latency_median_s if row.latency_median_s is not None else row.device_s


def data(rows: Sequence[Row]) -> str:
    """Return the JSON: the columns of the CSV that are not empty, and derived ones for sorting."""
    columns = {
        column.name: [getattr(row, column.name) for row in rows]
        for column in dataclasses.fields(Row)
        if column.name not in CSV_ALONE
    }
    derived = {TIME: list(map(time_s, rows)), HALF_WIDTH: list(map(half_width, rows))}
    packed = {name: own for name, values in columns.items() if (own := pack(values))}
    text = json.dumps(
        {
            "rows": len(rows),
            "columns": packed,
            "derived": {name: own for name, values in derived.items() if (own := pack(values))},
            "meaning": {name: MEANING[name] for name in packed},
        },
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def pack(values: Sequence[Any]) -> dict[str, Any] | None:
    """Return the values in the shortest of three forms; None if all are unknown.

    all:     the single value that every row has.
    numbers: all numbers joined by commas; an unknown one is empty.
    texts:   each distinct text; `at` joins the index of each row's text by commas.
    """
    shown = [value_of(value) for value in values]
    distinct = list(dict.fromkeys(shown))
    if distinct in ([], [None]):
        return None
    if len(distinct) == 1:
        return {"all": distinct[0]}
    if not any(isinstance(one, str) for one in distinct):
        return {"numbers": ",".join(map(_number, shown))}
    texts = [one for one in distinct if one is not None]
    place = {one: str(number) for number, one in enumerate(texts)} | {None: ""}
    return {"texts": texts, "at": ",".join(place[one] for one in shown)}


def _number(value: float | None) -> str:
    """Return a number in as few characters as possible: 1.5e9, not 1.5e+09."""
    if value is None:
        return ""
    text = f"{value:.{DIGITS}g}" if isinstance(value, float) else f"{value}"
    return text.replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")


def value_of(value: Any) -> Any:
    """Return a value as the details show it and the filters use it."""
    match value:
        case float():
            rounded = float(f"{value:.{DIGITS}g}")
            return rounded if math.isfinite(rounded) else None
        case str():
            return shortened(printable(value), MOST_CHARS)
    return value
