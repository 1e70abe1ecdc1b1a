"""The columns of the table as JSON, for the script of the page: small, and no HTML of its own.

A page of 4 000 rows has sixty columns.  Numbers stand in one text, so that an unknown one costs a
comma; of texts each is sent once.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.records import Row
from bench.core.row_names import half_width
from bench.core.text import printable, shortened

DIGITS = 4  # of a number
MOST_SIGNS = 300  # of a text: a name or a reason may hold thousands, which stand in the CSV
# What the table shows, and is sorted by, beside the columns of the CSV.
HALF_WIDTH = "half_width_ratio"
TIME = "time_s"
SETTINGS = "settings"
MEANING: Mapping[str, str] = {
    column.name: str(column.metadata["doc"]) for column in dataclasses.fields(Row)
} | {
    HALF_WIDTH: "half of the latency's 95 % interval / the latency",
    TIME: "one call, device idle before and after; of a phase inside a step of an accelerator, "
    "between two events: s",
    SETTINGS: "what differs from the plain setting",
}


def time_s(row: Row) -> float | None:
    """What the table shows as the latency."""
    return row.latency_median_s if row.latency_median_s is not None else row.device_s


def data(rows: Sequence[Row]) -> str:
    """columns: all of the CSV that hold anything, packed; derived: further ones to sort by."""
    columns = {
        column.name: [getattr(row, column.name) for row in rows]
        for column in dataclasses.fields(Row)
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
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def pack(values: Sequence[Any]) -> dict[str, Any] | None:
    """None where all are unknown; else in the shortest of three shapes.

    all:     the one value of every row.
    numbers: joined by commas, nothing between two where one is unknown.
    texts:   each once, and at: the place among them of each row's, joined in the same way.
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
    """In as few signs as say it: 1.5e9, not 1.5e+09."""
    if value is None:
        return ""
    text = f"{value:.{DIGITS}g}" if isinstance(value, float) else f"{value}"
    return text.replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")


def value_of(value: Any) -> Any:
    """As the details show it and the choices filter by it."""
    match value:
        case float():
            rounded = float(f"{value:.{DIGITS}g}")
            return rounded if math.isfinite(rounded) else None
        case str():
            return shortened(printable(value), MOST_SIGNS)
    return value
