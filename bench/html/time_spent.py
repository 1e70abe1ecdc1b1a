"""The parts of the time that a run took, for a bar."""

import math
from dataclasses import dataclass

from bench.core import units
from bench.core.text import printable, shortened
from bench.results.results import Results

MOST_PARTS = 12
MOST_S = 1e9  # no run takes 30 years
_NAMES = {"one_off": "one-off work", "warmup": "warm-up"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bar.  percent: its share of the whole, above 0."""

    name: str
    shown: str
    percent: float


def parts(run: Results) -> list[Part]:
    """Return the parts from `spent` in run.json (seconds by name); empty if it has none."""
    given = run.description.written().get("spent")
    if not isinstance(given, dict):
        return []
    known = {
        str(name): float(value)
        for name, value in given.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value < MOST_S
        and str(name).endswith("_s")
        and name != "total_s"
    }
    total_s = math.fsum(known.values())
    return [
        Part(_name(name), units.seconds(value), 100 * value / total_s)
        for name, value in list(known.items())[:MOST_PARTS]
    ]


def _name(key: str) -> str:
    stem = key.removesuffix("_s")
    return _NAMES.get(stem, shortened(printable(stem.replace("_", " ")), 40))
