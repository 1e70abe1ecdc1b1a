"""Sum up where the time of a run went: seconds by what they were spent on.  Pure."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.core.records import Measurement, Outcome

COMPILING = ("compile_cold_s", "compile_warm_s")  # metrics, of which a Measurement has one


@dataclass(kw_only=True)
class Spent:
    """The seconds of this process by use; `waiting_s` is the rest that no other part explains.

    imports_s:  looking at machine and subjects, and starting the interpreters.
    building_s: forks, building the network, first calls, checks; failed outcomes as a whole.
    compiling_s: first calls of compiled code, as far as a later call takes less.
    controls_s: known work that is timed between the samples, and tells how fast the machine was.
    one_off_s:  float64 references, counted figures, the machine's peaks.
    """

    imports_s: float = 0.0
    building_s: float = 0.0
    compiling_s: float = 0.0
    controls_s: float = 0.0
    one_off_s: float = 0.0
    warmup_s: float = 0.0
    samples_s: float = 0.0
    waiting_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Measurement):
            self.building_s += outcome.wall_s
            return
        self.warmup_s += outcome.warmup_s
        self.samples_s += outcome.timed_s - outcome.warmup_s
        self.controls_s += outcome.controls_s
        building_s = max(0.0, outcome.wall_s - outcome.timed_s - outcome.controls_s)
        compiling_s = min(sum(outcome.metrics.get(name, 0.0) for name in COMPILING), building_s)
        self.compiling_s += compiling_s
        self.building_s += building_s - compiling_s

    @property
    def total_s(self) -> float:
        return math.fsum(dataclasses.asdict(self).values())

    def within(self, before: "Spent", wall_s: float) -> "Spent":
        """Shorten the time added since `before` to `wall_s`, because devices worked in parallel."""
        added_s = self.total_s - before.total_s
        if added_s <= wall_s:
            return self
        then, now = dataclasses.asdict(before), dataclasses.asdict(self)
        share = wall_s / added_s
        return Spent(**{name: then[name] + share * (now[name] - then[name]) for name in now})

    def completed(self, total_s: float) -> "Spent":
        """Return a copy with the rest of `total_s` as waiting."""
        known_s = self.total_s - self.waiting_s
        return dataclasses.replace(self, waiting_s=max(0.0, total_s - known_s))

    def with_earlier(self, stored: object) -> "Spent":
        """Add the earlier sessions from run.json; parts of another shape count as 0."""
        known: Mapping[str, Any] = stored if isinstance(stored, dict) else {}
        own = dataclasses.asdict(self)
        return Spent(**{name: value + _seconds(known.get(name)) for name, value in own.items()})


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return float(value) if math.isfinite(value) and value > 0 else 0.0
