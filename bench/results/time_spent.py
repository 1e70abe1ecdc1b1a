"""Tell what the time of a run was spent on, for the page and for the end of a run."""

import math
from dataclasses import dataclass

from bench.core import units
from bench.core.text import printable, shortened
from bench.results.run_json import Description

MOST_PARTS = 12
LEAST_PERCENT = 0.5  # of a part that the line names
MOST_S = 1e9  # no run takes 30 years
_NAMES = {"one_off": "one-off work", "warmup": "warm-up"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bar.  percent: its share of the whole, above 0."""

    name: str
    shown: str
    percent: float


def parts(run: Description) -> list[Part]:
    """Return the parts from `spent` in run.json (seconds by name); empty if it has none."""
    known = _known(run)
    total_s = math.fsum(known.values())
    return [
        Part(_name(name), units.seconds(value), 100 * value / total_s)
        for name, value in list(known.items())[:MOST_PARTS]
    ]


def line(run: Description) -> str | None:
    """Return the parts in one line; None if run.json does not have them."""
    known = _known(run)
    if not known:
        return None
    seen = [part for part in parts(run) if part.percent >= LEAST_PERCENT]
    shown = ", ".join(f"{part.name} {part.percent:.0f} %" for part in seen)
    return f"{units.duration(math.fsum(known.values()))} (min:s): {shown}"


def _known(run: Description) -> dict[str, float]:
    given = run.written().get("spent")
    if not isinstance(given, dict):
        return {}
    return {
        str(name): float(value)
        for name, value in given.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value < MOST_S
        and str(name).endswith("_s")
        and name != "total_s"
    }


def _name(key: str) -> str:
    stem = key.removesuffix("_s")
    return _NAMES.get(stem, shortened(printable(stem.replace("_", " ")), 40))
